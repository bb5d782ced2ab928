//! Coordinates: where in the subject a pixel of the image lies.

use fmam_core::ImageSize;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::shapes::turn;

/// The camera's view of a subject: from above, in the subject's own coordinates.
pub(super) struct View {
    pub(super) size: ImageSize,
    /// Coordinates of the image's centre.
    origin: [f32; 2],
    /// Units per pixel along the image's rows: the first column of a rotation matrix, scaled.
    axis: [f32; 2],
    /// Pixels from one element of the subject's texture to the next, the scale at which an eye
    /// takes the neighbourhood of a change for changed.
    pub(super) grain: f32,
}

impl View {
    /// With `unit` pixels to the unit, turned by twice the angle whose tangent is `half`.
    pub(super) fn new(size: ImageSize, unit: f32, half: f32, origin: [f32; 2], grain: f32) -> Self {
        let [cos, sin] = turn(half);
        Self { size, origin, axis: [cos / unit, sin / unit], grain }
    }

    /// Coordinates of a point in the image, pixels from its upper left corner.
    pub(super) fn point(&self, y: f32, x: f32) -> [f32; 2] {
        let (y, x) = (y - self.size.height as f32 / 2.0, x - self.size.width as f32 / 2.0);
        let [cos, sin] = self.axis;
        [self.origin[0] + cos * x - sin * y, self.origin[1] + sin * x + cos * y]
    }

    /// A point in sight, not near the image's border.
    pub(super) fn somewhere(&self, rng: &mut ChaCha8Rng) -> [f32; 2] {
        let mut place = |side: usize| rng.random_range(0.15_f32..0.85) * side as f32;
        self.point(place(self.size.height), place(self.size.width))
    }
}
