use std::path::PathBuf;

use fmam_core::{ErrorKind, ImageSize, SourceError, Split};

use crate::PixelKind;

/// A fault of a data set. Every message names the file or folder and the expected content.
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
    #[error("data set `{dataset}` reads files: the folder that holds it is not given")]
    RootNotGiven {
        /// Registered name of the data set.
        dataset: &'static str,
    },
    /// Files were asked for, and the program generates the images.
    #[error("the images of `{name}` are generated: there are no files")]
    NoFiles {
        /// The category.
        name: String,
    },
    /// The data root does not exist or is not a folder.
    #[error("data root {} is not a folder", .root.display())]
    MissingRoot {
        /// The given folder.
        root: PathBuf,
    },
    /// The data root holds nothing that looks like the data set.
    #[error("no `{dataset}` data set under {}; expected {expected} there", .root.display())]
    UnrecognizedLayout {
        /// Registered name of the data set.
        dataset: &'static str,
        /// The folder that was searched.
        root: PathBuf,
        /// The layout that would have been recognised.
        expected: String,
    },
    /// The settings of a data set are no table.
    #[error("the settings of a data set are a table of names and values")]
    SettingsTable,
    /// A setting of a data set is unknown or has a wrong value.
    #[error("data set `{dataset}`: setting `{key}`")]
    Setting {
        /// Registered name of the data set.
        dataset: &'static str,
        /// The setting; empty where the fault lies in several settings together.
        key: String,
        /// Why.
        source: serde_json::Error,
    },
    /// A split's folder is not there.
    #[error("the folder {} is missing; it should hold {contents}", .folder.display())]
    MissingSplit {
        /// The folder.
        folder: PathBuf,
        /// The expected contents of the folder.
        contents: &'static str,
    },
    /// A folder that should hold images has none of a known type.
    #[error("no image (png, jpg, jpeg, bmp, tif, tiff, webp, pgm, ppm, pnm, gif) in {}", .folder.display())]
    NoImages {
        /// The folder.
        folder: PathBuf,
    },
    /// There is no image to test on.
    #[error("the test split under {} has no image; add normal or anomalous test images", .folder.display())]
    EmptyTest {
        /// The folder of the category.
        folder: PathBuf,
    },
    /// Two images differ only in their extension, so that a mask cannot be joined to either by
    /// stem.
    #[error("{} and {} have the same stem; rename or remove one", .first.display(), .second.display())]
    DuplicateStem {
        /// One image.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// Two images would have the same id, or two categories the same name.
    #[error("{first:?} and {second:?} are both called `{name}` here; give each a name of its own")]
    SharedName {
        /// The id or name.
        name: String,
        /// One image or folder.
        first: PathBuf,
        /// The other; the same as `first` where a list names an image twice.
        second: PathBuf,
    },
    /// A defective image of a data set with masks has none.
    #[error("no mask for {}; expected {}", .image.display(), .expected.display())]
    MissingMask {
        /// The image.
        image: PathBuf,
        /// The expected path of the mask.
        expected: PathBuf,
    },
    /// A mask belongs to no image, and an image has no mask.
    #[error(
        "the mask {} belongs to no image, and {} has none; its mask is called {}",
        .mask.display(), .image.display(), .expected.display()
    )]
    MisnamedMask {
        /// The mask.
        mask: PathBuf,
        /// The first image without a mask.
        image: PathBuf,
        /// The expected path of the mask of this image.
        expected: PathBuf,
    },
    /// Two masks could be that of one image.
    #[error(
        "both {} and {} fit the image {}; remove one, or put both into a folder that is called as the image",
        .first.display(), .second.display(), .image.display()
    )]
    SeveralMasks {
        /// The image.
        image: PathBuf,
        /// One mask, or the first of a folder of masks.
        first: PathBuf,
        /// The other.
        second: PathBuf,
    },
    /// Some of the defective images of a data set in which masks are optional have one, others have
    /// none.
    #[error(
        "{without} of {of} anomalous images have no mask, {} for one; give each its mask, or remove all masks",
        .image.display()
    )]
    SomeMasksMissing {
        /// The first image without a mask.
        image: PathBuf,
        /// Number of anomalous images without a mask.
        without: usize,
        /// Number of anomalous images.
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
        "the mask {} has no anomalous pixel (a value that is not 0, and not transparent); mark the defect, or move its \
         image to the normal ones",
        .mask.display()
    )]
    BlankMask {
        /// The mask, or the first of several of one image.
        mask: PathBuf,
    },
    /// The values of a mask do not tell its anomalous pixels.
    #[error(
        "the mask {} has the values {}, which do not tell its anomalous pixels; save it with 0 for normal pixels \
         and one other value for defects",
        .mask.display(), level_list(.values)
    )]
    MaskValues {
        /// The mask.
        mask: PathBuf,
        /// Values that it has, sorted: the first of them where there are many.
        values: Vec<f32>,
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
        /// The expected folder of the image.
        folder: PathBuf,
    },
    /// The list that says which images are for training is not there.
    #[error("the list of splits {} is missing; it is part of the data set", .path.display())]
    MissingSplitList {
        /// The list.
        path: PathBuf,
    },
    /// A row of a list of splits cannot be used.
    #[error("{}, line {line}: {problem}", .list.display())]
    SplitListRow {
        /// The list.
        list: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The fault of the row.
        problem: RowProblem,
    },
    /// A list of splits names no image of one split of a category.
    #[error("{} names no {} image of `{category}`", .list.display(), split_name(.split))]
    EmptySplit {
        /// The list.
        list: PathBuf,
        /// The category.
        category: String,
        /// The split without images.
        split: Split,
    },
    /// There are two lists of images and no setting that names one.
    #[error(
        "both {} and {} could be the list; name one: file = \"NAME.csv\" under [dataset.csv]",
        .first.display(), .second.display()
    )]
    SeveralLists {
        /// One list.
        first: PathBuf,
        /// Another.
        second: PathBuf,
    },
    /// A list of images has test images and does not tell which are normal.
    #[error("{} has test images and no column `label`; add it, or no figure can be right", .list.display())]
    UnlabelledTest {
        /// The list.
        list: PathBuf,
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
    /// A path that is called as an image is a pipe, a socket or a device, which could be read from
    /// for ever.
    #[error("{} is called as an image and is no regular file; remove it", .path.display())]
    NotRegular {
        /// The path.
        path: PathBuf,
    },
    /// The caller asked to stop.
    #[error("stopped")]
    Cancelled,
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
    /// A path with the name of an image is a folder, a pipe or a device.
    #[error("{} is no regular file; expected an image", .path.display())]
    NotAFile {
        /// The path.
        path: PathBuf,
    },
    /// A decoded image would take more memory than is allowed.
    #[error(
        "{} has {size} pixels (height x width) and takes {} MiB; the limit is {} MiB, which is a setting",
        .path.display(), mebibytes(.needed), mebibytes(.limit)
    )]
    TooLarge {
        /// The file.
        path: PathBuf,
        /// Its size.
        size: ImageSize,
        /// Bytes that it takes.
        needed: u64,
        /// Bytes that it may take, [`Reading::max_bytes`](fmam_core::Reading::max_bytes).
        limit: u64,
    },
    /// The pixels of a file are of a kind that is not read.
    #[error(
        "{} holds {kind}; expected integers of 8 or 16 bits without a sign, or floating-point numbers of \
         16, 32 or 64 bits: convert the file",
        .path.display()
    )]
    PixelKind {
        /// The file.
        path: PathBuf,
        /// The kind of its pixels.
        kind: PixelKind,
    },
    /// A file of floating-point numbers is read without a range of values.
    #[error(
        "{} holds floating-point numbers from {lowest} to {highest}; state the range of values from black \
         to white",
        .path.display()
    )]
    NoValueRange {
        /// The file.
        path: PathBuf,
        /// The lowest number.
        lowest: f64,
        /// The highest number.
        highest: f64,
    },
    /// A file of floating-point numbers holds one that is no number.
    #[error("{} holds NaN, which is no brightness; replace it by a number", .path.display())]
    NotANumber {
        /// The file.
        path: PathBuf,
    },
    /// A region of interest has another aspect ratio than an image.
    #[error(
        "the region of interest is {region} (height x width), and the image {} is {image_size}; draw it in \
         the aspect ratio of the image",
        .image.display()
    )]
    RegionAspect {
        /// The image.
        image: PathBuf,
        /// The size of the image.
        image_size: ImageSize,
        /// The size of the region.
        region: ImageSize,
    },
    /// A region of interest has no pixel.
    #[error(
        "the region of interest has no pixel of {} at {size} (height x width); mark what is looked at in \
         white",
        .image.display()
    )]
    EmptyRegion {
        /// The image, or the mask of the region.
        image: PathBuf,
        /// The size at which no pixel is left.
        size: ImageSize,
    },
    /// A folder of regions has none for an image.
    #[error("no region of interest for {}; expected {}", .image.display(), .expected.display())]
    MissingRegion {
        /// The image.
        image: PathBuf,
        /// The expected path of the mask.
        expected: PathBuf,
    },
    /// An image without pixels, or none asked for.
    #[error("cannot resize {} of {size} pixels to {to}", .path.display())]
    NoPixels {
        /// The name of the image.
        path: PathBuf,
        /// The size of the image.
        size: ImageSize,
        /// The size asked for.
        to: ImageSize,
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

impl DatasetError {
    /// The kind of the error: it tells who can mend it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownDataset { .. }
            | Self::UnknownCategory { .. }
            | Self::RootNotGiven { .. }
            | Self::NoFiles { .. }
            | Self::SettingsTable
            | Self::Setting { .. }
            | Self::DemoCount { .. } => ErrorKind::Usage,
            Self::ListFolder { .. }
            | Self::Read { .. }
            | Self::AlreadyExists { .. }
            | Self::Write { .. }
            | Self::Encode { .. } => ErrorKind::Environment,
            Self::Cancelled => ErrorKind::Cancelled,
            _ => ErrorKind::Data,
        }
    }
}

/// Mebibytes, rounded up.
fn mebibytes(bytes: &u64) -> u64 {
    bytes.div_ceil(1 << 20)
}

/// A fault of a row of a list of splits.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum RowProblem {
    /// The first row does not name the columns.
    #[error("the header is `{found}`, expected `{expected}`")]
    Header {
        /// The first row.
        found: String,
        /// The header of the published list.
        expected: &'static str,
    },
    /// The row has too few or too many fields.
    #[error("found {found} fields, expected {expected}")]
    FieldCount {
        /// Number of fields found.
        found: usize,
        /// Number of fields expected.
        expected: usize,
    },
    /// A quoted field is not closed, or goes on after its closing quote.
    #[error("a quoted field is not closed, or goes on after its closing quote")]
    MisplacedQuote,
    /// A field that names something is empty.
    #[error("the field `{field}` is empty")]
    EmptyField {
        /// The column.
        field: &'static str,
    },
    /// The split is neither of the two.
    #[error("unknown split `{split}`; known are train, test")]
    UnknownSplit {
        /// The split that the row has.
        split: String,
    },
    /// The label is neither of the two.
    #[error("unknown label `{label}`; known are {known}")]
    UnknownLabel {
        /// The label that the row has.
        label: String,
        /// The known labels.
        known: &'static str,
    },
    /// The first line of a list of images does not name the column of the images.
    #[error(
        "the first line is `{found}`, without `path`; expected path, and label, mask, split, category where they \
         are known, separated by commas"
    )]
    NoPathColumn {
        /// The first line.
        found: String,
    },
    /// The first line of a list of images names a column twice.
    #[error("the first line names the column `{column}` twice")]
    RepeatedColumn {
        /// The column.
        column: &'static str,
    },
    /// An anomalous image would be trained on: the list is that of another protocol.
    #[error("an anomalous image for training; the one-class split trains on normal images only")]
    AnomalyInTraining,
    /// An anomalous image comes without a mask.
    #[error("no mask for the anomalous image {}", .image.display())]
    NoMask {
        /// The image, within the data set's folder.
        image: PathBuf,
    },
    /// A normal image comes with a mask.
    #[error(
        "the mask {mask} belongs to a normal image; leave the field empty, or label the image as anomaly"
    )]
    MaskOfNormal {
        /// The mask.
        mask: String,
    },
    /// A path is absolute or climbs with `..`, or an object is no folder's name.
    #[error("`{path}` may lead out of the data set's folder; expected a path within it, without `..`")]
    OutsideDataset {
        /// The path or the object.
        path: String,
    },
    /// A file is named a second time.
    #[error("{} is named again; line {first} has it already", .path.display())]
    Repeated {
        /// The image or mask, within the data set's folder.
        path: PathBuf,
        /// The line that names it first.
        first: usize,
    },
    /// A file is not there.
    #[error("there is no file {}", .path.display())]
    MissingFile {
        /// The image or mask.
        path: PathBuf,
    },
}

fn split_name(split: &Split) -> &'static str {
    match split {
        Split::Train => "training",
        Split::Test => "test",
    }
}

/// At most eight values, and whether there are more.
fn level_list(values: &[f32]) -> String {
    let listed: Vec<String> = values.iter().take(8).map(f32::to_string).collect();
    let more = if values.len() > listed.len() { " and more" } else { "" };
    format!("{}{more}", listed.join(", "))
}
