use std::path::{Path, PathBuf};

use fmam_core::{CoreError, ErrorKind, ImageSize, SourceError, StageId};

use crate::untraceable::Untraceable;

/// A method could not be configured, fitted, saved, loaded or run.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MethodError {
    /// No method has this name.
    #[error("unknown method `{name}`; known: {}", known.join(", "))]
    UnknownMethod {
        /// The name asked for.
        name: String,
        /// All registered names.
        known: Vec<&'static str>,
    },
    /// The configuration has an unknown key or a value of the wrong type.
    #[error("configuration of `{method}` is not valid")]
    Config {
        /// The method.
        method: &'static str,
        /// The fault.
        #[source]
        source: toml::de::Error,
    },
    /// A configuration value lies outside its range.
    #[error("configuration of `{method}`: `{key}` must be {expected}, got {actual}")]
    ConfigValue {
        /// The method.
        method: &'static str,
        /// The key.
        key: &'static str,
        /// The range.
        expected: &'static str,
        /// The value given.
        actual: String,
    },
    /// The settings of a method have a value that JSON or TOML cannot hold.
    #[error("the settings of `{method}` cannot be written")]
    Settings {
        /// The method.
        method: &'static str,
        /// The serialiser's reason.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The training source is empty.
    #[error("there is no training image")]
    NoTrainingImages,
    /// A sample could not be read.
    #[error("cannot load sample `{id}`")]
    Sample {
        /// The sample.
        id: String,
        /// Why.
        #[source]
        source: SourceError,
    },
    /// An image to score has another size than the detector was fitted for.
    #[error("the detector was fitted for {expected} images, got {actual}")]
    ImageSize {
        /// Size that was fitted.
        expected: ImageSize,
        /// Size that was given.
        actual: ImageSize,
    },
    /// Images and regions of interest do not pair up.
    #[error("there are {regions} regions of interest for {images} images")]
    RegionCount {
        /// Number of images.
        images: usize,
        /// Number of regions.
        regions: usize,
    },
    /// A region of interest has another size than its image.
    #[error("the region of interest of image {index} is a mask of {region}, the image has {image} pixels")]
    RegionSize {
        /// Position of the image among those given, from 0.
        index: usize,
        /// Size of the image.
        image: ImageSize,
        /// Size of the region.
        region: ImageSize,
    },
    /// No pixel of an image is to be looked at.
    #[error("image {index} has no pixel within its region of interest")]
    NothingInside {
        /// Position of the image among those given, from 0.
        index: usize,
    },
    /// No pixel of a training image is to be looked at.
    #[error(
        "training image `{id}` has no pixel within its region of interest; leave it out, or mend the region"
    )]
    NothingToLearn {
        /// The sample.
        id: String,
    },
    /// The detector takes no image of any size.
    #[error("the detector sees whole images of {expected}; fit one with tiles to scan larger images")]
    NotTiled {
        /// Size that was fitted.
        expected: ImageSize,
    },
    /// The detector is no graph of operators.
    #[error("the detector of `{method}` cannot be exported: {reason}")]
    Untraceable {
        /// Name of the method.
        method: String,
        /// The property that keeps it from being a graph.
        reason: Untraceable,
    },
    /// The trace of a method computes another score or map than the method.
    #[error(
        "the trace of the method gives {graph} where the detector gives {detector}: a fault of the method"
    )]
    TraceDiffers {
        /// Score of the image or of a pixel, as the trace computed it.
        graph: f32,
        /// Score of the same image or pixel by the detector.
        detector: f32,
    },
    /// A method that learns each position was given images of several sizes.
    #[error(
        "images of {first} and of {other}, as `{id}`, have no common positions; bring all to one size, or use a \
         method that learns no positions, such as patchcore"
    )]
    MixedPositions {
        /// The first sample of another size.
        id: String,
        /// Size of the first training image.
        first: ImageSize,
        /// Size of another one.
        other: ImageSize,
    },
    /// A tile was looked at in no training image.
    #[error(
        "the region of interest reaches into tile {tile}, which that of no training image does; the method learns \
         each position: fit it with this region"
    )]
    UnknownTile {
        /// Position of the tile, row by row from 0.
        tile: usize,
    },
    /// The rows of an image could not be read.
    #[error("cannot read the rows of an image")]
    Rows {
        /// The reason; names the file.
        #[source]
        source: SourceError,
    },
    /// An image has fewer rows than it says, or rows of another width.
    #[error("an image of {expected} rows ends after {actual}: the file is truncated")]
    MissingRows {
        /// Rows that the image says it has.
        expected: usize,
        /// Rows that could be read.
        actual: usize,
    },
    /// The device has no memory for a training step.
    #[error("the device has no memory for the stage {stage} with batch_size = {batch_size}")]
    OutOfMemory {
        /// The part of the training.
        stage: StageId,
        /// Images in a step.
        batch_size: usize,
        /// The device's own error.
        source: Box<MethodError>,
    },
    /// The loss became infinite or undefined.
    #[error("training of `{stage}` diverged in epoch {epoch}: the loss is {loss}; lower the learning rate")]
    Diverged {
        /// The part of the training.
        stage: StageId,
        /// One-based epoch.
        epoch: usize,
        /// The loss.
        loss: f64,
    },
    /// A network gave infinite or undefined features.
    #[error("the features of an image are not finite: the weights are damaged")]
    UndefinedFeatures,
    /// A verdict is infinite or undefined.
    #[error("the score of image {index} is not finite: the model is damaged, or its features are too large")]
    UndefinedScore {
        /// Position of the image among those given, from 0.
        index: usize,
    },
    /// Another fit is at work where the state of this one is to be kept.
    #[error("another fit keeps its training in {}; wait for it, or choose another place", folder.display())]
    TrainingHeld {
        /// The folder.
        folder: PathBuf,
    },
    /// The user asked to stop.
    #[error("cancelled")]
    Cancelled,
    /// A model file could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A model file could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The path.
        path: PathBuf,
        /// Why.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A model folder has a layout that this program does not read.
    #[error("{} is of layout {found}; this program reads models of the layouts {}", path.display(), numbers(known))]
    UnknownLayout {
        /// The file of the card.
        path: PathBuf,
        /// The layout of the folder.
        found: i64,
        /// The layouts that can be read.
        known: &'static [u32],
    },
    /// A card has another content than the one that was saved.
    #[error(
        "{} was changed after the model was saved; bring the original back, or fit the model again",
        path.display()
    )]
    EditedCard {
        /// The file.
        path: PathBuf,
    },
    /// A network file has another content than the file that was saved.
    #[error("{} is not the file that was saved with this model", path.display())]
    ReplacedFile {
        /// The file.
        path: PathBuf,
    },
    /// A network file of the model is not there.
    #[error("{} is missing from this model", path.display())]
    MissingFile {
        /// The file.
        path: PathBuf,
    },
    /// A network file was not saved with the model.
    #[error("{} does not belong to this model", path.display())]
    SurplusFile {
        /// The file.
        path: PathBuf,
    },
    /// A prediction could not be assembled.
    #[error(transparent)]
    Core(#[from] CoreError),
    /// A network failed.
    #[error(transparent)]
    Model(#[from] fmam_models::ModelError),
    /// Synthesis failed.
    #[error("synthesis failed")]
    Synthesis(#[from] fmam_synthesis::SynthesisError),
    /// A tensor operation failed.
    #[error("tensor operation failed")]
    Tensor(#[from] candle_core::Error),
}

impl MethodError {
    /// A file or folder of a model that cannot be read.
    pub(crate) fn read(path: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self::Read { path: path.to_owned(), source: source.into() }
    }

    /// The kind of the error: it tells who can mend it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownMethod { .. }
            | Self::Config { .. }
            | Self::ConfigValue { .. }
            | Self::ImageSize { .. }
            | Self::RegionCount { .. }
            | Self::RegionSize { .. }
            | Self::NotTiled { .. }
            | Self::Untraceable { .. } => ErrorKind::Usage,
            Self::Core(error @ CoreError::TileOverlap { .. }) => error.kind(),
            Self::NoTrainingImages
            | Self::Sample { .. }
            | Self::NothingInside { .. }
            | Self::NothingToLearn { .. }
            | Self::MixedPositions { .. }
            | Self::UnknownTile { .. }
            | Self::Rows { .. }
            | Self::MissingRows { .. }
            | Self::Diverged { .. }
            | Self::UndefinedFeatures
            | Self::UndefinedScore { .. }
            | Self::UnknownLayout { .. }
            | Self::EditedCard { .. }
            | Self::ReplacedFile { .. }
            | Self::MissingFile { .. }
            | Self::SurplusFile { .. }
            | Self::Read { .. } => ErrorKind::Data,
            Self::OutOfMemory { .. } | Self::Write { .. } | Self::TrainingHeld { .. } => {
                ErrorKind::Environment
            }
            Self::Settings { .. } | Self::TraceDiffers { .. } | Self::Core(_) | Self::Tensor(_) => {
                ErrorKind::Bug
            }
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Model(error) => error.kind(),
            Self::Synthesis(error) => error.kind(),
        }
    }
}

impl MethodError {
    /// True where the device had no memory. It says so in its own words.
    pub(crate) fn is_out_of_memory(&self) -> bool {
        let causes = std::iter::successors(Some(self as &dyn std::error::Error), |error| error.source());
        let is_memory = |text: &str| text.contains("OUT_OF_MEMORY") || text.contains("out of memory");
        causes.map(ToString::to_string).any(|text| is_memory(&text))
    }
}

fn numbers(numbers: &[u32]) -> String {
    let numbers: Vec<_> = numbers.iter().map(u32::to_string).collect();
    match &numbers[..] {
        [rest @ .., last] if !rest.is_empty() => format!("{} and {last}", rest.join(", ")),
        _ => numbers.concat(),
    }
}
