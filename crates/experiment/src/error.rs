use std::path::PathBuf;

use fmam_core::{ErrorKind, ImageSize, SourceError, TiledSourceError};
use fmam_datasets::DatasetError;
use fmam_inspection::InspectionError;
use fmam_methods::MethodError;
use fmam_metrics::MetricError;
use fmam_models::ModelError;
use fmam_record::{RecordError, RunKey};

/// An experiment could not be set up, run or stored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExperimentError {
    /// No preset has this name.
    #[error("unknown preset `{name}`; known: {}", known.join(", "))]
    UnknownPreset {
        /// The name that was given.
        name: String,
        /// All presets.
        known: Vec<&'static str>,
    },
    /// No variant of that name.
    #[error(
        "method `{method}` asks for the variant `{variant}`, which has no table `[variant.{variant}]`; there are: {}",
        known.join(", ")
    )]
    UnknownVariant {
        /// The method with its variant.
        method: String,
        /// The variant.
        variant: String,
        /// All variants of the configuration.
        known: Vec<String>,
    },
    /// A configuration file could not be read.
    #[error("cannot read the configuration {}", path.display())]
    ReadConfig {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A configuration is not what it should be.
    #[error("configuration {}, line {line}", path.display())]
    Parse {
        /// The file, or the name of the preset.
        path: PathBuf,
        /// One-based line.
        line: usize,
        /// The fault in that place.
        source: Box<toml::de::Error>,
    },
    /// A part of a configuration, together with what is common to all, is not what it should be.
    #[error("configuration {}, [[part]] number {part} with the settings outside of the parts", path.display())]
    ParsePart {
        /// The file, or the name of the preset.
        path: PathBuf,
        /// One-based number of the part.
        part: usize,
        /// The fault in that place.
        source: Box<toml::de::Error>,
    },
    /// Two parts of a configuration ask for the same run.
    #[error("two parts of the configuration have the run {key}: give it in one of them only")]
    RepeatedRun {
        /// The run.
        key: RunKey,
    },
    /// A list of the configuration is empty, so that there would be no run.
    #[error("`{key}` is empty; give at least one")]
    EmptyList {
        /// The list.
        key: &'static str,
    },
    /// An item of a list of the configuration has no text.
    #[error("`{key}` has an empty item")]
    EmptyItem {
        /// The list.
        key: &'static str,
    },
    /// A list of the configuration names something twice, which would make a run twice.
    #[error("`{key}` has `{value}` twice")]
    Repeated {
        /// The list.
        key: &'static str,
        /// The value.
        value: String,
    },
    /// The networks cannot take images of this size.
    #[error(
        "height and width of images must be from {} to {} pixels, got {actual}",
        crate::MIN_IMAGE_SIZE,
        crate::MAX_IMAGE_SIZE
    )]
    ImageSize {
        /// The size that was asked for.
        actual: ImageSize,
    },
    /// Neighbouring tiles share all of themselves.
    #[error("tiles of {tile} pixels cannot overlap by {overlap}; the overlap must be below both sides")]
    TileOverlap {
        /// The overlap in pixels.
        overlap: usize,
        /// The size of a tile.
        tile: ImageSize,
    },
    /// A data set that the program generates was given a region of interest.
    #[error("`{dataset}` is generated and has no files that the region of interest {} could belong to", roi.display())]
    RegionOfGenerated {
        /// The data set.
        dataset: String,
        /// The region.
        roi: PathBuf,
    },
    /// Tiles have the size of the image, so there is nothing to pad.
    #[error("tiles show an image in its own size: leave out either the tiles or the padding")]
    TilesKeepAspect,
    /// A backbone cannot take images of this size.
    #[error(
        "backbone `{backbone}` takes images whose sides are multiples of {step} up to {largest}, got {actual}"
    )]
    BackboneImageSize {
        /// The backbone.
        backbone: String,
        /// Sides that it takes are multiples of this.
        step: usize,
        /// Longest side that it takes.
        largest: usize,
        /// The size that was asked for.
        actual: ImageSize,
    },
    /// Without a loader thread nothing is ever loaded.
    #[error("`loader_threads` must be at least 1")]
    LoaderThreads,
    /// There are fewer good images than a method needs.
    #[error(
        "`{method}` needs {needed} different good images to be fitted and calibrated, {found} found{}",
        if others.is_empty() { String::new() } else { format!("; with so few works {}", others.join(", ")) }
    )]
    TooFewImages {
        /// The method.
        method: String,
        /// Good images that there are.
        found: usize,
        /// Good images that it needs.
        needed: usize,
        /// Methods that need no more than there are.
        others: Vec<&'static str>,
    },
    /// No candidate for a choice ends in the time given.
    #[error("no method can be tried and fitted in {seconds:.0} s")]
    NoMethodInTime {
        /// The time given.
        seconds: f64,
    },
    /// A verdict cannot be given as asked.
    #[error(transparent)]
    Inspection(#[from] InspectionError),
    /// The data set failed.
    #[error(transparent)]
    Dataset(#[from] DatasetError),
    /// Images could not be cut into tiles.
    #[error(transparent)]
    Tiles(#[from] TiledSourceError),
    /// The backbone failed.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The method's name or configuration is wrong.
    #[error(transparent)]
    Configuration(Box<MethodError>),
    /// The method failed while it was fitted, scored or saved.
    #[error(transparent)]
    Method(Box<MethodError>),
    /// An image, mask or texture could not be read.
    #[error("cannot load sample `{id}`")]
    Sample {
        /// The sample.
        id: String,
        /// Why; names the file.
        source: SourceError,
    },
    /// A figure of merit is not defined for the scores.
    #[error("cannot evaluate the image scores")]
    Metric(#[from] MetricError),
    /// Overlays could not be drawn.
    #[error("cannot write the overlays")]
    Overlays(#[source] SourceError),
    /// The detector gave an infinite or undefined score or feature of an image.
    #[error(
        "image `{id}` has a score or a feature that is not finite: the model is damaged, or its features are too large"
    )]
    NotFinite {
        /// The sample of the image.
        id: String,
    },
    /// Anomaly maps could not be written.
    #[error("cannot write the anomaly maps")]
    Maps(#[source] SourceError),
    /// A finished run lies in the output folder that was made otherwise.
    #[error("the finished run in {} has other settings ({})", folder.display(), differences.join("; "))]
    ConfigDiffers {
        /// Folder of the run.
        folder: PathBuf,
        /// The differences, each as `key: there, now`.
        differences: Vec<String>,
    },
    /// A finished run lies in the output folder that a program with other code for its figures did.
    #[error(
        "the finished run in {} was done by another version of the program, {there}, whose figures may differ from those \
         of this one, {now}",
        folder.display()
    )]
    ProgramDiffers {
        /// Folder of the run.
        folder: PathBuf,
        /// The program that did it.
        there: String,
        /// This program.
        now: String,
    },
    /// The data set has other test images than it had when a run was done.
    #[error("the test images are not those of the run in {}", folder.display())]
    DataDiffers {
        /// Folder of the run.
        folder: PathBuf,
    },
    /// Synthetic defects would have other textures than those of the run.
    #[error("the textures of the run in {} were {there} and would be {now}", folder.display())]
    TexturesDiffer {
        /// Folder of the run.
        folder: PathBuf,
        /// The textures of the record.
        there: String,
        /// The textures that are there now.
        now: String,
    },
    /// A saved detector does not give the scores that its run had.
    #[error(
        "the model in {} no longer gives the scores of its run, by up to {share:.2} of their range",
        folder.display()
    )]
    ScoresDiffer {
        /// Folder of the run.
        folder: PathBuf,
        /// Largest difference of an image score, as a share of the range of all.
        share: f32,
    },
    /// A file or folder could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The output folder failed.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// The configuration of a run has no JSON form.
    #[error("cannot express the configuration of a run as JSON")]
    Json(#[source] serde_json::Error),
    /// The user asked to stop.
    #[error("interrupted")]
    Cancelled,
}

impl ExperimentError {
    /// A method that could not be built as the configuration asks.
    pub(crate) fn configuration(error: MethodError) -> Self {
        Self::Configuration(Box::new(error))
    }

    /// The error of a detector that was given images; `id` names the sample of an image by its
    /// position.
    pub(crate) fn of_images(error: MethodError, id: impl Fn(usize) -> String) -> Self {
        match error {
            MethodError::UndefinedScore { index } => Self::NotFinite { id: id(index) },
            error @ (MethodError::ImageSize { .. } | MethodError::UnknownTile { .. }) => {
                Self::Sample { id: id(0), source: error.into() }
            }
            error => error.into(),
        }
    }

    /// The error of a detector that was given the image of the sample `id` alone.
    pub(crate) fn of_image(error: MethodError, id: &str) -> Self {
        match error {
            MethodError::UndefinedFeatures => Self::NotFinite { id: id.to_owned() },
            error => Self::of_images(error, |_| id.to_owned()),
        }
    }

    /// The kind of the error: it tells who can mend it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownPreset { .. }
            | Self::UnknownVariant { .. }
            | Self::Parse { .. }
            | Self::ParsePart { .. }
            | Self::RepeatedRun { .. }
            | Self::EmptyList { .. }
            | Self::EmptyItem { .. }
            | Self::Repeated { .. }
            | Self::ImageSize { .. }
            | Self::TileOverlap { .. }
            | Self::TilesKeepAspect
            | Self::RegionOfGenerated { .. }
            | Self::BackboneImageSize { .. }
            | Self::LoaderThreads
            | Self::Configuration(_) => ErrorKind::Usage,
            Self::Inspection(error) => error.kind(),
            Self::Dataset(error) => error.kind(),
            Self::Tiles(error) => error.kind(),
            Self::Model(error) => error.kind(),
            // The settings of a run were checked before it; these are of a saved detector.
            Self::Method(error) => match error.kind() {
                ErrorKind::Usage => ErrorKind::Data,
                kind => kind,
            },
            Self::Record(error) => error.kind(),
            Self::Sample { .. }
            | Self::TooFewImages { .. }
            | Self::NoMethodInTime { .. }
            | Self::NotFinite { .. }
            | Self::ConfigDiffers { .. }
            | Self::ProgramDiffers { .. }
            | Self::DataDiffers { .. }
            | Self::TexturesDiffer { .. }
            | Self::ScoresDiffer { .. } => ErrorKind::Data,
            Self::ReadConfig { .. }
            | Self::Read { .. }
            | Self::Overlays(_)
            | Self::Maps(_)
            | Self::Metric(MetricError::Spill(_)) => ErrorKind::Environment,
            Self::Metric(_) => ErrorKind::Data,
            Self::Json(_) => ErrorKind::Bug,
            Self::Cancelled => ErrorKind::Cancelled,
        }
    }

    /// True if the user stopped the run, which is no failure.
    pub fn is_cancelled(&self) -> bool {
        self.kind() == ErrorKind::Cancelled
    }
}

impl From<MethodError> for ExperimentError {
    fn from(error: MethodError) -> Self {
        match error {
            MethodError::Cancelled => Self::Cancelled,
            error => Self::Method(Box::new(error)),
        }
    }
}
