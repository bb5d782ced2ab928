use std::fmt;
use std::path::{Path, PathBuf};

use fmam_core::ImageSize;
use fmam_datasets::{Choice, DuplicateKind};
use serde::{Serialize, Serializer};

/// The consequence of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// A fit or an evaluation refuses it.
    Error,
    /// It is read, and the figures may be worse or mean something else than expected.
    Warning,
    /// A choice that is made in reading.
    Note,
}

/// A fault or a peculiarity of a data set. Its text is a sentence that names a file.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
#[non_exhaustive]
pub enum Finding {
    /// The files of a category are not as its layout asks.
    Layout {
        /// The category.
        category: String,
        /// The fault.
        error: String,
    },
    /// An image is refused.
    Refused {
        /// The image.
        path: PathBuf,
        /// The fault, which names the file.
        error: String,
    },
    /// The masks of an image are refused.
    MaskRefused {
        /// The image.
        path: PathBuf,
        /// The fault, which names the mask.
        error: String,
    },
    /// An anomalous image has a mask without an anomalous pixel, which its data set is known for.
    BlankMask {
        /// The mask.
        mask: PathBuf,
    },
    /// Two images have the same pixels.
    Repeated {
        /// One image.
        first: PathBuf,
        /// The other.
        second: PathBuf,
        /// The consequence.
        #[serde(serialize_with = "duplicate_kind")]
        duplicate: DuplicateKind,
    },
    /// Defects have no pixel left at a size.
    Vanishing {
        /// The category.
        category: String,
        /// The size.
        #[serde(with = "fmam_core::sides")]
        size: ImageSize,
        /// Anomalous images without a pixel.
        n_images: usize,
        /// Regions without a pixel.
        n_regions: usize,
        /// The first images without a pixel, a few; or with a region without a pixel.
        first: Vec<PathBuf>,
    },
    /// Squeezing images to the size of the networks changes their aspect ratio.
    Squeezed {
        /// The image that changes most.
        path: PathBuf,
        /// Its size.
        size: ImageSize,
        /// The size that it would be resized to.
        to: ImageSize,
        /// The factor, above 1.5.
        factor: f64,
        /// Number of images whose factor is above 1.5.
        n: usize,
    },
    /// 16-bit files use fewer bits.
    Depth {
        /// The training image with the highest value.
        path: PathBuf,
        /// The depth.
        bits: u8,
        /// The highest value.
        highest: u16,
    },
    /// Values exceed the depth by which 16-bit files are scaled.
    AboveDepth {
        /// The first image.
        path: PathBuf,
        /// Number of images.
        n: usize,
        /// The depth.
        bits: u8,
        /// The highest value of the first image.
        highest: u16,
    },
    /// A test split has one class.
    OneClass {
        /// The category.
        category: String,
        /// True if there is no normal image, false if there is no anomalous one.
        lacks_normal: bool,
    },
    /// Anomalous images have no masks.
    NoMasks {
        /// The category.
        category: String,
    },
    /// Files that are called as images and belong to no split and no mask.
    UnusedImages {
        /// The first.
        path: PathBuf,
        /// Number of files.
        n: usize,
    },
    /// Files that are no images by their names, and hidden files.
    OtherFiles {
        /// The first.
        path: PathBuf,
        /// Number of files.
        n: usize,
    },
    /// Images with an EXIF orientation.
    Turned {
        /// The first.
        path: PathBuf,
        /// Its orientation.
        orientation: u8,
        /// Number of images.
        n: usize,
    },
    /// Images with transparent pixels.
    Alpha {
        /// The first.
        path: PathBuf,
        /// Number of images.
        n: usize,
    },
    /// Images with several frames or pages.
    Frames {
        /// The first.
        path: PathBuf,
        /// Number of images.
        n: usize,
    },
    /// Another choice that is made in reading files or their list.
    Choice {
        /// The category.
        category: String,
        /// The choice.
        choice: Choice,
        /// The choice as a clause, with the name of a column and the like.
        clause: String,
        /// The file or folder; of several the first.
        path: PathBuf,
        /// Number of files.
        n: usize,
    },
    /// Masks with soft edges.
    SoftMasks {
        /// The first.
        path: PathBuf,
        /// Number of masks.
        n: usize,
    },
}

impl Finding {
    /// The consequence.
    pub fn severity(&self) -> Severity {
        match self {
            Self::Layout { .. } | Self::Refused { .. } | Self::MaskRefused { .. } => Severity::Error,
            Self::BlankMask { .. }
            | Self::Repeated { .. }
            | Self::Vanishing { .. }
            | Self::Squeezed { .. }
            | Self::AboveDepth { .. }
            | Self::OneClass { .. }
            | Self::UnusedImages { .. }
            | Self::Frames { .. } => Severity::Warning,
            Self::Choice { choice, .. } => severity_of(*choice),
            Self::Depth { .. }
            | Self::NoMasks { .. }
            | Self::OtherFiles { .. }
            | Self::Turned { .. }
            | Self::Alpha { .. }
            | Self::SoftMasks { .. } => Severity::Note,
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Layout { category, error } => write!(f, "category `{category}`: {error}"),
            Self::Refused { error, .. } | Self::MaskRefused { error, .. } => write!(f, "{error}"),
            Self::BlankMask { mask } => {
                write!(f, "the mask {} of an anomalous image has no anomalous pixel", mask.display())
            }
            Self::Repeated { first, second, duplicate } => {
                let consequence = match duplicate {
                    DuplicateKind::TrainAndTest => {
                        "the test image was learnt, and its score is too low: remove one"
                    }
                    DuplicateKind::BothLabels => "one is normal, the other anomalous: remove the wrong one",
                    _ => "the image counts twice: remove one",
                };
                let (first, second) = (first.display(), second.display());
                write!(f, "{first} and {second} have the same pixels; {consequence}")
            }
            Self::Vanishing { category, size, n_images, n_regions, first } => {
                let images = match n_images {
                    0 => String::new(),
                    n => format!("{} and ", number(*n, "anomalous image")),
                };
                let (defects, first) = (number(*n_regions, "defect"), some(first));
                let left = if n_images + n_regions == 1 { "has" } else { "have" };
                write!(
                    f,
                    "category `{category}`: at {size}, {images}{defects} {left} no pixel of their masks left, as \
                     in {first}"
                )
            }
            Self::Squeezed { path, size, to, factor, n } => write!(
                f,
                "resizing to {to} changes the aspect ratio of {} by more than 1.5, most that of {}: {size} \
                 (height x width), {factor:.1} times",
                number(*n, "image"),
                path.display()
            ),
            Self::Depth { path, bits, highest } => write!(
                f,
                "16-bit files use {bits} bits, the highest value is {highest} in {}: they are scaled from there",
                path.display()
            ),
            Self::AboveDepth { path, n, bits, highest } => write!(
                f,
                "{} above the {bits} bits that the training images use, {} for one ({highest}): brighter \
                 values become white",
                have(*n, "image", "values"),
                path.display()
            ),
            Self::OneClass { category, lacks_normal: true } => write!(
                f,
                "category `{category}` has no normal test image: AUROC and the false alarm rate are undefined"
            ),
            Self::OneClass { category, lacks_normal: false } => write!(
                f,
                "category `{category}` has no anomalous test image: AUROC and the miss rate are undefined"
            ),
            Self::NoMasks { category } => {
                write!(f, "category `{category}` has no masks: there are no pixel figures")
            }
            Self::UnusedImages { path, n } => write!(
                f,
                "{} called as images and used nowhere, {} for one: move or rename them where they should count",
                are(*n, "file"),
                path.display()
            ),
            Self::OtherFiles { path, n } => {
                write!(
                    f,
                    "{} no images by their names, {} for one: not read",
                    are(*n, "file"),
                    path.display()
                )
            }
            Self::Turned { path, orientation, n } => write!(
                f,
                "{}, {} for one ({orientation}): it is applied",
                have(*n, "image", "an EXIF orientation"),
                path.display()
            ),
            Self::Alpha { path, n } => write!(
                f,
                "{}, {} for one: they are laid over a colour",
                have(*n, "image", "transparent pixels"),
                path.display()
            ),
            Self::Frames { path, n } => write!(
                f,
                "{}, {} for one: only the first is read",
                have(*n, "file", "several frames or pages"),
                path.display()
            ),
            Self::Choice { category, clause, path, n: 1, .. } => {
                write!(f, "category `{category}`, {}: {clause}", path.display())
            }
            Self::Choice { category, clause, path, n, .. } => {
                write!(f, "category `{category}`, {n} files, {} for one: {clause}", path.display())
            }
            Self::SoftMasks { path, n } => write!(
                f,
                "{}, {} for one: pixels above half of the range are anomalous",
                have(*n, "mask", "soft edges"),
                path.display()
            ),
        }
    }
}

/// A choice that changes which images count, or what their values mean, is a warning.
fn severity_of(choice: Choice) -> Severity {
    match choice {
        Choice::Clamped
        | Choice::FewLevels
        | Choice::AnomalousTraining
        | Choice::NoSplits
        | Choice::LabelsByMasks
        | Choice::NoLabels
        | Choice::RepeatedIds => Severity::Warning,
        _ => Severity::Note,
    }
}

/// `1 image`, `2 images`.
fn number(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

fn have(n: usize, what: &str, property: &str) -> String {
    format!("{} {} {property}", number(n, what), if n == 1 { "has" } else { "have" })
}

fn are(n: usize, what: &str) -> String {
    format!("{} {}", number(n, what), if n == 1 { "is" } else { "are" })
}

fn some(paths: &[PathBuf]) -> String {
    let paths: Vec<String> = paths.iter().map(|path: &PathBuf| Path::display(path).to_string()).collect();
    paths.join(", ")
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks for a reference")]
fn duplicate_kind<S: Serializer>(kind: &DuplicateKind, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(match kind {
        DuplicateKind::TrainAndTest => "train-and-test",
        DuplicateKind::BothLabels => "both-labels",
        _ => "same-class",
    })
}

/// Writes findings with their severity and their text.
pub(super) fn with_text<S: Serializer>(findings: &[Finding], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Told<'a> {
        severity: Severity,
        #[serde(flatten)]
        finding: &'a Finding,
        text: String,
    }
    serializer.collect_seq(findings.iter().map(|finding| Told {
        severity: finding.severity(),
        finding,
        text: finding.to_string(),
    }))
}
