//! A proposal for the region of interest: the surroundings of a product are the same in all images
//! of good parts, and the product is not.

use fmam_core::{ImageSize, Mask, RgbImage};

use crate::InspectionError;

/// The fewest images that tell a still surrounding from a product.
pub const LEAST_STILL_IMAGES: usize = 5;

/// Means and deviations of the pixels of images that are added one by one.
///
/// ```
/// use fmam_core::{ImageSize, RgbImage};
/// use fmam_inspection::StillArea;
///
/// let size = ImageSize::square(64);
/// let mut still = StillArea::new(size);
/// for part in 0..8_u8 {
///     // A grey table and, in the middle, a part of another brightness each time.
///     let is_part = |y: usize, x: usize| (16..48).contains(&y) && (16..48).contains(&x);
///     still.add(&RgbImage::from_fn(size, |y, x| [if is_part(y, x) { 20 * part } else { 200 }; 3]))?;
/// }
/// let proposal = still.propose()?;
/// assert!(proposal.inside.at(32, 32) && !proposal.inside.at(2, 2));
/// # Ok::<(), fmam_inspection::InspectionError>(())
/// ```
#[derive(Debug, Clone)]
pub struct StillArea {
    size: ImageSize,
    n_images: usize,
    /// Sums and sums of squares of the three channels.
    sums: Vec<[f64; 3]>,
    squares: Vec<[f64; 3]>,
}

/// A proposal for the region of interest.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct StillProposal {
    /// The pixels to look at.
    pub inside: Mask,
    /// The reason for the region.
    pub reason: StillReason,
    /// The mean of the images.
    pub mean: RgbImage,
}

/// The reason for a proposed region.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum StillReason {
    /// The surroundings are still and the inside is not.
    Surroundings,
    /// The images differ all over, or as far as the border: the region is the whole image.
    NothingStill,
    /// The images hardly differ anywhere: the region is the whole image.
    AllStill,
}

/// Grey levels by which still pixels may deviate: noise of a camera, light, and compression.
const MOST_NOISE: f64 = 12.0;
/// Grey levels by which some pixels deviate at least, if anything differs.
const LEAST_CHANGE: f64 = 3.0;
/// The changing pixels deviate at least as many times as much as the still ones.
const LEAST_RATIO: f64 = 2.5;
/// Grey levels from one pixel to the next in the mean image. A steeper edge is that of a thing.
const MOST_SLOPE: f64 = 12.0;
/// A smaller share of the image is no surrounding.
const LEAST_OUTSIDE: f64 = 0.01;
/// A smaller share of the image is no product.
const LEAST_ISLAND: f64 = 0.002;
/// Radius of the cleaning and of the margin of safety as a share of the shorter side; the smoothing
/// has half of it.
const RADIUS: f64 = 0.01;

impl StillArea {
    /// No images yet, of `size`.
    pub fn new(size: ImageSize) -> Self {
        let zeros = vec![[0.0; 3]; size.pixels()];
        Self { size, n_images: 0, sums: zeros.clone(), squares: zeros }
    }

    /// Adds an image.
    ///
    /// # Errors
    /// [`InspectionError::StillSize`] for an image of another size.
    pub fn add(&mut self, image: &RgbImage) -> Result<(), InspectionError> {
        if image.size() != self.size {
            return Err(InspectionError::StillSize { expected: self.size, actual: image.size() });
        }
        self.n_images += 1;
        for ((pixel, sum), square) in image.data().chunks_exact(3).zip(&mut self.sums).zip(&mut self.squares)
        {
            for channel in 0..3 {
                let value = f64::from(pixel[channel]);
                sum[channel] += value;
                square[channel] += value * value;
            }
        }
        Ok(())
    }

    /// The region that changes from image to image, and what it encloses.
    ///
    /// The deviation of each pixel over the images is smoothed, and Otsu's threshold (1979) of its
    /// logarithm parts still pixels from changing ones, if the two differ clearly. Outside of the
    /// region lie still pixels without an edge in the mean image, as far as they are connected to
    /// the border of the image by more than a thin gap. Small islands are dropped, and the region
    /// is widened by a margin of 1 % of the shorter side.
    ///
    /// # Errors
    /// [`InspectionError::TooFewStill`] for fewer than [`LEAST_STILL_IMAGES`] images.
    pub fn propose(&self) -> Result<StillProposal, InspectionError> {
        if self.n_images < LEAST_STILL_IMAGES {
            let (found, needed) = (self.n_images, LEAST_STILL_IMAGES);
            return Err(InspectionError::TooFewStill { found, needed });
        }
        let radius = ((RADIUS * self.size.height.min(self.size.width) as f64).round() as usize).max(1);
        let mean = self.mean();
        let deviation = smoothed(&self.deviation(), self.size, (radius / 2).max(1));
        let proposal = |inside, reason| StillProposal { inside, reason, mean: mean.clone() };
        let whole = Mask::from_fn(self.size, |_, _| true);
        let most = percentile(&deviation, 0.99);
        if most < LEAST_CHANGE {
            return Ok(proposal(whole, StillReason::AllStill));
        }
        let Some(limit) = still_limit(&deviation) else {
            return Ok(proposal(whole, StillReason::NothingStill));
        };
        let slope = self.slope(&mean);
        let width = self.size.width;
        let still = Mask::from_fn(self.size, |y, x| {
            let at = y * width + x;
            deviation[at] <= limit && slope[at] <= MOST_SLOPE
        });
        // Opening: what a thin gap connects to the border is enclosed all the same.
        let opened = grown(&border_connected(&inverse(&grown(&inverse(&still), radius))), radius);
        let outside = border_connected(&both(&opened, &still));
        let islands = inverse(&outside);
        let inside = grown(&without_small(&islands, LEAST_ISLAND), radius);
        let n_inside = inside.area() as f64 / self.size.pixels() as f64;
        if n_inside > 1.0 - LEAST_OUTSIDE || inside.is_empty() {
            return Ok(proposal(whole, StillReason::NothingStill));
        }
        Ok(proposal(inside, StillReason::Surroundings))
    }

    fn mean(&self) -> RgbImage {
        let (n, width) = (self.n_images.max(1) as f64, self.size.width);
        RgbImage::from_fn(self.size, |y, x| self.sums[y * width + x].map(|sum| (sum / n).round() as u8))
    }

    /// The standard deviation of each pixel in grey levels, of its channel that changes most.
    fn deviation(&self) -> Vec<f64> {
        let n = self.n_images.max(1) as f64;
        let variance = |sum: f64, square: f64| (square / n - (sum / n).powi(2)).max(0.0);
        let pixel = |(sums, squares): (&[f64; 3], &[f64; 3])| {
            let variances = sums.iter().zip(squares).map(|(&sum, &square)| variance(sum, square));
            variances.fold(0.0, f64::max).sqrt()
        };
        self.sums.iter().zip(&self.squares).map(pixel).collect()
    }

    /// The largest difference of each pixel of `mean` to the next in each direction.
    fn slope(&self, mean: &RgbImage) -> Vec<f64> {
        let ImageSize { height, width } = self.size;
        let difference = |a: [u8; 3], b: [u8; 3]| {
            a.iter().zip(b).map(|(a, b)| f64::from(a.abs_diff(b))).fold(0.0, f64::max)
        };
        let mut slope = Vec::with_capacity(self.size.pixels());
        for y in 0..height {
            for x in 0..width {
                let here = mean.pixel(y, x);
                let below = mean.pixel((y + 1).min(height - 1), x);
                let right = mean.pixel(y, (x + 1).min(width - 1));
                slope.push(difference(here, below).max(difference(here, right)));
            }
        }
        slope
    }
}

/// The largest deviation of a still pixel; `None` where still and changing pixels are not apart.
fn still_limit(deviation: &[f64]) -> Option<f64> {
    const BINS: usize = 256;
    // A floor of half a grey level: below it deviations are those of rounding.
    let logs = || deviation.iter().map(|deviation| deviation.max(0.5).ln());
    let (low, high) = logs().fold((f64::MAX, f64::MIN), |(low, high), log| (low.min(log), high.max(log)));
    if high - low < LEAST_RATIO.ln() {
        return None;
    }
    let mut counts = [0_u64; BINS];
    let bin = |log: f64| (((log - low) / (high - low) * BINS as f64) as usize).min(BINS - 1);
    logs().for_each(|log| counts[bin(log)] += 1);
    let all: u64 = counts.iter().sum();
    let total: f64 = counts.iter().enumerate().map(|(at, &n)| at as f64 * n as f64).sum();
    let (mut n_low, mut sum_low, mut best) = (0, 0.0, None::<(f64, usize, f64)>);
    for (at, &n) in counts.iter().enumerate().take(BINS - 1) {
        n_low += n;
        sum_low += at as f64 * n as f64;
        if n_low == 0 || n_low == all {
            continue;
        }
        let (share, n_high) = (n_low as f64, (all - n_low) as f64);
        let apart = (total - sum_low) / n_high - sum_low / share;
        let between = share * n_high * apart * apart;
        if best.is_none_or(|(most, ..)| between > most) {
            best = Some((between, at, apart));
        }
    }
    let (_, at, apart) = best?;
    let per_bin = (high - low) / BINS as f64;
    let limit = (low + (at + 1) as f64 * per_bin).exp();
    (apart * per_bin >= LEAST_RATIO.ln()).then_some(limit.min(MOST_NOISE))
}

/// The value below which a `share` of `values` lies.
fn percentile(values: &[f64], share: f64) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted.get((share * sorted.len().saturating_sub(1) as f64) as usize).copied().unwrap_or(0.0)
}

/// Means of `values` over squares with `radius` pixels around the one in the middle.
fn smoothed(values: &[f64], size: ImageSize, radius: usize) -> Vec<f64> {
    let sums = integral(values, size);
    let ImageSize { height, width } = size;
    let mut smoothed = Vec::with_capacity(values.len());
    for y in 0..height {
        let (top, bottom) = (y.saturating_sub(radius), (y + radius + 1).min(height));
        for x in 0..width {
            let (left, right) = (x.saturating_sub(radius), (x + radius + 1).min(width));
            let area = ((bottom - top) * (right - left)) as f64;
            smoothed.push(rectangle(&sums, width, (top, bottom), (left, right)) / area);
        }
    }
    smoothed
}

/// Sums of `values` above and left of each corner of a pixel.
fn integral(values: &[f64], size: ImageSize) -> Vec<f64> {
    let stride = size.width + 1;
    let mut sums = vec![0.0; (size.height + 1) * stride];
    for (y, row) in values.chunks_exact(size.width.max(1)).enumerate() {
        let mut of_row = 0.0;
        for (x, value) in row.iter().enumerate() {
            of_row += value;
            sums[(y + 1) * stride + x + 1] = sums[y * stride + x + 1] + of_row;
        }
    }
    sums
}

fn rectangle(sums: &[f64], width: usize, rows: (usize, usize), columns: (usize, usize)) -> f64 {
    let at = |y: usize, x: usize| sums[y * (width + 1) + x];
    at(rows.1, columns.1) - at(rows.0, columns.1) - at(rows.1, columns.0) + at(rows.0, columns.0)
}

fn inverse(mask: &Mask) -> Mask {
    Mask::from_fn(mask.size(), |y, x| !mask.at(y, x))
}

fn both(one: &Mask, other: &Mask) -> Mask {
    Mask::from_fn(one.size(), |y, x| one.at(y, x) && other.at(y, x))
}

/// `mask` widened by `radius` pixels in all directions, by the distance of their centres.
fn grown(mask: &Mask, radius: usize) -> Mask {
    let ImageSize { height, width } = mask.size();
    let mut grown = Mask::empty(mask.size());
    for dy in 0..=radius {
        let reach = ((radius * radius - dy * dy) as f64).sqrt() as usize;
        for y in 0..height {
            // Pixels of the row that are within `reach` of one of the mask.
            let mut until = None::<usize>;
            let row = &mask.data()[y * width..][..width];
            let mut runs = Vec::new();
            for (x, _) in row.iter().enumerate().filter(|(_, pixel)| **pixel > 0) {
                let first = x.saturating_sub(reach).max(until.map_or(0, |until| until + 1));
                let last = (x + reach).min(width - 1);
                runs.push((first, last));
                until = Some(last);
            }
            let above = y.checked_sub(dy);
            let below = Some(y + dy).filter(|&y| y < height);
            for line in [above, below].into_iter().flatten() {
                for &(first, last) in &runs {
                    for x in first..=last {
                        grown.set(line, x, true);
                    }
                }
            }
        }
    }
    grown
}

/// The pixels of `mask` that are connected, by their sides, to one at the border of the image.
fn border_connected(mask: &Mask) -> Mask {
    let ImageSize { height, width } = mask.size();
    let mut found = Mask::empty(mask.size());
    let mut waiting = Vec::new();
    let is_border = |y: usize, x: usize| y == 0 || x == 0 || y + 1 == height || x + 1 == width;
    for y in 0..height {
        for x in 0..width {
            if is_border(y, x) && mask.at(y, x) {
                found.set(y, x, true);
                waiting.push((y, x));
            }
        }
    }
    while let Some((y, x)) = waiting.pop() {
        let beside = [(y.wrapping_sub(1), x), (y + 1, x), (y, x.wrapping_sub(1)), (y, x + 1)];
        for (y, x) in beside {
            if y < height && x < width && mask.at(y, x) && !found.at(y, x) {
                found.set(y, x, true);
                waiting.push((y, x));
            }
        }
    }
    found
}

/// `mask` without components that have less than `share` of the pixels of the image.
fn without_small(mask: &Mask, share: f64) -> Mask {
    let width = mask.size().width;
    let least = share * mask.size().pixels() as f64;
    let mut large = Mask::empty(mask.size());
    for component in fmam_metrics::components(mask.data(), width) {
        if component.len() as f64 >= least {
            component.iter().for_each(|&pixel| large.set(pixel / width, pixel % width, true));
        }
    }
    large
}

#[cfg(test)]
mod tests {
    use rand::rngs::StdRng;
    use rand::{Rng, SeedableRng};

    use super::*;

    const SIZE: ImageSize = ImageSize::new(256, 320);

    /// Images with a camera's noise whose pixels for which `is_product` differ from part to part.
    fn proposed(n: u64, is_product: impl Fn(usize, usize) -> bool) -> Result<StillProposal, InspectionError> {
        let mut still = StillArea::new(SIZE);
        for part in 0..n {
            let mut random = StdRng::seed_from_u64(part);
            let shade: i32 = random.random_range(-8..=8);
            let image = RgbImage::from_fn(SIZE, |y, x| {
                let noise = random.random_range(-2..=2);
                let texture = if is_product(y, x) { shade + random.random_range(-24..=24) } else { 0 };
                // The table is brighter on one side.
                [(110 + x as i32 / 8 + noise + texture) as u8; 3]
            });
            still.add(&image)?;
        }
        still.propose()
    }

    #[test]
    fn a_disc_on_a_still_table_is_found() {
        let is_disc = |y: usize, x: usize| y.abs_diff(120).pow(2) + x.abs_diff(170).pow(2) < 100 * 100;
        let proposal = proposed(12, is_disc).unwrap();
        assert_eq!(proposal.reason, StillReason::Surroundings);
        let disc = Mask::from_fn(SIZE, is_disc);
        let shared = both(&disc, &proposal.inside).area();
        let union = disc.area() + proposal.inside.area() - shared;
        assert!(shared as f64 / union as f64 > 0.9, "{shared} of {union}");
        // Nothing of the product is left out.
        assert_eq!(shared, disc.area());
    }

    #[test]
    fn a_still_part_within_the_product_is_inside() {
        let is_ring = |y: usize, x: usize| {
            let distance = y.abs_diff(128).pow(2) + x.abs_diff(160).pow(2);
            (60 * 60..90 * 90).contains(&distance)
        };
        let proposal = proposed(12, is_ring).unwrap();
        assert!(proposal.inside.at(128, 160) && !proposal.inside.at(10, 10));
    }

    #[test]
    fn a_product_that_fills_the_image_is_the_whole_image() {
        let proposal = proposed(12, |_, _| true).unwrap();
        assert_eq!(proposal.reason, StillReason::NothingStill);
        assert_eq!(proposal.inside.area(), SIZE.pixels());
        let proposal = proposed(12, |_, _| false).unwrap();
        assert_eq!(proposal.reason, StillReason::AllStill);
        assert_eq!(proposal.inside.area(), SIZE.pixels());
    }

    #[test]
    fn few_images_and_another_size_are_refused() {
        let error = proposed(1, |_, _| true).unwrap_err();
        assert!(matches!(error, InspectionError::TooFewStill { found: 1, needed: LEAST_STILL_IMAGES }));
        let other = RgbImage::filled(ImageSize::square(8), [0; 3]);
        assert!(matches!(StillArea::new(SIZE).add(&other), Err(InspectionError::StillSize { .. })));
    }

    #[test]
    fn growing_reaches_as_far_as_a_disc() {
        let size = ImageSize::square(11);
        let grown = grown(&Mask::from_fn(size, |y, x| (y, x) == (5, 5)), 3);
        for y in 0..11_usize {
            for x in 0..11_usize {
                let is_near = y.abs_diff(5).pow(2) + x.abs_diff(5).pow(2) <= 9;
                assert_eq!(grown.at(y, x), is_near, "{y} {x}");
            }
        }
    }
}
