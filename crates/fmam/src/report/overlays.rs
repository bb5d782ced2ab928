use fmam_core::SourceError;
use fmam_experiment::{Artist, Exhibit};
use fmam_report::{overlay, write_png};

/// An [`Artist`] that draws overlays, all of a run in one range of colours.
#[derive(Debug, Clone, Copy, Default)]
pub struct Overlays;

impl Artist for Overlays {
    fn draw(&self, range: (f32, f32), exhibits: &[Exhibit]) -> Result<(), SourceError> {
        for exhibit in exhibits {
            let picture = overlay(&exhibit.image, exhibit.mask.as_ref(), &exhibit.map, range);
            write_png(&exhibit.path, &picture)?;
        }
        Ok(())
    }
}
