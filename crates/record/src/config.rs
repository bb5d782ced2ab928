use std::path::PathBuf;
use std::str::FromStr;

use fmam_core::{ImageSize, Placing, Reading, StagePlan, sides};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::legacy::stages_of_settings;
use crate::{MapLayout, recorded_path};

/// Everything that decides a run's result or its files, but for its key: two runs of one key and
/// one configuration are the same run.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(from = "Written")]
pub struct RunConfig {
    /// The images.
    pub data: DataConfig,
    /// The resolved settings of the method. Nobody but the method reads them.
    pub method: Value,
    /// The training stages in their order; empty for a method that does not train.
    pub stages: Vec<StagePlan>,
    /// The weights file of the backbone; `None` for weights that are part of the program.
    #[serde(with = "recorded_path")]
    pub weights: Option<PathBuf>,
    /// SHA-256 of the weights, 64 hexadecimal digits; absent for weights that are drawn at random,
    /// and in records of programs that did not keep the digest.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights_sha256: Option<String>,
    /// Number type of the networks; see [`RunConfig::precision`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub precision: Option<String>,
    /// The calibration of the detector; absent for a run without one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<CalibrationRecord>,
    /// The pixel figures.
    #[serde(skip_serializing_if = "is_default")]
    pub evaluation: EvaluationConfig,
    /// The files that the run keeps.
    pub artefacts: ArtefactConfig,
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

/// True for the default, but for the limit of memory: that is of the machine and not written.
fn is_usual(reading: &Reading) -> bool {
    is_default(&Reading { max_bytes: Reading::default().max_bytes, ..*reading })
}

/// The evaluation of a detector on a test split.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EvaluationConfig {
    /// The resolution of pixel figures.
    pub at: Resolution,
    /// False to leave all figures of pixels and regions out.
    pub pixel_metrics: bool,
}

impl Default for EvaluationConfig {
    fn default() -> Self {
        Self { at: Resolution::Network, pixel_metrics: true }
    }
}

/// The resolution at which maps and masks are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Resolution {
    /// The resolution of the network: masks are resized, as most published figures have it.
    #[default]
    Network,
    /// The resolution of each image file: maps are resized, as the evaluation code of MVTec AD has
    /// it. No defect is too small for it.
    Original,
}

impl FromStr for Resolution {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "network" => Ok(Self::Network),
            "original" => Ok(Self::Original),
            _ => Err("the resolutions are `network` and `original`".to_owned()),
        }
    }
}

/// The good images that calibrate a detector, and the rate that its threshold is for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CalibrationRecord {
    /// Such as `hold-out=20%`; see `CalibrationMode` of `fmam-experiment`.
    pub mode: String,
    /// The rate of false alarms, between 0 and 1.
    pub false_alarms: f64,
}

/// The data of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataConfig {
    /// Folder that holds the data set; `None` for generated data.
    #[serde(default, with = "recorded_path", skip_serializing_if = "Option::is_none")]
    pub root: Option<PathBuf>,
    /// Options of the data set that decide its images. Older records call them `demo`.
    #[serde(default, alias = "demo", skip_serializing_if = "Option::is_none")]
    pub options: Option<Value>,
    /// The size to which every image is resized, or that of a tile.
    #[serde(default = "no_size", with = "sides")]
    pub image_size: ImageSize,
    /// The place of an image of another size.
    #[serde(default, skip_serializing_if = "Placing::is_squeeze")]
    pub placing: Placing,
    /// The way from the values of files to 8 bits.
    #[serde(default, skip_serializing_if = "is_usual")]
    pub reading: Reading,
    /// SHA-256 of the region of interest: of the mask for all images, or of the masks of each;
    /// absent for whole images.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub roi_sha256: Option<String>,
    /// The textures of synthetic defects.
    #[serde(default)]
    pub textures: String,
    /// SHA-256 over the names and contents of the image and mask files, in 64 hexadecimal digits.
    /// Older records have none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// SHA-256 over the names, sizes and modification times of the same files. An equal fingerprint
    /// proves equal contents on one machine and costs no reading; another fingerprint proves
    /// nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fingerprint: Option<String>,
}

/// The size in a record of a program that did not keep it.
const fn no_size() -> ImageSize {
    ImageSize::square(0)
}

impl Default for DataConfig {
    fn default() -> Self {
        Self {
            root: None,
            options: None,
            image_size: no_size(),
            placing: Placing::default(),
            reading: Reading::default(),
            roi_sha256: None,
            textures: String::new(),
            sha256: None,
            fingerprint: None,
        }
    }
}

/// The files that a run keeps beside its record.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ArtefactConfig {
    /// Test images of which pictures are kept.
    #[serde(default)]
    pub n_overlays: usize,
    /// True to keep the fitted detector.
    #[serde(default)]
    pub save_model: bool,
    /// Layout in which the maps of all test images are exported; absent for none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maps: Option<MapLayout>,
}

impl RunConfig {
    /// Number type of the networks: `f32` where the record names none.
    pub fn precision(&self) -> &str {
        self.precision.as_deref().unwrap_or("f32")
    }
}

impl ArtefactConfig {
    /// True if the run keeps the small maps of all test images, from which figures are drawn later.
    /// A run without pictures has no maps either: `n_overlays = 0` asks for a run without images.
    pub fn keeps_maps(&self) -> bool {
        self.n_overlays > 0
    }
}

/// [`RunConfig`] as records of all versions have it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written {
    #[serde(default)]
    data: DataConfig,
    #[serde(default)]
    method: Value,
    stages: Option<Vec<StagePlan>>,
    #[serde(default, with = "recorded_path")]
    weights: Option<PathBuf>,
    weights_sha256: Option<String>,
    precision: Option<String>,
    calibration: Option<CalibrationRecord>,
    #[serde(default)]
    evaluation: EvaluationConfig,
    #[serde(default)]
    artefacts: ArtefactConfig,
}

impl From<Written> for RunConfig {
    fn from(written: Written) -> Self {
        let stages = written.stages.unwrap_or_else(|| stages_of_settings(&written.method));
        Self {
            data: written.data,
            method: written.method,
            stages,
            weights: written.weights,
            weights_sha256: written.weights_sha256,
            precision: written.precision,
            calibration: written.calibration,
            evaluation: written.evaluation,
            artefacts: written.artefacts,
        }
    }
}

#[cfg(test)]
mod tests {
    use fmam_core::{StageId, ValueRange};
    use serde_json::json;

    use super::*;

    /// The configuration of a record of October 2026, without stages and digests.
    const OLD: &str = r#"{
        "artefacts": {"maps": "mvtec", "n_overlays": 12, "save_model": true},
        "data": {"demo": {"n_train": 64, "seed": 0}, "image_size": 64, "textures": "generated"},
        "method": {"batch_size": 8, "epochs": 1},
        "weights": null
    }"#;

    #[test]
    fn an_old_configuration_is_read_and_keeps_its_keys() {
        let config: RunConfig = serde_json::from_str(OLD).unwrap();
        assert_eq!(config.data.options, Some(json!({"n_train": 64, "seed": 0})));
        assert_eq!(config.artefacts.maps, Some(MapLayout::Mvtec));
        assert_eq!((config.precision(), config.stages.len()), ("f32", 1));
        assert!(config.artefacts.keeps_maps() && !ArtefactConfig::default().keeps_maps());
        let written = serde_json::to_value(&config).unwrap();
        assert_eq!(written["data"]["options"]["n_train"], 64);
        assert_eq!(written["weights"], Value::Null);
        assert!(written.get("precision").is_none() && written.get("weights_sha256").is_none());
        assert_eq!(serde_json::from_value::<RunConfig>(written).unwrap(), config);
    }

    /// A configuration of images and evaluation in which nothing is the default.
    fn of_images() -> RunConfig {
        let mut config = RunConfig::default();
        config.data.image_size = ImageSize::new(160, 768);
        config.data.placing = Placing::Tiles { overlap: 64 };
        config.data.reading.values = ValueRange::Bits(12);
        config.data.reading.background = [255, 0, 16];
        config.data.roi_sha256 = Some("0123".to_owned());
        config.evaluation = EvaluationConfig { at: Resolution::Original, pixel_metrics: false };
        config
    }

    #[test]
    fn image_settings_come_back() {
        let config = of_images();
        let written = serde_json::to_value(&config).unwrap();
        let data = json!({
            "image_size": "160x768",
            "placing": {"tiles": {"overlap": 64}},
            "reading": {"values": "12-bit", "background": [255, 0, 16]},
            "roi_sha256": "0123",
            "textures": "",
        });
        assert_eq!(written["data"], data);
        assert_eq!(written["evaluation"], json!({"at": "original", "pixel_metrics": false}));
        assert_eq!(serde_json::from_value::<RunConfig>(written).unwrap(), config);
    }

    #[test]
    fn settings_that_are_usual_are_not_written() {
        let mut config = RunConfig::default();
        // A limit of the machine.
        config.data.reading.max_bytes = 1;
        let written = serde_json::to_value(&config).unwrap();
        assert_eq!(written["data"], json!({"image_size": 0, "textures": ""}));
        assert!(written.get("evaluation").is_none());
    }

    #[test]
    fn unknown_keys_and_values_of_image_settings_are_refused() {
        let read = |at: &[&str], key: &str, value: Value| {
            let mut written = serde_json::to_value(of_images()).unwrap();
            let place = at.iter().fold(&mut written, |place, name| &mut place[*name]);
            place[key] = value;
            serde_json::from_value::<RunConfig>(written)
        };
        assert!(read(&["data"], "placing", json!("keep-aspect")).is_ok());
        for (at, key, value) in [
            (&["data"][..], "colour", json!(1)),
            (&["data"], "placing", json!("stretch")),
            (&["data"], "image_size", json!("160by768")),
            (&["data", "placing", "tiles"], "colour", json!(1)),
            (&["data", "reading"], "max_bytes", json!(1)),
            (&["data", "reading"], "values", json!("11-bit")),
            (&["evaluation"], "colour", json!(1)),
            (&["evaluation"], "at", json!("half")),
        ] {
            let read = read(at, key, value);
            assert!(read.is_err(), "{at:?} {key}: {read:?}");
        }
    }

    #[test]
    fn recorded_stages_go_before_those_of_the_settings() {
        let config: RunConfig = serde_json::from_value(json!({
            "method": {"epochs": 1},
            "stages": [{"id": "student", "epochs": 7}]
        }))
        .unwrap();
        assert_eq!(config.stages, [StagePlan { id: StageId::new("student"), epochs: 7 }]);
        assert!(serde_json::from_value::<RunConfig>(json!({"colour": 1})).is_err());
    }
}
