//! Files that show anomaly maps: pictures of test images, and the maps themselves.

use std::io::Write;
use std::path::Path;

use fmam_core::{AnomalyMap, Sample, SourceError};
use fmam_datasets::image_size;
use fmam_experiment::Exhibit;
use fmam_record::RunRecord;
use fmam_record::{event_file_name, training_events, write_maps};
use fmam_report::{map_range, overlay, write_png};

/// Draws every exhibit; all share the colour range of `maps`.
pub(crate) fn draw(maps: &[AnomalyMap], exhibits: &[Exhibit]) -> Result<(), SourceError> {
    if exhibits.is_empty() {
        return Ok(());
    }
    let range = map_range(maps);
    for exhibit in exhibits {
        let picture = overlay(&exhibit.image, exhibit.mask.as_ref(), &maps[exhibit.index], range);
        write_png(&exhibit.path, &picture)?;
    }
    Ok(())
}

/// Writes the map of a sample in the size of its image file.
pub(crate) fn write_map(path: &Path, map: &AnomalyMap, sample: &Sample) -> Result<(), SourceError> {
    let is_generated = sample.image_path.as_os_str().is_empty();
    let size = if is_generated { map.size() } else { image_size(&sample.image_path)? };
    Ok(fmam_record::write_map(path, map, size)?)
}

/// Writes beside a record into `folder` the maps of all test images, and the training curve for TensorBoard.
pub(crate) fn write_beside(
    folder: &Path,
    record: &RunRecord,
    maps: &[AnomalyMap],
) -> Result<(), SourceError> {
    if let Some(name) = &record.artefacts.maps {
        write_maps(&folder.join(name), maps)?;
    }
    Ok(fmam_files::write_atomic(&folder.join(event_file_name(record)), |file| {
        file.write_all(&training_events(record))
    })?)
}
