use std::path::PathBuf;

use fmam_core::{ErrorKind, ImageSize};

/// A [`crate::RunRecord`] could not be read from its text.
#[derive(Debug, thiserror::Error)]
pub enum RecordTextError {
    /// The text is damaged: it is no JSON, or not that of a record.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    /// A program with another layout wrote it.
    #[error("the run record has schema {found}, this program has {}", crate::RUN_RECORD_SCHEMA)]
    Schema {
        /// The schema of the record.
        found: u64,
    },
    /// The record names a file that does not lie in its folder.
    #[error("the run record names `{path}`, which does not lie in its folder")]
    Outside {
        /// The path, as the record has it.
        path: String,
    },
}

/// An output folder could not be read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecordError {
    /// A folder or file could not be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The folder or file.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// A folder or file could not be written.
    #[error("cannot write {}: {source}", path.display())]
    Write {
        /// The folder or file.
        path: PathBuf,
        /// The error of the system.
        source: std::io::Error,
    },
    /// A run record is not the JSON that it should be.
    #[error("the run record {} is damaged: {source}", path.display())]
    Damaged {
        /// The record.
        path: PathBuf,
        /// The position and the reason.
        source: serde_json::Error,
    },
    /// A run record was written by a program with another layout.
    #[error("the run record {} has schema {found}, this program reads schema {expected}", path.display())]
    Schema {
        /// The record.
        path: PathBuf,
        /// Its schema.
        found: u64,
        /// Ours.
        expected: u32,
    },
    /// A run record lies in the folder of another run, so its pictures would not be found.
    #[error(
        "the run record {} belongs to another run; move its folder to {}",
        path.display(), expected.display()
    )]
    Misplaced {
        /// The record.
        path: PathBuf,
        /// The folder in which it should lie.
        expected: PathBuf,
    },
    /// A run record names a file that does not lie in the record's folder.
    #[error("the run record {} names `{path}`, which does not lie in its folder: do not trust the record", record.display())]
    Outside {
        /// The record.
        record: PathBuf,
        /// The path, as the record has it.
        path: String,
    },
    /// Another process writes to the output folder.
    #[error("another process is at work in {}", folder.display())]
    InUse {
        /// The output folder.
        folder: PathBuf,
    },
    /// Output folders that are to be joined have the same run, or runs that differ in their seed,
    /// otherwise made.
    #[error(
        "{} and {} were not made alike and do not go into one report; leave one out, or do it again with the settings of the \
         other:\n{}",
        there.display(), here.display(), differences.join("\n")
    )]
    Conflict {
        /// The run's folder where it was before.
        there: PathBuf,
        /// Its folder in what was to be added.
        here: PathBuf,
        /// The differences, each as `key: there, here`.
        differences: Vec<String>,
    },
    /// The list of a grid's runs is not the JSON that it should be.
    #[error("the list of runs {} is damaged: {source}", path.display())]
    DamagedGrid {
        /// The list.
        path: PathBuf,
        /// The position and the reason.
        source: serde_json::Error,
    },
    /// A map has no pixels, or too many for its file format.
    #[error("cannot write an anomaly map of {size} pixels to {}", path.display())]
    MapFile {
        /// The file that it was meant for.
        path: PathBuf,
        /// The size.
        size: ImageSize,
    },
    /// A map or the size that it was to be brought to has no pixels, or too many.
    #[error("cannot bring an anomaly map of {from} pixels to {to}")]
    Resize {
        /// The size of the map.
        from: ImageSize,
        /// The size that was asked for.
        to: ImageSize,
    },
    /// A file of anomaly maps is not what it should be.
    #[error("the anomaly maps {} are damaged: {reason}", path.display())]
    DamagedMaps {
        /// The file.
        path: PathBuf,
        /// The fault, in words.
        reason: String,
    },
    /// A value has no JSON form.
    #[error("cannot express the record as JSON: {source}")]
    Json {
        /// Why.
        source: serde_json::Error,
    },
}

impl RecordError {
    /// Who can mend it.
    pub fn kind(&self) -> ErrorKind {
        match self {
            Self::Read { .. } | Self::Write { .. } | Self::InUse { .. } => ErrorKind::Environment,
            Self::Json { .. } | Self::MapFile { .. } | Self::Resize { .. } => ErrorKind::Bug,
            _ => ErrorKind::Data,
        }
    }
}
