use std::collections::BTreeMap;

use fmam_core::{CurvePoint, ImageSize, Label, Seed};
use serde::{Deserialize, Serialize};

use crate::{Analysis, Metrics, PixelCurves, RecordTextError, RunKey};

/// The version of [`RunRecord`]'s and `report.json`'s layout.
pub const RUN_RECORD_SCHEMA: u32 = 1;

/// Everything that is kept of one run (one method, category, backbone and seed). All that a report shows comes
/// out of these records; paths in them are relative to the folder that holds the record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRecord {
    /// [`RUN_RECORD_SCHEMA`] of the program that wrote it.
    pub schema: u32,
    /// Registered name of the data set, `mvtec` say.
    pub dataset: String,
    /// Category within it, `screw` say.
    pub category: String,
    /// Registered name of the method, `rkd+fmam` say.
    pub method: String,
    /// Registered name of the backbone.
    pub backbone: String,
    /// The run's seed.
    pub seed: Seed,
    /// `cpu`, or a kind and a number: `cuda:0`.
    pub device: String,
    /// Size to which every image was resized.
    pub image_size: ImageSize,
    /// Number of training images.
    pub n_train: usize,
    /// Number of normal test images.
    pub n_test_normal: usize,
    /// Number of anomalous test images.
    pub n_test_anomalous: usize,
    /// The figures, at the last epoch.
    pub metrics: Metrics,
    /// Wall-clock seconds of fitting.
    pub fit_seconds: f64,
    /// Test images scored in a second; they have been decoded before, as far as the cache holds them.
    pub score_images_per_second: f64,
    /// Largest resident memory of the process during the run, or so far where the system does not count anew, in bytes; where
    /// the system tells.
    pub peak_rss_bytes: Option<u64>,
    /// Seconds since the Unix epoch at the start of the run.
    pub started_at: u64,
    /// The resolved configuration: what the run did, defaults filled in.
    pub config: serde_json::Value,
    /// Versions of the program and of what it is built on.
    pub versions: BTreeMap<String, String>,
    /// Training loss over time.
    pub curve: Vec<CurvePoint>,
    /// Curves over all test pixels; absent where there are no pixel figures, and in records of before they were kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pixels: Option<PixelCurves>,
    /// What its features and scores are like; absent in records of before it was kept, to which `fmam analyze` adds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis: Option<Analysis>,
    /// Files that the run wrote.
    pub artefacts: Artefacts,
}

impl RunRecord {
    /// Reads a record from the JSON text of its file.
    ///
    /// # Errors
    /// [`RecordTextError::Schema`] for a record of another layout, [`RecordTextError::Json`] for a damaged one.
    pub fn from_json(text: &[u8]) -> Result<Self, RecordTextError> {
        #[derive(Deserialize)]
        struct Version {
            schema: u64,
        }
        // The version first: fields that a later version adds are not damage.
        let Version { schema } = serde_json::from_slice(text)?;
        if schema != u64::from(RUN_RECORD_SCHEMA) {
            return Err(RecordTextError::Schema { found: schema });
        }
        Ok(serde_json::from_slice(text)?)
    }

    /// Which run it is.
    pub fn key(&self) -> RunKey {
        RunKey {
            dataset: self.dataset.clone(),
            category: self.category.clone(),
            method: self.method.clone(),
            backbone: self.backbone.clone(),
            seed: self.seed,
        }
    }
}

/// Files that a run wrote, relative to the folder of its record.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Artefacts {
    /// Folder of the fitted detector.
    pub model: Option<String>,
    /// The anomaly maps of all test images, in the order of `overlays`, made smaller: pages of one TIFF file of 32-bit floats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maps: Option<String>,
    /// Image scores and paths of the overlays, one for each test image that has them.
    pub overlays: Vec<OverlayRecord>,
}

/// One test image of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OverlayRecord {
    /// [`fmam_core::Sample::id`].
    pub sample: String,
    /// Ground truth.
    pub label: Label,
    /// The data set's name of the defect type.
    pub defect_type: Option<String>,
    /// The image score.
    pub image_score: f32,
    /// The overlay picture, where one was written.
    pub path: Option<String>,
}

/// What kind of device the one called `name` is: which of several like devices it was does not matter.
pub fn device_kind(name: &str) -> &str {
    name.split_once(':').map_or(name, |(kind, _)| kind)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_layout_is_told_from_damage() {
        let read = |text: &str| RunRecord::from_json(text.as_bytes());
        assert!(matches!(read(r#"{"schema": 2, "new": true}"#), Err(RecordTextError::Schema { found: 2 })));
        for damaged in ["", r#"{"schema": 1"#, r#"{"schema": 1}"#, r#"{"schema": -1}"#] {
            assert!(matches!(read(damaged), Err(RecordTextError::Json(_))), "{damaged}");
        }
    }
}
