//! What a category is, and the table of them.

use fmam_core::ImageSize;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

use super::render::View;
use super::{flange, perforated, weave};

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

/// What is photographed, in its own coordinates, with one defect once it is damaged.
pub(super) trait Subject: Send + Sync {
    /// Draws a defect of the category's `kind`th type where `view` shows it.
    fn damage(&mut self, kind: usize, view: &View, rng: &mut ChaCha8Rng);

    /// Whether the defect may change the colour at `point`.
    fn reaches(&self, point: [f32; 2]) -> bool;

    /// The colours under even light, each channel around 0..1, at the `points` of the pixel whose middle is
    /// `centre`; without the defect where not `damaged`.
    fn colours(&self, centre: [f32; 2], points: [[f32; 2]; 4], damaged: bool) -> [[f32; 3]; 4];
}

/// A macro, so that a category is one line: Rust cannot list the variants of an enum.
macro_rules! categories {
    ($($(#[$doc:meta])* $variant:ident => $entry:path,)*) => {
        /// A category of the demo set, which configurations name in lower case.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "lowercase")]
        pub enum DemoCategory {
            $($(#[$doc])* $variant,)*
        }

        impl DemoCategory {
            /// Every category, sorted by name.
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            pub(super) fn entry(self) -> &'static CategoryEntry {
                match self {
                    $(Self::$variant => &$entry,)*
                }
            }
        }
    };
}

categories! {
    /// A turned metal disc with a bore and six bolt holes, in any rotation on a plain ground.
    Flange => flange::ENTRY,
    /// A brushed metal sheet with round holes in staggered rows, filling the image.
    Perforated => perforated::ENTRY,
    /// Undyed linen, each thread over one and under one.
    Plain => weave::PLAIN,
    /// Blue warp and pale weft, each thread over two and under two.
    Twill => weave::TWILL,
}

impl DemoCategory {
    /// The category's name.
    pub fn name(self) -> &'static str {
        self.entry().name
    }
}
