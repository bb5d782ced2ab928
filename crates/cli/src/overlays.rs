//! Pictures of test images with their anomaly maps.

use fmam_core::{AnomalyMap, SourceError};
use fmam_experiment::Exhibit;
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
