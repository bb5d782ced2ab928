use std::path::PathBuf;

use fmam_core::{ErrorKind, ImageSize, SourceError, StageId};

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
    /// A backbone gave infinite or undefined features.
    #[error("the features of an image are not finite: the backbone's weights are damaged")]
    UndefinedFeatures,
    /// A verdict is infinite or undefined.
    #[error(
        "image {index} of the batch has a score that is not finite: the model is damaged, or its features are too large"
    )]
    UndefinedScore {
        /// Position of the image in the batch, from 0.
        index: usize,
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
    /// A prediction could not be assembled.
    #[error(transparent)]
    Core(#[from] fmam_core::CoreError),
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
    /// Who can mend it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::UnknownMethod { .. }
            | Self::Config { .. }
            | Self::ConfigValue { .. }
            | Self::ImageSize { .. } => ErrorKind::Usage,
            Self::NoTrainingImages
            | Self::Sample { .. }
            | Self::Diverged { .. }
            | Self::UndefinedFeatures
            | Self::UndefinedScore { .. }
            | Self::Read { .. } => ErrorKind::Data,
            Self::OutOfMemory { .. } | Self::Write { .. } => ErrorKind::Environment,
            Self::Settings { .. } | Self::Core(_) | Self::Tensor(_) => ErrorKind::Bug,
            Self::Cancelled => ErrorKind::Cancelled,
            Self::Model(error) => error.kind(),
            Self::Synthesis(error) => error.kind(),
        }
    }
}
