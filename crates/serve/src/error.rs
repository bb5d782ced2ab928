use std::path::PathBuf;

use fmam::ErrorKind;

/// A server that cannot start or go on. A request that is refused is none.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServeError {
    /// A model could not be loaded.
    #[error("cannot load the model `{name}` from {}: {}", folder.display(), source.one_line())]
    Model {
        /// The name of the model.
        name: String,
        /// Its folder.
        folder: PathBuf,
        /// Why.
        #[source]
        source: Box<fmam::Error>,
    },
    /// No model was given.
    #[error("there is no model to serve")]
    NoModel,
    /// A name that does not fit into an address.
    #[error("`{name}` is no name of a model: letters, digits, `-`, `_` and `.`, 64 at most")]
    ModelName {
        /// The name.
        name: String,
    },
    /// Two models have one name.
    #[error("two models are called `{name}`; write NAME=FOLDER for one of them")]
    SameName {
        /// The name.
        name: String,
    },
    /// A limit that no request could meet.
    #[error("{what} must be {least} or more")]
    Limit {
        /// The limit.
        what: &'static str,
        /// Its least value.
        least: usize,
    },
    /// A file of tokens that are too short to be a secret, or has none.
    #[error("a token in {} must have {shortest} characters or more, one token a line", path.display())]
    ShortToken {
        /// The file.
        path: PathBuf,
        /// Characters, at least.
        shortest: usize,
    },
    /// A file or folder could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file or folder.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// A folder could not be written to.
    #[error("cannot write to {}: {source}", path.display())]
    Write {
        /// The folder.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// Another server collects judged images in the same folder.
    #[error("another server collects images in {}", folder.display())]
    InUse {
        /// The folder.
        folder: PathBuf,
    },
    /// A thread or the listening socket failed.
    #[error("cannot go on serving: {source}")]
    System {
        /// The error of the system.
        source: std::io::Error,
    },
}

impl ServeError {
    /// The kind of the error: it tells who can mend it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Model { source, .. } => source.kind(),
            Self::NoModel | Self::ModelName { .. } | Self::SameName { .. } | Self::Limit { .. } => {
                ErrorKind::Usage
            }
            Self::ShortToken { .. }
            | Self::Read { .. }
            | Self::Write { .. }
            | Self::InUse { .. }
            | Self::System { .. } => ErrorKind::Environment,
        }
    }
}
