//! Blending a fill into an image through a shape, and telling where the change is visible.

use fmam_core::{Mask, RgbImage, Seed};
use rand::Rng;

use crate::field::Field;
use crate::fill::Fill;
use crate::{SynthesisConfig, SyntheticAnomaly};

/// Blur, in pixels, of the change before it is judged: about the finest detail that an observer
/// resolves.
const VISIBLE_SIGMA: f32 = 1.5;

/// Blurred mean absolute change over the channels, of 255, above which a pixel is visibly changed.
const VISIBLE_CHANGE: f32 = 12.0;

/// The smallest rectangle of pixels that holds a mask; ends are exclusive.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Window {
    top: usize,
    bottom: usize,
    left: usize,
    right: usize,
}

impl Window {
    /// The bounding box of `mask`, which must not be empty.
    fn around(mask: &Mask) -> Self {
        let size = mask.size();
        let mut window = Self { top: size.height, bottom: 0, left: size.width, right: 0 };
        for (y, row) in mask.data().chunks_exact(size.width).enumerate() {
            if let (Some(first), Some(last)) =
                (row.iter().position(|&v| v != 0), row.iter().rposition(|&v| v != 0))
            {
                window.top = window.top.min(y);
                window.bottom = y + 1;
                window.left = window.left.min(first);
                window.right = window.right.max(last + 1);
            }
        }
        window
    }

    /// The window with `margin` more pixels on each side, as far as `mask` reaches.
    fn widened(self, margin: usize, mask: &Mask) -> Self {
        Self {
            top: self.top.saturating_sub(margin),
            bottom: (self.bottom + margin).min(mask.size().height),
            left: self.left.saturating_sub(margin),
            right: (self.right + margin).min(mask.size().width),
        }
    }

    fn height(self) -> usize {
        self.bottom - self.top
    }

    fn width(self) -> usize {
        self.right - self.left
    }

    /// The pixels of each row of the window, as indices into an image of `image_width` pixels a
    /// row.
    fn rows(self, image_width: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
        (self.top..self.bottom).map(move |y| y * image_width + self.left..y * image_width + self.right)
    }
}

/// Blends `fill` into `image` inside `mask`, which must not be empty: `x + w b (fill - x)`, with
/// the opacity b drawn from the configured range. The weight w is 1 for hard edges; for soft ones
/// it is the mask blurred with a sigma drawn from 0 to the configured one, and still 0 outside the
/// mask. So the change fades towards the edge from within, and the mask is exactly where w > 0.
pub(crate) fn blend(
    image: &RgbImage,
    mask: &Mask,
    fill: &Fill<'_>,
    config: &SynthesisConfig,
    seed: Seed,
) -> SyntheticAnomaly {
    let mut rng = seed.rng();
    let opacity = rng.random_range(config.min_opacity..=config.max_opacity) as f32;
    let sigma = rng.random_range(0.0..=config.edge_sigma) as f32;

    // Below this the nearest neighbours weigh under one in 255.
    let soft = sigma > 0.3;
    let margin = if soft { (3.0 * sigma).ceil() as usize } else { 0 };
    let window = Window::around(mask).widened(margin, mask);
    let image_width = image.size().width;
    let inside: Vec<f32> =
        window.rows(image_width).flat_map(|row| &mask.data()[row]).map(|&m| f32::from(m)).collect();
    let mut weights = Field { height: window.height(), width: window.width(), data: inside };
    if soft {
        weights = weights.gaussian_blur(sigma);
    }

    let mut blended = image.clone();
    for ((row, weights), y) in
        window.rows(image_width).zip(weights.data.chunks_exact(weights.width)).zip(window.top..)
    {
        let pixels = blended.data_mut()[3 * row.start..3 * row.end].chunks_exact_mut(3);
        for (((pixel, &masked), &weight), x) in pixels.zip(&mask.data()[row]).zip(weights).zip(window.left..)
        {
            if masked != 0 {
                for (value, new) in pixel.iter_mut().zip(fill.at(y, x)) {
                    let old = f32::from(*value);
                    *value = (old + weight * opacity * (new - old)).round() as u8;
                }
            }
        }
    }
    let visible = visible_change(image, &blended, mask);
    SyntheticAnomaly { image: blended, mask: mask.clone(), visible }
}

/// The pixels of `mask` at which the mean absolute change over the channels, blurred, exceeds the
/// visible.
fn visible_change(before: &RgbImage, after: &RgbImage, mask: &Mask) -> Mask {
    // Outside the mask nothing changed: with this margin the zeros around it enter the blur as they
    // should.
    let window = Window::around(mask).widened((3.0 * VISIBLE_SIGMA).ceil() as usize, mask);
    let image_width = mask.size().width;
    let mut change = Vec::with_capacity(window.height() * window.width());
    for row in window.rows(image_width) {
        let bytes = 3 * row.start..3 * row.end;
        let (before, _) = before.data()[bytes.clone()].as_chunks::<3>();
        let (after, _) = after.data()[bytes].as_chunks::<3>();
        change.extend(before.iter().zip(after).map(|(a, b)| {
            let sum: u16 = a.iter().zip(b).map(|(&a, &b)| u16::from(a.abs_diff(b))).sum();
            f32::from(sum) / 3.0
        }));
    }
    let change = Field { height: window.height(), width: window.width(), data: change };
    let blurred = change.gaussian_blur(VISIBLE_SIGMA);
    let mut visible = Mask::empty(mask.size());
    for (y, change) in (window.top..).zip(blurred.data.chunks_exact(blurred.width)) {
        for (x, &change) in (window.left..).zip(change) {
            if change > VISIBLE_CHANGE && mask.at(y, x) {
                visible.set(y, x, true);
            }
        }
    }
    visible
}

#[cfg(test)]
mod tests {
    use fmam_core::ImageSize;

    use super::*;

    #[test]
    fn visible_is_the_blurred_change_of_the_whole_image_above_twelve() {
        let size = ImageSize::new(40, 50);
        let before = RgbImage::from_fn(size, |y, x| [(y * 5) as u8, (x * 4) as u8, 99]);
        // Reaches into the corner, where the border of the image matters.
        let mask = Mask::from_fn(size, |y, x| (y * y + x * x) < 300 || (y == 30 && x > 20 && x < 44));
        let mut after = before.clone();
        for y in 0..40 {
            for x in 0..50 {
                if mask.at(y, x) {
                    let [r, g, b] = before.pixel(y, x);
                    after.set_pixel(
                        y,
                        x,
                        [r ^ 15, g ^ ((x * 7 + y * 3) % 61) as u8, b + ((y * x) % 30) as u8],
                    );
                }
            }
        }
        let visible = visible_change(&before, &after, &mask);

        let change = |y: i64, x: i64| {
            let (y, x) = (y.clamp(0, 39) as usize, x.clamp(0, 49) as usize);
            let (a, b) = (before.pixel(y, x), after.pixel(y, x));
            (0..3).map(|c| (f64::from(a[c]) - f64::from(b[c])).abs()).sum::<f64>() / 3.0
        };
        let mut n_visible = 0;
        for y in 0..40_i64 {
            for x in 0..50_i64 {
                let (mut sum, mut total) = (0.0, 0.0);
                for dy in -5..=5_i64 {
                    for dx in -5..=5_i64 {
                        let weight = (-((dy * dy + dx * dx) as f64) / (2.0 * 1.5 * 1.5)).exp();
                        sum += weight * change(y + dy, x + dx);
                        total += weight;
                    }
                }
                let (mean, at) = (sum / total, (y as usize, x as usize));
                // On the threshold itself single and double precision may differ.
                if (mean - 12.0).abs() > 1e-3 {
                    assert_eq!(visible.at(at.0, at.1), mean > 12.0 && mask.at(at.0, at.1), "{at:?}: {mean}");
                }
                n_visible += usize::from(visible.at(at.0, at.1));
            }
        }
        assert!(n_visible > 0 && n_visible < mask.area());
    }

    #[test]
    fn the_window_is_the_bounding_box() {
        let mask = Mask::from_fn(ImageSize::new(9, 9), |y, x| (y, x) == (2, 7) || (y, x) == (5, 3));
        let window = Window::around(&mask);
        assert_eq!(window, Window { top: 2, bottom: 6, left: 3, right: 8 });
        assert_eq!(window.widened(2, &mask), Window { top: 0, bottom: 8, left: 1, right: 9 });
    }
}
