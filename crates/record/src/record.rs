use std::collections::BTreeMap;

use std::path::{Component, Path};

use fmam_core::{CurvePoint, ImageSize, Label, MethodId, Seed};
use serde::de::Error;
use serde::{Deserialize, Serialize};

use crate::{Analysis, Decision, Findings, Metrics, PixelCurves, RecordTextError, RunConfig, RunKey, bounds};

/// The key of the digest of the computing sources in [`RunRecord::versions`].
pub const SOURCES_KEY: &str = "sources";

/// The version of [`RunRecord`]'s and `report.json`'s layout.
pub const RUN_RECORD_SCHEMA: u32 = 1;

/// Everything that is kept of one run (one method, category, backbone and seed). All that a report
/// shows comes out of these records; paths in them are relative to the folder that holds the
/// record.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RunRecord {
    /// [`RUN_RECORD_SCHEMA`] of the program that wrote it.
    pub schema: u32,
    /// Registered name of the data set, `mvtec` say.
    pub dataset: String,
    /// Category within it, `screw` say.
    pub category: String,
    /// The method and the variant of its settings, `rkd+fmam@no-margin` say.
    pub method: MethodId,
    /// Registered name of the backbone.
    pub backbone: String,
    /// The run's seed.
    pub seed: Seed,
    /// `cpu`, or a kind and a number: `cuda:0`.
    pub device: String,
    /// Size to which every image was resized, or that of a tile.
    pub image_size: ImageSize,
    /// Number of training images.
    pub n_train: usize,
    /// Number of normal test images.
    pub n_test_normal: usize,
    /// Number of anomalous test images.
    pub n_test_anomalous: usize,
    /// The figures, at the last epoch.
    pub metrics: Metrics,
    /// The threshold of the detector's calibration and the intervals of the metrics at it; absent
    /// where the detector was not calibrated, and in records of before thresholds were kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// Wall-clock seconds of fitting.
    pub fit_seconds: f64,
    /// Test images scored in a second; they have been decoded before, as far as the cache holds
    /// them.
    pub score_images_per_second: f64,
    /// Largest resident memory of the process during the run, or so far where the system does not
    /// count anew, in bytes; where the system tells.
    pub peak_rss_bytes: Option<u64>,
    /// Seconds since the Unix epoch at the start of the run.
    pub started_at: u64,
    /// The resolved configuration: what the run did, defaults filled in.
    pub config: RunConfig,
    /// Versions of the program and of what it is built on.
    pub versions: BTreeMap<String, String>,
    /// Training loss over time.
    pub curve: Vec<CurvePoint>,
    /// Curves over all test pixels; absent where there are no pixel figures, and in records of
    /// before they were kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pixels: Option<PixelCurves>,
    /// The analysis of features and scores; absent in older records;
    /// `fmam analyze` adds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub analysis: Option<Analysis>,
    /// Peculiarities of the images; absent where there is none, and in older records.
    #[serde(default, skip_serializing_if = "Findings::is_empty")]
    pub findings: Findings,
    /// Files that the run wrote.
    pub artefacts: Artefacts,
}

impl RunRecord {
    /// Reads a record from the JSON text of its file.
    ///
    /// # Errors
    /// [`RecordTextError::Schema`] for a record of another layout, [`RecordTextError::Json`] for a
    /// damaged one, also where a number is none that a run has, [`RecordTextError::Outside`] for
    /// one that names a file outside of its folder.
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
        let record: Self = serde_json::from_slice(text)?;
        // Records are passed on, and a report draws the files that they name.
        if let Some(path) = record.artefacts.paths().find(|path| !is_inside(path)) {
            return Err(RecordTextError::Outside { path: path.to_owned() });
        }
        let metrics = bounds::metric_outside(&record.metrics);
        let curves = || record.pixels.as_ref().and_then(bounds::curve_outside);
        match metrics.or_else(curves).or_else(|| record.time_outside()) {
            None => Ok(record),
            Some(fault) => Err(serde_json::Error::custom(fault).into()),
        }
    }

    /// The first time that no clock gives, in words.
    fn time_outside(&self) -> Option<String> {
        let times =
            [("fit_seconds", self.fit_seconds), ("score_images_per_second", self.score_images_per_second)];
        let (key, value) = times.into_iter().find(|(_, value)| !(0.0..1e15).contains(value))?;
        Some(format!("`{key}` is {value:e}, which no clock gives"))
    }

    /// The identity of the run.
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
    /// The anomaly maps of all test images, in the order of `images`, made smaller: pages of one
    /// TIFF file of 32-bit floats.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maps: Option<String>,
    /// The test images in the order of their source. Older records call them `overlays`.
    #[serde(alias = "overlays")]
    pub images: Vec<ImageRecord>,
}

impl Artefacts {
    fn paths(&self) -> impl Iterator<Item = &str> {
        let images = self.images.iter().filter_map(|image| image.path.as_ref());
        self.model.iter().chain(&self.maps).chain(images).map(String::as_str)
    }
}

/// True for a relative path that stays below its base folder.
fn is_inside(path: &str) -> bool {
    // A backslash separates on the system of a reader, perhaps, and on none of a writer.
    let mut parts = Path::new(path).components();
    !path.is_empty() && !path.contains('\\') && parts.all(|part| matches!(part, Component::Normal(_)))
}

/// One test image of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ImageRecord {
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

/// The kind of the device `name`, without the number that tells like devices apart.
pub fn device_kind(name: &str) -> &str {
    name.split_once(':').map_or(name, |(kind, _)| kind)
}

#[cfg(test)]
mod tests {
    use fmam_core::Placing;
    use fmam_inspection::{Basis, Procedure, Threshold};

    use super::*;
    use crate::Resolution;
    use crate::fixture::record;

    /// A record of commit 10fcd4b, before stages, digests and the name `images`; shortened.
    const OLD: &str = include_str!("../../../tests/reference/record/10fcd4b.json");

    #[test]
    fn another_layout_is_told_from_damage() {
        let read = |text: &str| RunRecord::from_json(text.as_bytes());
        assert!(matches!(read(r#"{"schema": 2, "new": true}"#), Err(RecordTextError::Schema { found: 2 })));
        for damaged in ["", r#"{"schema": 1"#, r#"{"schema": 1}"#, r#"{"schema": -1}"#] {
            assert!(matches!(read(damaged), Err(RecordTextError::Json(_))), "{damaged}");
        }
    }

    #[test]
    fn an_old_record_is_read() {
        let old = RunRecord::from_json(OLD.as_bytes()).unwrap();
        assert_eq!((old.method.base(), old.method.variant()), ("rkd+fmam", None));
        let stages: Vec<_> =
            old.config.stages.iter().map(|stage| (stage.id.as_str(), stage.epochs)).collect();
        assert_eq!(stages, [("", 1), ("mapping", 1)]);
        assert_eq!(old.artefacts.images[0].path.as_deref(), Some("overlays/0000-normal-000.png"));
        assert_eq!(old.decision, None);
        assert_eq!((old.findings.clone(), old.config.evaluation), Default::default());
        assert!(old.config.data.placing.is_squeeze() && old.config.data.roi_sha256.is_none());
        assert_eq!(old.config.data.image_size, old.image_size);
        assert_eq!((&old.config.data.sha256, &old.config.weights_sha256), (&None, &None));
        // Reading a decimal number may cost its last bit, so figures are left out.
        let again = RunRecord::from_json(&serde_json::to_vec(&old).unwrap()).unwrap();
        assert_eq!((again.key(), again.config.stages), (old.key(), old.config.stages));
        assert_eq!((again.config.data, again.artefacts.model), (old.config.data, old.artefacts.model));
    }

    #[test]
    fn a_record_with_a_decision_is_read_as_it_was_written() {
        let mut run = record("demo", "plain", "rkd", 0);
        assert!(!serde_json::to_string(&run).unwrap().contains("decision"));
        let basis = Basis::FalseAlarms { asked: 0.01, promised: 0.02 };
        let intervals = BTreeMap::from([("image_recall".to_owned(), [0.5, 1.0])]);
        let threshold = Threshold { score: 0.1, contour: 0.7, basis };
        run.decision =
            Some(Decision { threshold, procedure: Procedure::HoldOut, confidence: 0.95, intervals });
        let again = RunRecord::from_json(&serde_json::to_vec(&run).unwrap()).unwrap();
        assert_eq!(again.decision, run.decision);
    }

    #[test]
    fn findings_come_back_and_unknown_ones_are_refused() {
        let mut run = record("demo", "plain", "rkd", 0);
        let without = serde_json::to_string(&run).unwrap();
        assert!(!without.contains("findings"), "{without}");
        run.findings = Findings {
            bits: Some(12),
            vanished: vec!["test/cut/000".to_owned()],
            duplicates: vec![["train/good/001".to_owned(), "test/good/001".to_owned()]],
            notices: vec![crate::Notice { choice: "c".to_owned(), n: 2, first: "a.gif".to_owned() }],
        };
        run.config.data.placing = Placing::KeepAspect;
        run.config.evaluation.at = Resolution::Original;
        let written = serde_json::to_value(&run).unwrap();
        let read = |value: &serde_json::Value| RunRecord::from_json(value.to_string().as_bytes());
        assert_eq!(read(&written).unwrap(), run);

        let mut unknown = written.clone();
        unknown["findings"]["colour"] = 1.into();
        assert!(matches!(read(&unknown), Err(RecordTextError::Json(_))));
        let mut few = written.clone();
        few["findings"]["duplicates"][0] = serde_json::json!(["train/good/001"]);
        assert!(matches!(read(&few), Err(RecordTextError::Json(_))));
        // A finding alone stands without the keys of the others.
        run.findings = Findings { bits: Some(12), ..Findings::default() };
        assert_eq!(serde_json::to_value(&run).unwrap()["findings"], serde_json::json!({"bits": 12}));
    }

    #[test]
    fn a_path_that_leaves_the_folder_is_refused() {
        let change: [fn(&mut RunRecord, &str); 3] = [
            |run, path| run.artefacts.model = Some(path.to_owned()),
            |run, path| run.artefacts.maps = Some(path.to_owned()),
            |run, path| {
                run.artefacts.images.push(ImageRecord {
                    sample: "test/good/000".to_owned(),
                    label: Label::Normal,
                    defect_type: None,
                    image_score: 0.5,
                    path: Some(path.to_owned()),
                });
            },
        ];
        for change in change {
            let read = |path: &str| {
                let mut run = record("demo", "plain", "rkd", 0);
                change(&mut run, path);
                RunRecord::from_json(&serde_json::to_vec(&run).unwrap())
            };
            assert!(read("maps/a..b.png").is_ok());
            for wrong in ["../../x.png", "/etc/x.png", "a/../../x.png", "", "..", "a\\..\\..\\x.png", "./x"] {
                let error = read(wrong).unwrap_err();
                assert!(matches!(&error, RecordTextError::Outside { path } if path == wrong), "{wrong}");
            }
        }
    }
}
