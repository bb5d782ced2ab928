use std::path::PathBuf;

use fmam_core::{ErrorKind, ImageSize, MethodId, shown_line};
use fmam_datasets::DatasetError;
use fmam_experiment::ExperimentError;
use fmam_fetch::FetchError;
use fmam_inspection::InspectionError;
use fmam_methods::MethodError;
use fmam_metrics::MetricError;
use fmam_models::ModelError;
use fmam_onnx::OnnxError;
use fmam_record::RecordError;
use fmam_report::ReportError;
use fmam_synthesis::SynthesisError;

use crate::array_error::ArrayError;
use crate::setting::SettingError;

/// A request to the library failed. The variants carry facts; a program says what its user can do.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The program asked to stop, through [`fmam_core::Progress::cancelled`].
    #[error("interrupted")]
    Cancelled,
    /// An experiment could not be set up, run or stored.
    #[error(transparent)]
    Experiment(Box<ExperimentError>),
    /// A file could not be fetched or unpacked.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// An output folder could not be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A report could not be made.
    #[error(transparent)]
    Report(#[from] ReportError),
    /// A defect could not be synthesised.
    #[error(transparent)]
    Synthesis(SynthesisError),
    /// The settings of the synthesis have an unknown key or a wrong value.
    #[error("synthesis settings are not valid")]
    SynthesisSettings(#[source] Box<dyn std::error::Error + Send + Sync>),

    /// A name stands for no device.
    #[error("`{name}` is not a device; use auto, cpu, cuda or cuda:INDEX")]
    UnknownDevice {
        /// The name.
        name: String,
    },
    /// CUDA was asked for and this build has none.
    #[error("this build of fmam has no CUDA")]
    NoCuda,
    /// The CUDA device does not open.
    #[error("cannot open CUDA device {index}")]
    CudaDevice {
        /// The index of the device.
        index: usize,
        /// Why.
        source: candle_core::Error,
    },
    /// The threads that compute could not be started.
    #[error("cannot start the threads")]
    Threads(#[source] rayon::ThreadPoolBuildError),
    /// A tensor operation failed.
    #[error("tensor operation failed")]
    Tensor(#[from] candle_core::Error),

    /// An image could not be read, decoded or scored.
    #[error("image `{name}`")]
    Image {
        /// Position among the images given, from 0.
        index: usize,
        /// The path of the image, or its name.
        name: String,
        /// Why.
        source: Box<Error>,
    },
    /// An image that is to calibrate a detector says nothing about new parts.
    #[error("image `{name}` {how}")]
    AlreadyLearnt {
        /// The path of the image, or its name.
        name: String,
        /// The detector learnt from it or was calibrated on it, or it is given twice.
        how: &'static str,
    },
    /// A folder or pattern has no image.
    #[error("there is no image in {}", path.display())]
    NoImages {
        /// The folder or pattern.
        path: PathBuf,
    },
    /// A path is a pipe, a socket or a device: it is not opened.
    #[error("{} is no regular file", path.display())]
    NotRegular {
        /// The path.
        path: PathBuf,
    },
    /// A pattern of paths is not valid.
    #[error("`{pattern}` is not a valid pattern of paths")]
    Pattern {
        /// The pattern.
        pattern: String,
        /// Why.
        source: glob::PatternError,
    },
    /// A verdict cannot be given as asked.
    #[error(transparent)]
    Inspection(#[from] InspectionError),
    /// A detector could not become an ONNX file.
    #[error(transparent)]
    Onnx(#[from] OnnxError),
    /// The detector has no scores of held-out good images, which the request needs.
    #[error("the detector was not calibrated with good images")]
    Uncalibrated,
    /// The data set has several categories and none was chosen.
    #[error("there are several categories, choose one; known are {}", known.join(", "))]
    CategoryNeeded {
        /// The categories of the data set.
        known: Vec<String>,
    },
    /// A text is no setting.
    #[error("{0}")]
    Setting(#[from] SettingError),
    /// A setting names no method.
    #[error("the setting `{key}` names no method")]
    SettingWithoutMethod {
        /// The key of the setting.
        key: String,
    },
    /// A weights file does not say which of several backbones it belongs to.
    #[error("the weights {} are of one of several backbones: say of which", file.display())]
    WeightsOfWhich {
        /// The file.
        file: PathBuf,
    },
    /// A data root was given without the data set that it holds.
    #[error("a data root needs the name of the data set that it holds")]
    RootWithoutDataset,
    /// No part of the configuration is on the data set asked for.
    #[error("{name} has no data set `{dataset}`; it has {}", known.join(", "))]
    NoSuchPart {
        /// The configuration.
        name: String,
        /// The data set asked for.
        dataset: String,
        /// The data sets of the configuration.
        known: Vec<String>,
    },
    /// Categories were given for a configuration with several data sets.
    #[error("categories need a data set, because {name} has several")]
    CategoriesOfWhich {
        /// The configuration.
        name: String,
    },
    /// No part of the configuration has a method asked for.
    #[error("no part of {name} has the method `{method}`")]
    MethodOfNoPart {
        /// The configuration.
        name: String,
        /// The method.
        method: MethodId,
    },

    /// A run of a grid of one failed.
    #[error("run {key}")]
    Run {
        /// The run.
        key: String,
        /// Why.
        source: Box<ExperimentError>,
    },
    /// A folder has no finished run.
    #[error("there is no finished run under {}", folder.display())]
    NoRuns {
        /// The folder of the runs.
        folder: PathBuf,
    },
    /// Some runs of a study failed.
    #[error("{n_failed} of {n_runs} runs failed")]
    RunsFailed {
        /// The number of runs that failed.
        n_failed: usize,
        /// The number of runs.
        n_runs: usize,
    },
    /// The report of a grid could not be brought up to date.
    #[error("cannot bring the report up to date")]
    ReportUpdate(#[source] Box<Error>),
    /// No run has the test image asked for, with its map.
    #[error("no run has a test image `{id}` with its map")]
    UnknownTestImage {
        /// The image asked for.
        id: String,
    },
    /// The data set has other test images than the run had.
    #[error("the test images are not those of run {run}")]
    OtherTestImages {
        /// The run.
        run: String,
    },
    /// A file of maps has not one for each test image.
    #[error("{} has {maps} maps of {images} test images", path.display())]
    MapCount {
        /// The file.
        path: PathBuf,
        /// Maps in the file.
        maps: usize,
        /// Test images.
        images: usize,
    },

    /// Images that are compared pixel by pixel have several sizes.
    #[error(
        "{} is {first_size} (height x width) and {} is {second_size}; a region is proposed for images of one size",
        first.display(), second.display()
    )]
    SizesDiffer {
        /// One image.
        first: PathBuf,
        /// Its size.
        first_size: ImageSize,
        /// The other image.
        second: PathBuf,
        /// Its size.
        second_size: ImageSize,
    },

    /// A file or folder could not be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file or folder could not be written.
    #[error("cannot write {}", path.display())]
    Write {
        /// The path.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A file could not be copied.
    #[error("cannot copy {} to {}", from.display(), to.display())]
    Copy {
        /// The file.
        from: PathBuf,
        /// Its copy.
        to: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A folder that must be new or empty is not.
    #[error("{} exists already and is no empty folder", path.display())]
    NotEmpty {
        /// The folder.
        path: PathBuf,
    },
    /// A folder that must be new or empty holds the predictions of an earlier call.
    #[error("{} holds predictions already", path.display())]
    Resumable {
        /// The folder.
        path: PathBuf,
    },
    /// A line of earlier predictions is not what it should be.
    #[error("line {number} of {} is damaged", path.display())]
    DamagedLine {
        /// The file.
        path: PathBuf,
        /// The number of the line, from 1.
        number: usize,
        /// Why.
        source: serde_json::Error,
    },
    /// The verdicts in a folder are of another detector, by another threshold or with other
    /// pictures.
    #[error("{} has verdicts of another model, by another threshold or with other pictures", path.display())]
    OtherVerdicts {
        /// The folder.
        path: PathBuf,
    },
    /// The picture of an image would replace that of another one.
    #[error("{}: another image of this call has the picture {}", image.display(), file.display())]
    PictureTaken {
        /// The image.
        image: PathBuf,
        /// The picture, within the output folder.
        file: PathBuf,
    },
    /// An output folder was removed or replaced by another while it was written to.
    #[error("{} was removed or replaced while results were written to it; they are no longer kept", path.display())]
    Vanished {
        /// The folder.
        path: PathBuf,
    },
    /// Something lies where a new file or folder is to be.
    #[error("{} exists already", path.display())]
    AlreadyExists {
        /// The path.
        path: PathBuf,
    },
    /// Figures have no JSON form.
    #[error("cannot express the figures as JSON")]
    Json(#[from] serde_json::Error),
    /// A configuration or settings have no TOML form.
    #[error("cannot express the settings as TOML")]
    Toml(#[from] toml::ser::Error),

    /// A file of an array is not what it should be.
    #[error("cannot read {}", path.display())]
    Array {
        /// The file.
        path: PathBuf,
        /// Why.
        source: ArrayError,
    },
    /// An array has another number of dimensions than it should.
    #[error("{} has shape {shape:?}; {expected}", path.display())]
    Shape {
        /// The file.
        path: PathBuf,
        /// Its shape.
        shape: Vec<usize>,
        /// The shape wanted, in words.
        expected: &'static str,
    },
    /// Scores and labels differ in shape.
    #[error("{} has shape {scores_shape:?} but {} has {labels_shape:?}", scores.display(), labels.display())]
    ShapesDiffer {
        /// The file of the scores.
        scores: PathBuf,
        /// Their shape.
        scores_shape: Vec<usize>,
        /// The file of the labels.
        labels: PathBuf,
        /// Their shape.
        labels_shape: Vec<usize>,
    },
    /// A metric is not defined for the scores of a file.
    #[error("cannot evaluate {}", path.display())]
    Evaluate {
        /// The file.
        path: PathBuf,
        /// Why.
        source: MetricError,
    },

    /// A metric is not defined for scores that were generated to time it.
    #[error("cannot evaluate generated scores")]
    EvaluateGenerated(#[source] MetricError),

    /// Sorted scores beyond the memory budget cannot be written or read back.
    #[error("cannot keep the scores that exceed the memory in {}; choose another folder", folder.display())]
    Spill {
        /// The folder of the temporary files.
        folder: PathBuf,
        /// Why.
        source: std::io::Error,
    },

    /// A manifest of published files is no TOML of its form.
    #[error("the manifest is damaged")]
    Manifest(#[source] Box<toml::de::Error>),
    /// Nothing is published under this name.
    #[error("there are no published {what} `{name}`; known are {}", known.join(", "))]
    NotPublished {
        /// `weights` or `data sets`.
        what: &'static str,
        /// The name asked for.
        name: String,
        /// The published names.
        known: Vec<String>,
    },
    /// A file that lies where a fetched one belongs is another one.
    #[error("{} has SHA-256 {digest}, expected {expected}; delete it", path.display())]
    OtherFile {
        /// The file.
        path: PathBuf,
        /// Its digest.
        digest: String,
        /// The digest of the published file.
        expected: String,
    },
    /// A file that was given in place of a published one is another one.
    #[error("{} has SHA-256 {digest}, expected {expected}: it is not {title}", path.display())]
    NotThePublished {
        /// The file.
        path: PathBuf,
        /// Its digest.
        digest: String,
        /// The digest of the published file.
        expected: String,
        /// The title of the published file.
        title: String,
    },
    /// A file is not there, and fetching was forbidden.
    #[error("{} was not fetched before", path.display())]
    NotFetched {
        /// The file.
        path: PathBuf,
    },
    /// A fetched file of weights does not fit its backbone.
    #[error("the file of {title} is not what it should be; it was removed")]
    UnfitWeights {
        /// The title of the published file.
        title: String,
        /// Why.
        source: Box<ModelError>,
    },
    /// A program may not fetch the data set.
    #[error("no program may fetch {name}: get its archive from {page} ({licence})")]
    NotFetchable {
        /// The data set.
        name: String,
        /// Its page.
        page: String,
        /// Its licence.
        licence: String,
    },
}

impl Error {
    /// The kind of the error: it tells who can mend it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Experiment(error) | Self::Run { source: error, .. } => error.kind(),
            Self::Image { source, .. } | Self::ReportUpdate(source) => source.kind(),
            // Addresses and digests come from a table or a manifest, not from the caller.
            Self::Fetch(error) => match error.kind() {
                ErrorKind::Usage => ErrorKind::Data,
                kind => kind,
            },
            Self::Record(error) => error.kind(),
            Self::Report(error) => error.kind(),
            Self::Synthesis(error) => error.kind(),
            Self::Inspection(error) => error.kind(),
            Self::SynthesisSettings(_)
            | Self::Pattern { .. }
            | Self::Uncalibrated
            | Self::Onnx(OnnxError::TooLarge { .. })
            | Self::UnknownDevice { .. }
            | Self::CategoryNeeded { .. }
            | Self::Setting(_)
            | Self::SettingWithoutMethod { .. }
            | Self::WeightsOfWhich { .. }
            | Self::RootWithoutDataset
            | Self::NoSuchPart { .. }
            | Self::CategoriesOfWhich { .. }
            | Self::MethodOfNoPart { .. }
            | Self::UnknownTestImage { .. }
            | Self::NotPublished { .. } => ErrorKind::Usage,
            Self::AlreadyLearnt { .. }
            | Self::NoImages { .. }
            | Self::SizesDiffer { .. }
            | Self::NotRegular { .. }
            | Self::DamagedLine { .. }
            | Self::OtherVerdicts { .. }
            | Self::PictureTaken { .. }
            | Self::NoRuns { .. }
            | Self::RunsFailed { .. }
            | Self::OtherTestImages { .. }
            | Self::MapCount { .. }
            | Self::Array { .. }
            | Self::Shape { .. }
            | Self::ShapesDiffer { .. }
            | Self::Evaluate { .. }
            | Self::Manifest(_)
            | Self::OtherFile { .. }
            | Self::NotThePublished { .. }
            | Self::UnfitWeights { .. } => ErrorKind::Data,
            Self::Json(_) | Self::Toml(_) | Self::Tensor(_) | Self::EvaluateGenerated(_) | Self::Onnx(_) => {
                ErrorKind::Bug
            }
            Self::NoCuda
            | Self::CudaDevice { .. }
            | Self::Threads(_)
            | Self::Read { .. }
            | Self::Write { .. }
            | Self::Spill { .. }
            | Self::Copy { .. }
            | Self::NotEmpty { .. }
            | Self::Resumable { .. }
            | Self::Vanished { .. }
            | Self::AlreadyExists { .. }
            | Self::NotFetched { .. }
            | Self::NotFetchable { .. } => ErrorKind::Environment,
        }
    }

    /// The error and its causes, each said once, on one line.
    pub fn one_line(&self) -> String {
        one_line(self)
    }

    /// The error of another crate that this one holds without words of its own.
    pub fn held(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(match self {
            Self::Experiment(error) => error.as_ref(),
            Self::Fetch(error) => error,
            Self::Inspection(error) => error,
            Self::Onnx(error) => error,
            Self::Record(error) => error,
            Self::Report(error) => error,
            Self::Synthesis(error) => error,
            _ => return None,
        })
    }
}

/// `error` and its causes, each said once, on one line of 2,000 characters at most. Nothing in it
/// acts on a terminal, and long values are cut, as [`fmam_core::shown_line`] does.
pub fn one_line(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    for cause in std::iter::successors(Some(error), |error| error.source()) {
        // TOML errors draw the place over several lines; their message alone says what is wrong.
        let boxed = || cause.downcast_ref::<Box<toml::de::Error>>().map(AsRef::as_ref);
        let message = match cause.downcast_ref::<toml::de::Error>().or_else(boxed) {
            Some(toml) => toml.message().to_owned(),
            None => cause.to_string(),
        };
        let message = message.split_whitespace().collect::<Vec<_>>().join(" ");
        if text.is_empty() {
            text = message;
        } else if !text.contains(&message) {
            text = format!("{text}: {message}");
        }
    }
    shown_line(&text)
}

impl From<ExperimentError> for Error {
    fn from(error: ExperimentError) -> Self {
        if error.is_cancelled() { Self::Cancelled } else { Self::Experiment(Box::new(error)) }
    }
}

impl From<MethodError> for Error {
    fn from(error: MethodError) -> Self {
        ExperimentError::from(error).into()
    }
}

impl From<DatasetError> for Error {
    fn from(error: DatasetError) -> Self {
        ExperimentError::from(error).into()
    }
}

impl From<ModelError> for Error {
    fn from(error: ModelError) -> Self {
        ExperimentError::from(error).into()
    }
}

impl From<SynthesisError> for Error {
    fn from(error: SynthesisError) -> Self {
        Self::Synthesis(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stop_and_a_wrong_request_are_told_from_failures() {
        assert!(matches!(Error::from(MethodError::Cancelled), Error::Cancelled));
        assert_eq!(Error::from(ExperimentError::Cancelled).kind(), ErrorKind::Cancelled);
        let fetch = FetchError::Cancelled { url: "http://a".to_owned() };
        assert_eq!(Error::from(fetch).kind(), ErrorKind::Cancelled);
        let manifest = FetchError::BadUrl { url: "ftp://a".to_owned() };
        assert_eq!(Error::from(manifest).kind(), ErrorKind::Data);
        let unknown = DatasetError::UnknownDataset { name: "x".to_owned(), known: Vec::new() };
        assert_eq!(Error::from(unknown).kind(), ErrorKind::Usage);
        let inner = Box::new(Error::from(MethodError::NoTrainingImages));
        let error = Error::Image { index: 3, name: "a.png".to_owned(), source: inner };
        assert_eq!(error.kind(), ErrorKind::Data);
        assert_eq!(error.one_line(), "image `a.png`: there is no training image");
    }

    #[test]
    fn causes_are_joined_on_one_line_and_said_once() {
        let source = std::io::Error::other("no\n  space");
        let error = Error::Write { path: "x".into(), source };
        assert_eq!(error.one_line(), "cannot write x: no space");
        let again = Error::Image { index: 0, name: "x".to_owned(), source: Box::new(error) };
        assert_eq!(again.one_line(), "image `x`: cannot write x: no space");
        let toml = toml::from_str::<toml::Table>("a = 1\nb = ").unwrap_err();
        let message = toml.message().replace('\n', " ");
        let parse = ExperimentError::Parse { path: "x.toml".into(), line: 2, source: Box::new(toml) };
        assert_eq!(Error::from(parse).one_line(), format!("configuration x.toml, line 2: {message}"));
    }
}
