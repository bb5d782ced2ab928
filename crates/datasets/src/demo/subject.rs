//! The interface between a category and the camera.

use fmam_core::ImageSize;
use rand_chacha::ChaCha8Rng;

use super::view::View;

/// One category, as its file describes it.
pub(super) struct CategoryEntry {
    /// Its name, from which its seeds are derived too.
    pub(super) name: &'static str,
    /// Names of its defect types, sorted.
    pub(super) defect_types: fn() -> Vec<&'static str>,
    pub(super) set_up: SetUp,
}

/// Draws a faultless subject and how the camera looks at it.
type SetUp = fn(ImageSize, &mut ChaCha8Rng) -> (View, Box<dyn Subject>);

/// A photographed object in its own coordinates, with one defect once it is damaged.
pub(super) trait Subject: Send + Sync {
    /// Draws a defect of the category's `kind`th type where `view` shows it.
    fn damage(&mut self, kind: usize, view: &View, rng: &mut ChaCha8Rng);

    /// True where the defect may change the colour at `point`.
    fn reaches(&self, point: [f32; 2]) -> bool;

    /// The colours under even light, each channel around 0..1, at the `points` of the pixel whose
    /// middle is `centre`; without the defect where not `damaged`.
    fn colours(&self, centre: [f32; 2], points: [[f32; 2]; 4], damaged: bool) -> [[f32; 3]; 4];
}
