use std::path::Path;

use fmam_core::{AnomalyMap, Sample, SampleSource};
use fmam_record::{MapLayout, export_maps};

use crate::ExperimentError;

/// Writes the maps of the whole test split of `category` under `dir`, each in the size of its image
/// file.
///
/// # Errors
/// [`ExperimentError::Maps`], which names the file.
pub fn write_maps(
    layout: MapLayout,
    dir: &Path,
    category: &str,
    test: &dyn SampleSource,
    maps: &[AnomalyMap],
) -> Result<(), ExperimentError> {
    let original_size = |sample: &Sample| {
        let is_generated = sample.image_path.as_os_str().is_empty();
        Ok(if is_generated { None } else { Some(fmam_datasets::image_size(&sample.image_path)?) })
    };
    export_maps(layout, dir, category, test, maps, original_size).map_err(ExperimentError::Maps)
}
