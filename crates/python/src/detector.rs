//! Fitted detectors.

use std::collections::HashSet;
use std::path::PathBuf;
use std::str::FromStr;

use fmam::input::Inputs;
use fmam::{
    CalibrationMode, DeviceChoice, Error, Fit, ImageSize, InputConfig, InputSize, KeepTraining, Precision,
    Session, textures, threshold_in_use,
};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::pixels::Given;
use crate::raise::raise;
use crate::values::{from_toml, settings};
use crate::verdict::Verdict;
use crate::watch::watched;

/// The image files that `path` names, each once: a file, a folder with all that lies within, or a
/// pattern.
///
/// # Errors
/// `FileNotFoundError` for a missing path, `DataError` for a folder or pattern without images.
#[pyfunction]
pub(crate) fn image_files(py: Python<'_>, path: PathBuf) -> PyResult<Vec<PathBuf>> {
    let list = || -> Result<Vec<PathBuf>, Error> {
        let mut inputs = Inputs::new(None);
        inputs.add(path)?;
        let mut images = inputs.collect::<Result<Vec<_>, _>>()?;
        let mut known = HashSet::new();
        images.retain(|image| known.insert(image.clone()));
        Ok(images)
    };
    py.detach(list).map_err(|error| raise(&error))
}

/// The options of a fit, the keyword arguments of `fmam.Detector.fit`.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct FitOptions<'py> {
    method: String,
    backbone: String,
    weights: Option<PathBuf>,
    seed: u64,
    image_size: (usize, usize),
    tile_overlap: Option<usize>,
    keep_aspect: bool,
    roi: Option<PathBuf>,
    epochs: Option<usize>,
    precision: String,
    settings: Bound<'py, PyDict>,
    textures: Option<PathBuf>,
    keep_training: Option<PathBuf>,
    calibration: String,
    false_alarms: f64,
    device: String,
    threads: Option<usize>,
}

impl FitOptions<'_> {
    fn session(&self) -> PyResult<Session> {
        session(&self.device, self.threads)
    }

    fn fit(&self) -> PyResult<Fit> {
        let (height, width) = self.image_size;
        let mut table = toml::Table::new();
        settings(&self.settings)?.iter().for_each(|setting| setting.apply(&mut table));
        let input = InputConfig {
            keep_aspect: self.keep_aspect,
            tile_overlap: self.tile_overlap,
            roi: self.roi.clone(),
            ..InputConfig::default()
        };
        let textures = textures(self.textures.as_deref(), ImageSize::new(height, width));
        let mut fit = Fit::new()
            .method(&self.method)
            .backbone(&self.backbone)
            .seed(self.seed)
            .image_sides(height, width)
            .input(input)
            .precision(parsed::<Precision>(&self.precision)?)
            .settings(table)
            .textures(textures.map_err(|error| raise(&error))?)
            .calibration(parsed::<CalibrationMode>(&self.calibration)?)
            .false_alarms(self.false_alarms);
        if let Some(epochs) = self.epochs {
            fit = fit.epochs(epochs);
        }
        if let Some(weights) = &self.weights {
            fit = fit.weights(weights);
        }
        if let Some(keep) = self.keep() {
            fit = fit.keep_training(keep);
        }
        Ok(fit)
    }

    /// The place of the state of the training.
    fn keep(&self) -> Option<KeepTraining> {
        let folder = self.keep_training.clone()?;
        Some(KeepTraining { folder, every: KeepTraining::EVERY })
    }
}

/// The value that `text` stands for.
fn parsed<T: FromStr<Err: std::fmt::Display>>(text: &str) -> PyResult<T> {
    text.parse().map_err(|error: T::Err| PyValueError::new_err(error.to_string()))
}

fn session(device: &str, threads: Option<usize>) -> PyResult<Session> {
    let device: DeviceChoice = device.parse().map_err(|error: Error| raise(&error))?;
    let builder = Session::builder().device(device);
    let builder = match threads {
        Some(threads) => builder.threads(threads),
        None => builder,
    };
    builder.build().map_err(|error| raise(&error))
}

/// A detector that was fitted or loaded, with its device and threads.
#[pyclass(frozen, module = "fmam._fmam")]
pub(crate) struct Detector {
    session: Session,
    detector: fmam::Detector,
}

#[pymethods]
impl Detector {
    /// Fits a detector to images without defects. `listener(stage, done, total, detail)` hears of
    /// the progress.
    #[staticmethod]
    fn fit(
        py: Python<'_>,
        images: Vec<Given<'_>>,
        options: FitOptions<'_>,
        listener: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Self> {
        let (session, fit) = (options.session()?, options.fit()?);
        let images = images.into_iter().map(Given::image).collect::<PyResult<Vec<_>>>()?;
        let detector =
            watched(py, listener.as_ref(), |watch| session.with_progress(watch).fit(images, &fit))?;
        Ok(Self { session, detector })
    }

    /// Reads the detector in the folder `path`.
    #[staticmethod]
    fn load(py: Python<'_>, path: PathBuf, device: &str, threads: Option<usize>) -> PyResult<Self> {
        let session = session(device, threads)?;
        let detector = watched(py, None, |_| session.load(&path))?;
        Ok(Self { session, detector })
    }

    /// Writes the detector to the folder `path`, which must not exist yet.
    fn save(&self, py: Python<'_>, path: PathBuf) -> PyResult<()> {
        let save = || {
            let _claim = fmam::output::claim(&path)?;
            Ok(self.detector.save(&path)?)
        };
        py.detach(save).map_err(|error: fmam::Error| raise(&error))
    }

    /// Writes the detector to the ONNX file `path`, for images of any size, or of its own alone.
    fn export_onnx(&self, py: Python<'_>, path: PathBuf, fixed_size: bool) -> PyResult<()> {
        let input = if fixed_size { InputSize::Fixed } else { InputSize::Any };
        watched(py, None, |_| self.session.export_onnx(&self.detector, &path, input))
    }

    /// The verdicts on `images`, in their order, by the threshold of `false_alarms`, by
    /// `threshold`, or by that of the detector.
    fn predict(
        &self,
        py: Python<'_>,
        images: Vec<Given<'_>>,
        false_alarms: Option<f64>,
        threshold: Option<f32>,
        listener: Option<Bound<'_, PyAny>>,
    ) -> PyResult<Vec<Verdict>> {
        let images = images.into_iter().map(Given::image).collect::<PyResult<Vec<_>>>()?;
        let calibration = self.detector.calibration();
        let threshold = threshold_in_use(calibration, false_alarms, threshold);
        let threshold = threshold.map_err(|error| raise(&error))?;
        watched(py, listener.as_ref(), |watch| {
            let session = self.session.with_progress(watch);
            let verdicts = session.predict(&self.detector, images);
            let verdicts = match threshold {
                Some(threshold) => verdicts.at(threshold),
                None => verdicts,
            };
            verdicts.map(|verdict| Ok(Verdict::new(verdict?, calibration))).collect()
        })
    }

    /// The registered name of the method.
    #[getter]
    fn method(&self) -> String {
        self.detector.card().method.to_string()
    }

    /// The registered name of the backbone.
    #[getter]
    fn backbone(&self) -> &str {
        &self.detector.card().backbone
    }

    /// Height and width of the images that the networks see.
    #[getter]
    fn image_size(&self) -> (usize, usize) {
        let ImageSize { height, width } = self.detector.image_size();
        (height, width)
    }

    /// An image is a defect where its score is above this; `None` without a calibration.
    #[getter]
    fn threshold(&self) -> Option<f32> {
        self.detector.calibration().map(|calibration| calibration.threshold().score)
    }

    /// The share of good parts that the threshold promises to call defective at most; `None` for a
    /// threshold without such a promise.
    #[getter]
    fn false_alarms(&self) -> Option<f64> {
        self.detector.calibration()?.threshold().basis.promised_false_alarms()
    }

    /// The scores of the good images that calibrate the detector, rising.
    #[getter]
    fn good_scores(&self) -> Vec<f32> {
        self.detector.calibration().map_or_else(Vec::new, |known| known.scores().sorted().to_vec())
    }

    /// The settings of the method, defaults filled in.
    #[getter]
    fn settings<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        from_toml(py, &toml::Value::Table(self.detector.card().settings.clone()))
    }
}
