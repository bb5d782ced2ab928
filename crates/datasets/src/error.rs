use std::path::PathBuf;

use fmam_core::{ImageSize, Label, SourceError};

/// What can be wrong with a data set. Every message names the file or folder and says what is expected there.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DatasetError {
    /// No data set is registered under this name.
    #[error("unknown data set `{name}`; known are {}", .known.join(", "))]
    UnknownDataset {
        /// The name that was asked for.
        name: String,
        /// The registered names.
        known: Vec<&'static str>,
    },
    /// The data set has no category of this name.
    #[error("data set `{dataset}` has no category `{name}`; known are {}", .known.join(", "))]
    UnknownCategory {
        /// Registered name of the data set.
        dataset: &'static str,
        /// The name that was asked for.
        name: String,
        /// The categories found.
        known: Vec<String>,
    },
    /// The data set reads files but was given no folder.
    #[error("data set `{dataset}` reads files: give the folder that holds it (--data-root)")]
    RootNotGiven {
        /// Registered name of the data set.
        dataset: &'static str,
    },
    /// The data root does not exist or is not a folder.
    #[error("data root {} is not a folder", .root.display())]
    MissingRoot {
        /// What was given.
        root: PathBuf,
    },
    /// The data root holds nothing that looks like the data set.
    #[error("no `{dataset}` data set under {}; expected {expected} there", .root.display())]
    UnrecognizedLayout {
        /// Registered name of the data set.
        dataset: &'static str,
        /// Where it was looked for.
        root: PathBuf,
        /// The layout that would have been recognised.
        expected: &'static str,
    },
    /// A split's folder is not there.
    #[error("the folder {} is missing; it should hold {contents}", .folder.display())]
    MissingSplit {
        /// The folder.
        folder: PathBuf,
        /// What belongs into it.
        contents: &'static str,
    },
    /// A folder that should hold images has none of a known type.
    #[error("no image (png, jpg, jpeg, bmp, tif, tiff) in {}", .folder.display())]
    NoImages {
        /// The folder.
        folder: PathBuf,
    },
    /// The test split has images of one class only, for which AUROC is undefined.
    #[error(
        "the test split under {} has no {} image; both classes are needed",
        .folder.display(), label_name(.missing)
    )]
    OneClassTest {
        /// The folder of the category or of its test split.
        folder: PathBuf,
        /// The class without images.
        missing: Label,
    },
    /// Two images differ only in their extension, so that a mask cannot be joined to either by stem.
    #[error("{} and {} have the same stem; rename or remove one", .first.display(), .second.display())]
    DuplicateStem {
        /// One image.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// A defective image of a data set with masks has none.
    #[error("no mask for {}; expected {}", .image.display(), .expected.display())]
    MissingMask {
        /// The image.
        image: PathBuf,
        /// Where its mask should be.
        expected: PathBuf,
    },
    /// Some of the defective images of a data set in which masks are optional have one, others have none.
    #[error(
        "{without} of {of} anomalous images have no mask, {} for one; give each its mask, or remove all masks",
        .image.display()
    )]
    SomeMasksMissing {
        /// The first image without a mask.
        image: PathBuf,
        /// How many have none.
        without: usize,
        /// How many anomalous images there are.
        of: usize,
    },
    /// A mask belongs to no image, or a folder of masks to no folder of images.
    #[error(
        "{} belongs to no image: {} is missing; add it, or remove the mask",
        .mask.display(), .expected.display()
    )]
    UnusedMask {
        /// The mask or the folder of masks.
        mask: PathBuf,
        /// The image or the folder of images that it would belong to.
        expected: PathBuf,
    },
    /// The mask of a defective image marks nothing.
    #[error(
        "the mask {} has no anomalous pixel (a value above 127, or 1 in a mask of 0 and 1); mark the defect, or \
         move its image to the normal ones",
        .mask.display()
    )]
    BlankMask {
        /// The mask.
        mask: PathBuf,
    },
    /// One mask would serve two images.
    #[error(
        "the mask {} fits both {} and {}; put the masks into sub-folders as the images are",
        .mask.display(), .first.display(), .second.display()
    )]
    SharedMask {
        /// The mask.
        mask: PathBuf,
        /// One image.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// A list of images is not what the data set publishes.
    #[error("{} is no image set: {{\"normal\": {{\"train\": [...], \"test\": [...]}}, \"defect\": ...}}", .path.display())]
    ImageSet {
        /// The list.
        path: PathBuf,
        /// Why.
        source: serde_json::Error,
    },
    /// A list of images names no normal image to train on.
    #[error("{} names no normal image to train on", .path.display())]
    EmptyImageSet {
        /// The list.
        path: PathBuf,
    },
    /// A list names an image that is not there.
    #[error("{} names image {id}, which {} does not hold", .list.display(), .folder.display())]
    MissingImage {
        /// The image's name without leading zeros.
        id: String,
        /// The list.
        list: PathBuf,
        /// Where the image should be.
        folder: PathBuf,
    },
    /// A mask does not have its image's size.
    #[error(
        "mask {} is {mask_size} (height x width) but its image {} is {image_size}",
        .mask.display(), .image.display()
    )]
    MaskSize {
        /// The mask.
        mask: PathBuf,
        /// Its size.
        mask_size: ImageSize,
        /// The image.
        image: PathBuf,
        /// Its size.
        image_size: ImageSize,
    },
    /// A folder could not be listed.
    #[error("cannot list the folder {}", .folder.display())]
    ListFolder {
        /// The folder.
        folder: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file could not be read.
    #[error("cannot read {}", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file is not an image of a known format, or is damaged.
    #[error("cannot decode {} as an image; replace the file", .path.display())]
    Decode {
        /// The file.
        path: PathBuf,
        /// Why.
        source: image::ImageError,
    },
    /// A JPEG file ends before its end-of-image marker. Decoders would fill the rest with grey.
    #[error("the JPEG file {} is truncated; replace it", .path.display())]
    Truncated {
        /// The file.
        path: PathBuf,
    },
    /// The resizing library refused the pixels.
    #[error("cannot resize {} to {size}", .path.display())]
    Resize {
        /// The file.
        path: PathBuf,
        /// The size asked for.
        size: ImageSize,
        /// Why.
        source: SourceError,
    },
    /// A count of the demo configuration is zero, or no category is listed.
    #[error("demo data set: `{field}` must be at least 1")]
    DemoCount {
        /// The field of [`DemoConfig`](crate::DemoConfig).
        field: &'static str,
    },
    /// The demo set is to be written over something.
    #[error("{} exists already; remove it or choose another folder", .path.display())]
    AlreadyExists {
        /// The file or folder in the way.
        path: PathBuf,
    },
    /// A file or folder could not be written.
    #[error("cannot write {}", .path.display())]
    Write {
        /// The file or folder.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// An image could not be encoded or written.
    #[error("cannot write the image {}", .path.display())]
    Encode {
        /// The file.
        path: PathBuf,
        /// Why.
        source: image::ImageError,
    },
}

fn label_name(label: &Label) -> &'static str {
    match label {
        Label::Normal => "normal",
        Label::Anomalous => "anomalous",
    }
}
