//! The reasons for which a detector is no graph.

/// The property that keeps a detector from being a graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Untraceable {
    /// The method computes its score otherwise than by operators, as by gradients.
    Method,
    /// Images are cut into tiles.
    Tiles,
    /// Images are padded.
    Padding,
    /// A part of the image does not count.
    Region,
    /// The networks compute in half precision.
    Precision,
    /// A network runs operators that write nothing down.
    Operators,
}

impl std::fmt::Display for Untraceable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Method => {
                "its method computes the score otherwise than by operators (mrkd: by gradients); use another method"
            }
            Self::Tiles => "it cuts images into tiles; fit one that sees tiles as whole images, and cut them yourself",
            Self::Padding => "it pads images to keep their aspect; fit one without that",
            Self::Region => "it has a region of interest; fit one without, on images that are cut to the region",
            Self::Precision => "its networks compute in bf16; fit one in f32",
            Self::Operators => {
                "its backbone runs operators that are not written down; use another backbone, or compute with those \
                 of fmam-ops"
            }
        })
    }
}
