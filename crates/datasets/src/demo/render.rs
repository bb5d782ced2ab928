//! The camera: from a cloth to an 8-bit image, and the mask of what a defect visibly changed.

use fmam_core::{ImageSize, Mask, RgbImage, Seed};
use rand::Rng;

use super::defect::{Defect, DefectType};
use super::noise::gaussian;
use super::weave::{Cloth, Weave};

/// Threads along the shorter side of an image, where the pitch this gives is above [`MIN_PITCH`].
const THREADS: f32 = 34.0;
/// Pixels from thread to thread below which a weave could not be told from noise.
const MIN_PITCH: f32 = 4.0;
/// Positions of the samples within a pixel, in each direction.
const SUBPIXELS: [f32; 2] = [0.25, 0.75];
/// Standard deviation of the sensor noise, in levels of 255.
const SENSOR_NOISE: f32 = 2.2;
/// A change is visible where it is above this many levels of 255 on the mean of the channels and of the
/// neighbourhood.
const VISIBLE: f32 = 7.0;

/// A photograph of a cloth: everything about it is drawn from its seed when it is set up.
pub(super) struct Scene {
    size: ImageSize,
    cloth: Cloth,
    defect: Option<Defect>,
    /// Cloth coordinates of the image's centre.
    origin: [f32; 2],
    /// Threads per pixel along the image's rows: the first column of a rotation matrix, scaled.
    axis: [f32; 2],
    pitch: f32,
    exposure: f32,
    /// Change of the light from the centre to the right and lower edge, and to the corners.
    gradient: [f32; 2],
    vignette: f32,
    noise_seed: u32,
}

impl Scene {
    /// The scene of `seed`.
    pub(super) fn new(weave: Weave, defect: Option<DefectType>, size: ImageSize, seed: Seed) -> Self {
        let mut rng = seed.rng();
        let shorter = size.height.min(size.width) as f32;
        let pitch = (shorter / THREADS).max(MIN_PITCH) * rng.random_range(0.97_f32..1.03);
        // A rotation by up to two degrees either way, its cosine and sine from the tangent of the half angle.
        let half = rng.random_range(-0.0175_f32..0.0175);
        let (cos, sin) = ((1.0 - half * half) / (1.0 + half * half), 2.0 * half / (1.0 + half * half));
        let origin = [rng.random_range(-8.0_f32..8.0), rng.random_range(-8.0_f32..8.0)];
        let reach = (size.height + size.width) as f32 / (2.0 * pitch) + 10.0;
        let mut scene = Self {
            size,
            cloth: Cloth::new(weave, reach, &mut rng),
            defect: None,
            origin,
            axis: [cos / pitch, sin / pitch],
            pitch,
            exposure: rng.random_range(0.96..1.04),
            gradient: [rng.random_range(-0.06..0.06), rng.random_range(-0.06..0.06)],
            vignette: rng.random_range(0.0..0.05),
            noise_seed: rng.random(),
        };
        if let Some(kind) = defect {
            let mut place = |side: usize| rng.random_range(0.15_f32..0.85) * side as f32;
            let at = scene.cloth_point(place(size.height), place(size.width));
            scene.defect = Some(Defect::draw(kind, at, &mut rng));
        }
        scene
    }

    /// The photograph.
    pub(super) fn image(&self) -> RgbImage {
        self.photograph(self.defect.as_ref())
    }

    /// The photograph as it would be without the defect, the sensor noise being the same.
    #[cfg(test)]
    pub(super) fn without_defect(&self) -> RgbImage {
        self.photograph(None)
    }

    fn photograph(&self, defect: Option<&Defect>) -> RgbImage {
        RgbImage::from_fn(self.size, |y, x| {
            let levels = self.levels(y, x, defect);
            std::array::from_fn(|c| {
                let noise = gaussian(self.noise_seed.wrapping_add(c as u32), x as i32, y as i32);
                (levels[c] + SENSOR_NOISE * noise + 0.5).clamp(0.0, 255.0) as u8
            })
        })
    }

    /// What the defect changed visibly: the noise-free photographs of the same cloth with and without it are
    /// compared.
    pub(super) fn mask(&self) -> Mask {
        let Some(defect) = &self.defect else { return Mask::empty(self.size) };
        let mut change = vec![0.0_f32; self.size.pixels()];
        for y in 0..self.size.height {
            for x in 0..self.size.width {
                let [u, v] = self.cloth_point(y as f32 + 0.5, x as f32 + 0.5);
                if defect.reaches(u, v) {
                    let (with, without) = (self.levels(y, x, Some(defect)), self.levels(y, x, None));
                    let sum: f32 = with.iter().zip(without).map(|(a, b)| (a - b).abs()).sum();
                    change[y * self.size.width + x] = sum / 3.0;
                }
            }
        }
        // Where threads moved, single pixels keep their colour by chance; the eye sees the neighbourhood.
        let radius = (self.pitch / 5.0).round().max(1.0) as usize;
        let change = box_blur(&box_blur(&change, self.size, radius), self.size, radius);
        let visible = Mask::from_fn(self.size, |y, x| change[y * self.size.width + x] > VISIBLE);
        // A missing thread shows only where it would lie on top; it is one defect all the same.
        close_gaps(&visible, (self.pitch / 2.0) as usize + 1)
    }

    /// Cloth coordinates of a point in the image, pixels from its upper left corner.
    fn cloth_point(&self, y: f32, x: f32) -> [f32; 2] {
        let (y, x) = (y - self.size.height as f32 / 2.0, x - self.size.width as f32 / 2.0);
        let [cos, sin] = self.axis;
        [self.origin[0] + cos * x - sin * y, self.origin[1] + sin * x + cos * y]
    }

    /// The levels of pixel (y, x), about 0..255 and free of noise, with `defect` in the cloth.
    fn levels(&self, y: usize, x: usize, defect: Option<&Defect>) -> [f32; 3] {
        let (left, top) = (x as f32, y as f32);
        let [u, v] = self.cloth_point(top + 0.5, left + 0.5);
        let wave = self.cloth.waviness(u, v);
        let mut sum = [0.0_f32; 3];
        for sub_y in SUBPIXELS {
            for sub_x in SUBPIXELS {
                let [u, v] = self.cloth_point(top + sub_y, left + sub_x);
                let colour = self.cloth.colour(u, v, wave, defect);
                for (sum, channel) in sum.iter_mut().zip(colour) {
                    *sum += channel;
                }
            }
        }
        let right = 2.0 * (left + 0.5) / self.size.width as f32 - 1.0;
        let down = 2.0 * (top + 0.5) / self.size.height as f32 - 1.0;
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
