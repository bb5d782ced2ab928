//! Detectors as files for programs without this library.

use std::io::Write;
use std::path::Path;

use fmam_experiment::ExperimentError;
use fmam_inspection::Calibration;
use fmam_methods::{Detector, MethodError, TracedDetector};
use fmam_models::Weights;
use fmam_onnx::{Detection, InputSize};

use crate::output::claim;
use crate::{Error, Session};

impl Session {
    /// `detector` as the bytes of an ONNX file. The image goes in as bytes, of any size or of the
    /// detector's, and the score, the map and the verdict come out: see [`Detection::encode`].
    ///
    /// The file bears the facts of the detector as metadata: `version`, `method`, `backbone`,
    /// `image_size`, `settings`, and where they are known `threshold`, `promise` (the rate of false
    /// alarms that the threshold is for), `values` (the way from other values than 8 bits to 8
    /// bits) and `weights_licence`.
    ///
    /// # Errors
    /// [`Error::Experiment`] for a detector that is no graph of operators
    /// ([`Usage`](crate::ErrorKind::Usage)); [`Error::Onnx`] for one that is too large for the
    /// format.
    pub fn onnx(&self, detector: &Detector, input: InputSize) -> Result<Vec<u8>, Error> {
        let traced = self.on_threads(|| detector.trace(self.device()));
        let traced = traced.map_err(|error| match error {
            error @ MethodError::Untraceable { .. } => ExperimentError::Configuration(Box::new(error)),
            error => error.into(),
        })?;
        let TracedDetector { graph, image_score, anomaly_map } = traced;
        let file = Detection {
            graph,
            score: image_score,
            map: anomaly_map,
            size: detector.image_size(),
            threshold: detector.calibration().map(|calibration| calibration.threshold().score),
            input,
            metadata: self.facts(detector),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        };
        Ok(file.encode()?)
    }

    /// Writes [`Session::onnx`] to the file `path`, whole or not at all. A file that is there is
    /// replaced.
    ///
    /// # Errors
    /// As [`Session::onnx`]; [`Error::Record`] where another process writes the file;
    /// [`Error::Write`].
    pub fn export_onnx(
        &self,
        detector: &Detector,
        path: impl AsRef<Path>,
        input: InputSize,
    ) -> Result<(), Error> {
        let path = path.as_ref();
        let _claim = claim(path)?;
        let bytes = self.onnx(detector, input)?;
        fmam_files::write_atomic(path, |file| file.write_all(&bytes))
            .map_err(|source| Error::Write { path: path.to_owned(), source })
    }

    /// The facts about a detector, under their names.
    fn facts(&self, detector: &Detector) -> Vec<(String, String)> {
        let card = detector.card();
        let mut facts = vec![
            ("version".to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
            ("method".to_owned(), card.method.to_string()),
            ("backbone".to_owned(), card.backbone.clone()),
            ("image_size".to_owned(), card.image_size.to_string()),
            ("settings".to_owned(), card.settings.to_string()),
        ];
        let mut add = |name: &str, fact: Option<String>| {
            facts.extend(fact.map(|fact| (name.to_owned(), fact)));
        };
        let threshold = detector.calibration().map(Calibration::threshold);
        add("threshold", threshold.map(|threshold| threshold.score.to_string()));
        add("promise", threshold.and_then(|threshold| serde_json::to_string(&threshold.basis).ok()));
        let is_plain = card.reading == fmam_core::Reading::default();
        let values = (!is_plain).then(|| serde_json::to_string(&card.reading).ok()).flatten();
        add("values", values);
        let known = self.registry().backbones().iter().find(|spec| spec.name == card.backbone);
        add(
            "weights_licence",
            known.and_then(|spec| match spec.weights {
                Weights::File(Some(published)) => Some(published.licence.to_owned()),
                Weights::File(None) | Weights::Embedded(_) | Weights::Seeded(_) => None,
            }),
        );
        facts
    }
}
