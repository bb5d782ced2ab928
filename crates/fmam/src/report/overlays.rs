use fmam_core::{AnomalyMap, SourceError};
use fmam_experiment::{Artist, Exhibit};
use fmam_report::{map_range, overlay, write_png};

/// An [`Artist`] that draws overlays, all of a run in one range of colours: that of its detector
/// where it was calibrated.
#[derive(Debug, Clone, Copy, Default)]
pub struct Overlays;

impl Artist for Overlays {
    fn draw(
        &self,
        maps: &[AnomalyMap],
        range: Option<(f32, f32)>,
        exhibits: &[Exhibit],
    ) -> Result<(), SourceError> {
        if exhibits.is_empty() {
            return Ok(());
        }
        let range = range.unwrap_or_else(|| map_range(maps));
        for exhibit in exhibits {
            let picture = overlay(&exhibit.image, exhibit.mask.as_ref(), &maps[exhibit.index], range);
            write_png(&exhibit.path, &picture)?;
        }
        Ok(())
    }
}
