use std::path::PathBuf;

use fmam_core::ErrorKind;
use fmam_record::RecordError;

/// A report could not be read together or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReportError {
    /// The output folder could not be read or written.
    #[error(transparent)]
    Record(#[from] RecordError),
    /// A folder or file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The folder or file.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// The values of a report have no JSON form.
    #[error("cannot express the report as JSON: {source}")]
    Json {
        /// Why.
        source: serde_json::Error,
    },
    /// A plot could not be drawn.
    #[error("cannot draw a plot: {reason}")]
    Plot {
        /// Why.
        reason: String,
    },
    /// A picture in memory could not be encoded as PNG.
    #[error("cannot encode a picture as PNG: {source}")]
    Png {
        /// Why.
        source: image::ImageError,
    },
    /// A picture could not be encoded as PNG.
    #[error("cannot encode the picture {}: {source}", path.display())]
    Encode {
        /// The file that it was meant for.
        path: PathBuf,
        /// Why.
        source: image::ImageError,
    },
}

impl ReportError {
    /// The kind of the error: it tells who can mend it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Record(error) => error.kind(),
            Self::Write { .. } => ErrorKind::Environment,
            Self::Json { .. } | Self::Plot { .. } | Self::Png { .. } | Self::Encode { .. } => ErrorKind::Bug,
        }
    }
}

/// Writes a picture or a page whole or not at all, without waiting for the disk.
pub(crate) fn write_whole(path: &std::path::Path, content: &[u8]) -> Result<(), ReportError> {
    fmam_files::write_unsynced(path, |file| std::io::Write::write_all(file, content))
        .map_err(|source| ReportError::Write { path: path.to_owned(), source })
}

/// Makes `files` survive a crash.
pub(crate) fn sync(files: &[std::path::PathBuf]) -> Result<(), ReportError> {
    let named = |source| {
        let path = files.first().cloned().unwrap_or_default();
        ReportError::Write { path, source }
    };
    fmam_files::sync_files(files).map_err(named)
}
