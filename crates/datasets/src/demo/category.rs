//! The table of categories.

use serde::{Deserialize, Serialize};

use super::subject::CategoryEntry;
use super::{flange, perforated, weave};

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
