//! Small grey images, and the correlation of two.

use base64::Engine;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use fmam_core::ImageSize;

/// Height and width.
const SIDE: usize = 32;

/// A grey image of 32 by 32 pixels, row by row, 0..=255: the position of things at 1/32 of the
/// side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Thumbnail(Vec<u8>);

impl Thumbnail {
    /// Number of pixels.
    pub(crate) const PIXELS: usize = SIDE * SIDE;

    /// `grey`, in thousandths of a grey level, averaged by area. Black for an image without pixels.
    pub(crate) fn of(grey: &[u32], size: ImageSize) -> Self {
        let (rows, columns) = (cells(size.height), cells(size.width));
        let mut thumbnail = Vec::with_capacity(Self::PIXELS);
        for row in &rows {
            for column in &columns {
                let (mut sum, mut weights) = (0_u64, 0_u64);
                for &(y, in_y) in row {
                    for &(x, in_x) in column {
                        let weight = (in_y * in_x) as u64;
                        sum += weight * u64::from(grey[y * size.width + x]);
                        weights += weight;
                    }
                }
                let weights = (1000 * weights).max(1);
                thumbnail.push(((sum + weights / 2) / weights) as u8);
            }
        }
        Self(thumbnail)
    }

    /// The thumbnail with the pixels `data`; `None` for another number of pixels.
    fn new(data: Vec<u8>) -> Option<Self> {
        (data.len() == Self::PIXELS).then_some(Self(data))
    }

    /// The pixels as base64.
    pub(crate) fn to_base64(&self) -> String {
        STANDARD_NO_PAD.encode(&self.0)
    }

    /// The reverse of [`Thumbnail::to_base64`]; `None` for another text.
    pub(crate) fn from_base64(text: &str) -> Option<Self> {
        Self::new(STANDARD_NO_PAD.decode(text).ok()?)
    }

    /// The correlation of two thumbnails, see [`correlation`].
    pub(crate) fn correlation(&self, other: &Self) -> f32 {
        let values = |thumbnail: &Self| thumbnail.0.iter().copied().map(f64::from).collect::<Vec<_>>();
        correlation(&values(self), &values(other))
    }

    /// The mean of `thumbnails`, and the correlation of each with the mean of the others; that of
    /// one alone is 1.
    pub(crate) fn mean_and_correlations(thumbnails: &[&Self]) -> (Self, Vec<f32>) {
        let n = thumbnails.len() as u64;
        // Sums of integers: the same in any order.
        let mut sums = vec![0_u64; Self::PIXELS];
        for thumbnail in thumbnails {
            for (sum, &value) in sums.iter_mut().zip(&thumbnail.0) {
                *sum += u64::from(value);
            }
        }
        let correlations = thumbnails.iter().map(|thumbnail| {
            if n == 1 {
                return 1.0;
            }
            let own: Vec<f64> = thumbnail.0.iter().copied().map(f64::from).collect();
            let others: Vec<f64> =
                sums.iter().zip(&own).map(|(&sum, own)| (sum as f64 - own) / (n - 1) as f64).collect();
            correlation(&own, &others)
        });
        let mean = sums.iter().map(|sum| ((sum + n / 2) / n.max(1)) as u8).collect();
        (Self(mean), correlations.collect())
    }
}

/// For each of the cells along a side of `length` pixels: the pixels that it covers, each with the
/// covered length in units of 1/32 pixel.
fn cells(length: usize) -> Vec<Vec<(usize, usize)>> {
    let cell = |index: usize| {
        let (start, end) = (index * length, (index + 1) * length);
        let covered = |at: usize| end.min((at + 1) * SIDE) - start.max(at * SIDE);
        (start / SIDE..end.div_ceil(SIDE)).map(|at| (at, covered(at))).collect()
    };
    (0..SIDE).map(cell).collect()
}

/// Pearson's correlation, -1..=1, with one squared grey level added to the covariance and to both
/// variances, as in the structure term of SSIM (Wang et al. 2004): images of one colour correlate
/// by 1 with each other and hardly with others, and rounding decides nothing.
fn correlation(a: &[f64], b: &[f64]) -> f32 {
    let n = a.len().max(1) as f64;
    let mean = |values: &[f64]| values.iter().sum::<f64>() / n;
    let (mean_a, mean_b) = (mean(a), mean(b));
    let (mut in_a, mut in_b, mut both) = (0.0, 0.0, 0.0);
    for (a, b) in a.iter().zip(b) {
        let (a, b) = (a - mean_a, b - mean_b);
        in_a += a * a;
        in_b += b * b;
        both += a * b;
    }
    let correlation = (both / n + 1.0) / ((in_a / n + 1.0) * (in_b / n + 1.0)).sqrt();
    correlation.clamp(-1.0, 1.0) as f32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn thumbnail(pixel: impl Fn(usize, usize) -> u8) -> Thumbnail {
        Thumbnail((0..Thumbnail::PIXELS).map(|at| pixel(at / SIDE, at % SIDE)).collect())
    }

    #[test]
    fn averaging_by_area_keeps_the_place_of_things_at_any_size() {
        // The left half is white at every size: 48 columns cover 1.5 pixels each.
        for size in [ImageSize::new(32, 32), ImageSize::new(48, 96), ImageSize::new(2, 2)] {
            let white = |at: usize| if 2 * (at % size.width) < size.width { 255_000 } else { 0 };
            let seen = Thumbnail::of(&(0..size.pixels()).map(white).collect::<Vec<_>>(), size);
            assert_eq!(seen, thumbnail(|_, x| if x < 16 { 255 } else { 0 }), "{size}");
        }
        // Of 48 columns, cell 0 has column 0 and half of column 1.
        let column = |at: usize| if at % 48 == 1 { 90_000 } else { 0 };
        let seen = Thumbnail::of(&(0..48 * 32).map(column).collect::<Vec<_>>(), ImageSize::new(32, 48));
        assert_eq!(seen.0[..3], [30, 30, 0]);
    }

    #[test]
    fn correlation_has_no_unit_and_is_defined_for_one_colour() {
        let ramp = thumbnail(|_, x| 2 * x as u8);
        assert_eq!(ramp.correlation(&ramp), 1.0);
        assert!(ramp.correlation(&thumbnail(|_, x| 50 + 4 * x as u8)) > 0.995);
        assert!(ramp.correlation(&thumbnail(|_, x| 200 - 2 * x as u8)) < -0.98);
        assert!(ramp.correlation(&thumbnail(|y, _| 2 * y as u8)).abs() < 0.01);
        let grey = thumbnail(|_, _| 80);
        assert_eq!(grey.correlation(&thumbnail(|_, _| 90)), 1.0);
        assert!(grey.correlation(&ramp) < 0.1);
    }

    #[test]
    fn correlations_leave_the_image_itself_out() {
        let (a, b) = (thumbnail(|_, x| 2 * x as u8), thumbnail(|y, _| 2 * y as u8));
        let (mean, correlations) = Thumbnail::mean_and_correlations(&[&a, &a, &b]);
        assert_eq!(mean, thumbnail(|y, x| ((4 * x + 2 * y + 1) / 3) as u8));
        assert!(correlations[2].abs() < 0.01, "the mean of the others is `a`: {correlations:?}");
        assert_eq!(correlations[0], correlations[1]);
        assert_eq!(Thumbnail::mean_and_correlations(&[&a]).1, [1.0]);
    }

    #[test]
    fn a_text_of_another_length_is_no_thumbnail() {
        let ramp = thumbnail(|y, x| (y + x) as u8);
        assert_eq!(Thumbnail::from_base64(&ramp.to_base64()), Some(ramp));
        assert_eq!(Thumbnail::from_base64("AAAA"), None);
        assert_eq!(Thumbnail::from_base64("?"), None);
    }
}
