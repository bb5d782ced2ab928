use std::path::PathBuf;

use fmam_core::{AnomalyMap, SampleSource};
use fmam_record::{MapExport, RecordError, map_at_original};

use crate::ExperimentError;

/// Writes the map of test image `index` at the size of its image file; gives the file, which is not
/// synced.
///
/// # Errors
/// [`ExperimentError::Sample`] for a file that cannot be read, [`ExperimentError::Maps`] for one
/// that cannot be written; both name it.
pub fn export_map(
    export: &mut MapExport,
    test: &dyn SampleSource,
    index: usize,
    map: &AnomalyMap,
) -> Result<PathBuf, ExperimentError> {
    let sample = test.sample(index);
    let original = test.original(index);
    let original = original.map_err(|source| ExperimentError::Sample { id: sample.id.clone(), source })?;
    let written = match original {
        None => export.write(sample, map, map.size()),
        Some(original) => {
            map_at_original(map, &original.frame).and_then(|map| export.write(sample, &map, map.size()))
        }
    };
    written.map_err(|error: RecordError| ExperimentError::Maps(error.into()))
}
