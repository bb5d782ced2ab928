//! Options of commands that score with a saved model: the region of interest and the memory of an
//! image.

use std::path::{Path, PathBuf};

use anyhow::{Result, bail};
use fmam::{Detector, InputConfig, RegionOfInterest};

#[derive(clap::Args)]
pub(crate) struct RegionArgs {
    /// Look only where this mask image is white, instead of where the model looks; a folder holds a
    /// mask of the same stem for each image
    #[arg(long, value_name = "MASK")]
    roi: Option<PathBuf>,
    /// Memory that a decoded image may take, in MiB [default: 512]
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=1 << 20))]
    max_image_mib: Option<u64>,
}

impl RegionArgs {
    /// [`RegionArgs::on`] for a detector whose own region must stay: only the folder of a region
    /// for each image may be another.
    ///
    /// # Errors
    /// As [`RegionArgs::on`], and a text where the region of the model would change.
    pub(crate) fn on_same(&self, detector: Detector) -> Result<Detector> {
        let is_of_each = matches!(detector.card().region, RegionOfInterest::Each(_));
        if self.roi.is_some() && !is_of_each {
            bail!("scores count within the region that the model was fitted with: leave --roi out");
        }
        self.on(detector)
    }

    /// The region that was given: its file, or the folder of a region for each image.
    pub(crate) fn path(&self) -> Option<&Path> {
        self.roi.as_deref()
    }

    /// The detector with what was asked for.
    ///
    /// # Errors
    /// [`fmam::Error::Experiment`] for a region that cannot be read, and a text for a model that
    /// needs a region for each image and was given none.
    pub(crate) fn on(&self, detector: Detector) -> Result<Detector> {
        let card = detector.card();
        let default = card.reading.max_bytes;
        let max_image_bytes = self.max_image_mib.map_or(default, |mib| mib << 20);
        let region = match (&self.roi, &card.region) {
            (Some(roi), _) => {
                let input = InputConfig { roi: Some(roi.clone()), max_image_bytes, ..InputConfig::default() };
                fmam::preparation(&input, detector.image_size())?.region
            }
            (None, RegionOfInterest::Each(folder)) => bail!(
                "the model was fitted with a region of interest for each image, from {}: give those of the new \
                 images with --roi FOLDER",
                folder.display()
            ),
            (None, region) => region.clone(),
        };
        Ok(detector.with_input(region, max_image_bytes))
    }
}
