//! The camera: from a subject to an 8-bit image, and the mask of what a defect visibly changed.

use fmam_core::{ImageSize, Mask, RgbImage, Seed};
use rand::Rng;

use super::category::DemoCategory;
use super::noise::gaussian;
use super::subject::Subject;
use super::view::View;

/// Positions of the samples within a pixel: rows first.
const SUBPIXELS: [[f32; 2]; 4] = [[0.25, 0.25], [0.25, 0.75], [0.75, 0.25], [0.75, 0.75]];
/// Standard deviation of the sensor noise, in levels of 255.
const SENSOR_NOISE: f32 = 2.2;
/// A change is visible where it is above this many levels of 255 on the mean of the channels and of
/// the neighbourhood.
const VISIBLE: f32 = 7.0;

/// A photograph of a subject: everything about it is drawn from its seed when it is set up.
pub(super) struct Scene {
    view: View,
    subject: Box<dyn Subject>,
    anomalous: bool,
    exposure: f32,
    /// Change of the light from the centre to the right and lower edge, and to the corners.
    gradient: [f32; 2],
    vignette: f32,
    noise_seed: u32,
}

impl Scene {
    /// The scene of `seed`, with a defect of the category's `defect`th type.
    pub(super) fn new(category: DemoCategory, defect: Option<usize>, size: ImageSize, seed: Seed) -> Self {
        let mut rng = seed.rng();
        let (view, subject) = (category.entry().set_up)(size, &mut rng);
        let mut scene = Self {
            view,
            subject,
            anomalous: defect.is_some(),
            exposure: rng.random_range(0.96..1.04),
            gradient: [rng.random_range(-0.06..0.06), rng.random_range(-0.06..0.06)],
            vignette: rng.random_range(0.0..0.05),
            noise_seed: rng.random(),
        };
        if let Some(kind) = defect {
            scene.subject.damage(kind, &scene.view, &mut rng);
        }
        scene
    }

    /// The photograph.
    pub(super) fn image(&self) -> RgbImage {
        self.photograph(true)
    }

    /// The photograph as it would be without the defect, the sensor noise being the same.
    #[cfg(test)]
    pub(super) fn without_defect(&self) -> RgbImage {
        self.photograph(false)
    }

    fn photograph(&self, damaged: bool) -> RgbImage {
        RgbImage::from_fn(self.view.size, |y, x| {
            let levels = self.levels(y, x, damaged);
            std::array::from_fn(|c| {
                let noise = gaussian(self.noise_seed.wrapping_add(c as u32), x as i32, y as i32);
                (levels[c] + SENSOR_NOISE * noise + 0.5).clamp(0.0, 255.0) as u8
            })
        })
    }

    /// The pixels that the defect changed visibly: the noise-free photographs of the same subject
    /// with and without the defect are compared.
    pub(super) fn mask(&self) -> Mask {
        let size = self.view.size;
        if !self.anomalous {
            return Mask::empty(size);
        }
        let mut change = vec![0.0_f32; size.pixels()];
        for y in 0..size.height {
            for x in 0..size.width {
                if self.subject.reaches(self.view.point(y as f32 + 0.5, x as f32 + 0.5)) {
                    let (with, without) = (self.levels(y, x, true), self.levels(y, x, false));
                    let sum: f32 = with.iter().zip(without).map(|(a, b)| (a - b).abs()).sum();
                    change[y * size.width + x] = sum / 3.0;
                }
            }
        }
        // After a shift of a texture single pixels keep their colour by chance; the eye sees the
        // neighbourhood.
        let radius = (self.view.grain / 5.0).round().max(1.0) as usize;
        let change = box_blur(&box_blur(&change, size, radius), size, radius);
        let visible = Mask::from_fn(size, |y, x| change[y * size.width + x] > VISIBLE);
        // A missing thread shows only where it would lie on top; it is one defect all the same.
        close_gaps(&visible, (self.view.grain / 2.0) as usize + 1)
    }

    /// The levels of pixel (y, x), about 0..255 and free of noise.
    fn levels(&self, y: usize, x: usize, damaged: bool) -> [f32; 3] {
        let (left, top) = (x as f32, y as f32);
        let points = SUBPIXELS.map(|[down, right]| self.view.point(top + down, left + right));
        let mut sum = [0.0_f32; 3];
        for colour in self.subject.colours(self.view.point(top + 0.5, left + 0.5), points, damaged) {
            for (sum, channel) in sum.iter_mut().zip(colour) {
                *sum += channel;
            }
        }
        let right = 2.0 * (left + 0.5) / self.view.size.width as f32 - 1.0;
        let down = 2.0 * (top + 0.5) / self.view.size.height as f32 - 1.0;
        let light = self.exposure + self.gradient[0] * right + self.gradient[1] * down
            - self.vignette * (right * right + down * down);
        sum.map(|channel| channel * light * 255.0 / 4.0)
    }
}

/// The mean over the square of `2 * radius + 1` pixels around each pixel, cut at the borders.
fn box_blur(values: &[f32], size: ImageSize, radius: usize) -> Vec<f32> {
    let mean = |line: &mut dyn Iterator<Item = f32>| {
        let (sum, n) = line.fold((0.0_f32, 0.0_f32), |(sum, n), value| (sum + value, n + 1.0));
        sum / n
    };
    let mut rows = Vec::with_capacity(values.len());
    for y in 0..size.height {
        for x in 0..size.width {
            rows.push(mean(&mut around(x, radius, size.width).map(|x| values[y * size.width + x])));
        }
    }
    let mut blurred = Vec::with_capacity(values.len());
    for y in 0..size.height {
        for x in 0..size.width {
            blurred.push(mean(&mut around(y, radius, size.height).map(|y| rows[y * size.width + x])));
        }
    }
    blurred
}

/// Morphological closing with a square: gaps up to `2 * radius` wide are filled, the outline stays.
fn close_gaps(mask: &Mask, radius: usize) -> Mask {
    let size = mask.size();
    let dilate = |mask: &Mask| {
        let rows = Mask::from_fn(size, |y, x| around(x, radius, size.width).any(|x| mask.at(y, x)));
        Mask::from_fn(size, |y, x| around(y, radius, size.height).any(|y| rows.at(y, x)))
    };
    let invert = |mask: &Mask| Mask::from_fn(size, |y, x| !mask.at(y, x));
    invert(&dilate(&invert(&dilate(mask))))
}

/// The indices below `end` that are at most `radius` away from `at`.
fn around(at: usize, radius: usize, end: usize) -> std::ops::Range<usize> {
    at.saturating_sub(radius)..(at + radius + 1).min(end)
}
