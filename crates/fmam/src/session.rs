use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use candle_core::Device;
use fmam_core::{
    AnomalyMap, ImageSize, Needs, OneLarge, Preparation, Progress, SampleSource, Silent, SourceError,
    StageId, ordered_map,
};
use fmam_datasets::{CachedSource, Category, DEFAULT_CACHE_BYTES, Dataset, DatasetError, DatasetOptions};
use fmam_experiment::{
    Artist, CalibrationConfig, Candidate, Evaluation, Evaluator, Experiment, ExperimentConfig,
    ExperimentError, FinishedRuns, Grid, GridObserver, GridOutcome, InputConfig, KeepTraining, MethodTrial,
    Registry, check_image_size, check_sides, fit_calibrated, images_needed, rank_methods,
};
use fmam_inspection::Threshold;
use fmam_methods::{Detector, MethodEntry, RunContext};
use fmam_models::Precision;
use fmam_ops::set_tf32;
use fmam_record::EvaluationConfig;
use fmam_synthesis::Textures;
use serde_json::Value;

use crate::fetch::fetched_weights;
use crate::fit::Fit;
use crate::image::{PreparedSource, TrainImages};
use crate::loading::LoadedImage;
use crate::scoring::score;
use crate::verdicts::{Scoring, Verdicts};
use crate::workers::Workers;
use crate::{DeviceChoice, Error, Image, Setting, Verdict};

/// A device, threads and a receiver of progress, with which detectors are fitted, saved, loaded and
/// used. The page of the crate has an example.
#[derive(Clone)]
pub struct Session {
    device: Device,
    workers: Workers,
    progress: Arc<dyn Progress>,
    registry: Registry,
}

impl std::fmt::Debug for Session {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("device", &self.device).finish_non_exhaustive()
    }
}

/// The options of a [`Session`].
#[derive(Clone)]
pub struct SessionBuilder {
    registry: Registry,
    device: DeviceChoice,
    threads: Option<usize>,
    tf32: Option<bool>,
    progress: Arc<dyn Progress>,
}

impl std::fmt::Debug for SessionBuilder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SessionBuilder").field("device", &self.device).finish_non_exhaustive()
    }
}

impl SessionBuilder {
    /// The methods, backbones, data sets and metrics that the session looks names up in; the
    /// built-in ones without it.
    #[must_use]
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = registry;
        self
    }

    /// The device of all tensors; [`DeviceChoice::Auto`] without it.
    #[must_use]
    pub fn device(mut self, device: DeviceChoice) -> Self {
        self.device = device;
        self
    }

    /// Lets the convolutions of a GPU multiply in TF32, as [`fmam_ops::set_tf32`] describes; not
    /// without it. It holds for the whole process.
    #[must_use]
    pub fn tf32(mut self, allowed: bool) -> Self {
        self.tf32 = Some(allowed);
        self
    }

    /// Threads that compute, and as many that decode images; one a core without it. The results do
    /// not depend on the number.
    #[must_use]
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = Some(threads);
        self
    }

    /// The receiver of progress, which also says when to stop: where [`Progress::cancelled`] is
    /// true, the work under way ends with [`Error::Cancelled`].
    #[must_use]
    pub fn progress(mut self, progress: impl Progress + 'static) -> Self {
        self.progress = Arc::new(progress);
        self
    }

    /// Opens the device and starts the threads.
    ///
    /// # Errors
    /// [`Error::NoCuda`], [`Error::CudaDevice`], [`Error::Threads`].
    pub fn build(self) -> Result<Session, Error> {
        let Self { registry, device, threads, tf32, progress } = self;
        if let Some(allowed) = tf32 {
            set_tf32(allowed);
        }
        Ok(Session { device: device.open()?, workers: Workers::new(threads)?, progress, registry })
    }
}

impl Session {
    /// A session on the best device that there is, with a thread a core and nobody who watches.
    ///
    /// # Errors
    /// As [`SessionBuilder::build`].
    pub fn new() -> Result<Self, Error> {
        Self::builder().build()
    }

    /// The options of a session.
    pub fn builder() -> SessionBuilder {
        SessionBuilder {
            registry: Registry::builtin(),
            device: DeviceChoice::Auto,
            threads: None,
            tf32: None,
            progress: Arc::new(Silent),
        }
    }

    /// The methods, backbones, data sets and metrics that names are looked up in.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The device of all tensors.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Warns, once, where one of `precisions` has no use on the device.
    pub fn warn_of_emulation(&self, precisions: impl IntoIterator<Item = Precision>) {
        let is_bf16 = |precision| precision == Precision::Bf16;
        if self.device.is_cpu() && precisions.into_iter().any(is_bf16) {
            tracing::warn!("bf16 is meant for a GPU: on a CPU it is emulated and slower than f32");
        }
    }

    /// The receiver of progress.
    pub fn progress(&self) -> &dyn Progress {
        self.progress.as_ref()
    }

    /// This session, on the same device and threads, with another receiver of progress.
    #[must_use]
    pub fn with_progress(&self, progress: impl Progress + 'static) -> Self {
        Self { progress: Arc::new(progress), ..self.clone() }
    }

    /// Does `work` on the threads of this session, for work that no method of a session does.
    pub fn on_threads<R: Send>(&self, work: impl FnOnce() -> R + Send) -> R {
        self.workers.run(work)
    }

    /// Threads that decode images.
    pub fn loader_threads(&self) -> usize {
        self.workers.loaders
    }

    /// Fits a detector to images without defects, paths, bytes or pixels, each of any size, and
    /// calibrates it on a part of them, see [`Fit::calibration`]. All of them are decoded before
    /// the training, and kept as far as they fit into 1 GiB.
    ///
    /// # Errors
    /// [`Error::Image`] naming an image that cannot be read, [`Error::Cancelled`], and
    /// [`Error::Experiment`] for an unknown name, a setting or an image size that does not fit
    /// ([`Usage`](crate::ErrorKind::Usage)), too few images, or a training that failed.
    pub fn fit<I>(&self, images: I, fit: &Fit) -> Result<Detector, Error>
    where
        I: IntoIterator<Item: Into<Image>>,
    {
        let run = self.run_of(fit)?;
        let images: Vec<Image> = images.into_iter().map(Into::into).collect();
        self.check_count(&run, images.len())?;
        let train = TrainImages::new(images, &run.context.preparation);
        let train = CachedSource::new(train, DEFAULT_CACHE_BYTES);
        self.read(&train)?;
        self.read_textures(&run)?;
        self.fit_run(&train, run)
    }

    /// Fits a detector to the normal images of a source. Images that do not come from files are
    /// prepared as `fit` says, those of another size being resized.
    ///
    /// # Errors
    /// As [`Session::fit`].
    pub fn fit_source(&self, train: &dyn SampleSource, fit: &Fit) -> Result<Detector, Error> {
        let run = self.run_of(fit)?;
        self.check_count(&run, train.len())?;
        prepared(train, &run.context.preparation.clone(), |train| {
            self.read(train)?;
            self.read_textures(&run)?;
            self.fit_run(train, run)
        })
    }

    /// Ranks the methods of the registry for the images that [`Session::fit`] would learn from,
    /// with the options of `fit` but its method: each is fitted to a part of the images and tried
    /// on the rest, and on synthetic defects in the rest. The trials and the fit of the best fit
    /// into `budget`; the best is the first.
    ///
    /// # Errors
    /// [`Error::Experiment`] where there are too few images, no method ends in time, images are to
    /// be cut into tiles, or `fit` has settings of one method; those of [`Session::fit`].
    pub fn rank<I>(&self, images: I, fit: &Fit, budget: Duration) -> Result<Vec<MethodTrial>, Error>
    where
        I: IntoIterator<Item: Into<Image>>,
    {
        let images: Vec<Image> = images.into_iter().map(Into::into).collect();
        let preparation = fit.input.preparation(fit.image_size)?;
        let train = CachedSource::new(TrainImages::new(images, &preparation), DEFAULT_CACHE_BYTES);
        self.rank_source(&train, fit, budget)
    }

    /// [`Session::rank`] for the normal images of a source, which each method reads anew: where
    /// that is slow, let it keep what it decoded.
    ///
    /// # Errors
    /// As [`Session::rank`].
    pub fn rank_source(
        &self,
        train: &dyn SampleSource,
        fit: &Fit,
        budget: Duration,
    ) -> Result<Vec<MethodTrial>, Error> {
        let refused = |key: &'static str, expected: &'static str| {
            let (method, actual) = ("auto", "a value".to_owned());
            let error = fmam_methods::MethodError::ConfigValue { method, key, expected, actual };
            Error::from(configuration(error))
        };
        if fit.input.tile_overlap.is_some() {
            return Err(refused("tile", "absent: methods are ranked on whole images"));
        }
        if !fit.settings.is_empty() {
            return Err(refused("settings", "absent: each method has its own"));
        }
        let mut candidates = Vec::new();
        for &entry in self.registry.methods().iter().filter(|entry| !entry.is_yardstick) {
            let mut settings = toml::Table::new();
            if let Some(epochs) = fit.epochs {
                entry.default_epochs(&mut settings, epochs).map_err(configuration)?;
            }
            candidates.push(Candidate { entry, settings });
        }
        // The surroundings are the same for all of them.
        let any = candidates.first().map_or(fit.method.as_str(), |candidate| candidate.entry.name);
        let run = self.run_of(&fit.clone().method(any))?;
        prepared(train, &run.context.preparation, |train| {
            self.read(train)?;
            if let Textures::Images(source) = &run.context.textures {
                self.read(source.as_ref())?;
            }
            Ok(self.workers.run(|| rank_methods(candidates, train, &run.context, budget))?)
        })
    }

    /// Scores images: paths, bytes or pixels, each of any size. The iterator gives a verdict for
    /// each image in turn, or the error [`Error::Image`], which names the image and does not keep
    /// the others from being scored.
    pub fn predict<'a, I>(&'a self, detector: &'a Detector, images: I) -> Verdicts<'a, I::IntoIter>
    where
        I: IntoIterator<Item: Into<Image>>,
    {
        let progress = self.progress.as_ref();
        Verdicts::new(images.into_iter(), Scoring { detector, workers: &self.workers, progress })
    }

    /// Scores images that a [`Loader`](crate::Loader) of `detector` has loaded, together. The
    /// verdicts are by `threshold`, which may be that of the detector, and come in the order of the
    /// images: for each a verdict, or the error [`Error::Image`].
    ///
    /// Any number of threads may call this at once; all of them share the threads of the session.
    pub fn score(
        &self,
        detector: &Detector,
        threshold: Option<Threshold>,
        images: Vec<LoadedImage>,
    ) -> Vec<Result<Verdict, Error>> {
        self.workers.run(|| score(detector, threshold, self.progress.as_ref(), images))
    }

    /// Scores the images of a test split and compares with the ground truth. Images and masks of
    /// another size than the detector's are resized. Memory does not grow with the number of
    /// pixels: scores of many go to a temporary file of the system.
    ///
    /// # Errors
    /// [`Error::Experiment`] naming an unreadable file, or for a split without an image;
    /// [`Error::Cancelled`].
    pub fn evaluate(&self, detector: &Detector, test: &dyn SampleSource) -> Result<Evaluation, Error> {
        let folder = std::env::temp_dir();
        self.evaluate_by(&self.evaluator(EvaluationConfig::default(), &folder), detector, test, |_, _, _| {
            Ok(())
        })
    }

    /// [`Session::evaluate`] by an `evaluator` of this session. `visit` sees the score and
    /// the anomaly map of each image, in order.
    ///
    /// # Errors
    /// As [`Session::evaluate`], and those of `visit`.
    pub fn evaluate_by(
        &self,
        evaluator: &Evaluator<'_>,
        detector: &Detector,
        test: &dyn SampleSource,
        visit: impl FnMut(usize, f32, &AnomalyMap) -> Result<(), ExperimentError> + Send,
    ) -> Result<Evaluation, Error> {
        let prepared = PreparedSource::new(test, &detector.card().preparation());
        Ok(self.workers.run(|| evaluator.evaluate(detector, &prepared, visit))?)
    }

    /// The evaluator of this session: its metrics, threads and progress. Its temporary file lies in
    /// `folder`.
    pub fn evaluator<'a>(&'a self, config: EvaluationConfig, folder: &'a Path) -> Evaluator<'a> {
        Evaluator {
            metrics: self.registry.metrics(),
            config,
            folder,
            loader_threads: self.workers.loaders,
            progress: self.progress.as_ref(),
        }
    }

    /// Reads the detector that [`Detector::save`] wrote to the folder `dir`.
    ///
    /// # Errors
    /// [`Error::Experiment`] naming the file that is missing or damaged.
    pub fn load(&self, dir: impl AsRef<Path>) -> Result<Detector, Error> {
        Ok(self.registry.load_detector(dir.as_ref(), &self.device)?)
    }

    /// The method `name` with `settings` over its defaults: its resolved settings.
    ///
    /// # Errors
    /// [`Error::Experiment`] for an unknown method or settings that are not valid.
    pub fn settings(&self, name: &str, settings: &[Setting]) -> Result<toml::Table, Error> {
        let mut table = toml::Table::new();
        settings.iter().for_each(|setting| setting.apply(&mut table));
        let method =
            (self.registry.method(name).map_err(configuration)?.build)(table).map_err(configuration)?;
        Ok(toml::Table::try_from(without_nulls(method.plan(1)?.settings))?)
    }

    /// Opens the data set `name`, whose files lie in `root`; generated data need none.
    ///
    /// # Errors
    /// [`Error::Experiment`] for an unknown name or files that are not as they should be.
    pub fn dataset(&self, name: &str, root: Option<PathBuf>) -> Result<Box<dyn Dataset>, Error> {
        let options = DatasetOptions { root, ..DatasetOptions::default() };
        Ok((self.registry.dataset(name)?.open)(&options)?)
    }

    /// The category `name` of `dataset`, or the only one, with images as `preparation` makes them.
    ///
    /// # Errors
    /// [`Error::CategoryNeeded`] where there are several and none is named; [`Error::Experiment`]
    /// for an unknown name or files that are not as they should be.
    pub fn category(
        &self,
        dataset: &dyn Dataset,
        name: Option<&str>,
        preparation: &Preparation,
    ) -> Result<Category, Error> {
        Ok(dataset.category(&category_name(dataset, name)?, preparation)?)
    }

    /// The experiments of configurations, opened: every name is known, the data are indexed, the
    /// backbones loaded.
    ///
    /// # Errors
    /// [`Error::Experiment`].
    pub fn experiments(&self, configs: Vec<ExperimentConfig>) -> Result<Vec<Experiment>, Error> {
        configs.into_iter().map(|config| self.experiment(config)).collect()
    }

    /// The experiment of a configuration; see [`Session::experiments`].
    ///
    /// # Errors
    /// [`Error::Experiment`].
    pub fn experiment(&self, config: ExperimentConfig) -> Result<Experiment, Error> {
        Ok(Experiment::open(&self.registry, config, self.device.clone())?)
    }

    /// Does every run of `configs` that the folder `out` lacks, and keeps one record a run.
    /// `finished` says what becomes of the runs that are there; `artist` draws, and `observer`
    /// follows the runs and says when to stop.
    ///
    /// # Errors
    /// [`Error::Experiment`] before any run; [`Error::Cancelled`], finished runs stay. A run that
    /// fails does not keep the others from being done.
    pub fn reproduce(
        &self,
        configs: Vec<ExperimentConfig>,
        out: &Path,
        finished: FinishedRuns,
        artist: &(dyn Artist + Sync),
        observer: &dyn GridObserver,
    ) -> Result<GridOutcome, Error> {
        let experiments = self.experiments(configs)?;
        let grid = Grid::new(&experiments, out, finished, observer)?;
        Ok(self.workers.run(|| grid.run(artist, observer))?)
    }

    /// Decodes every image of `train` before a training.
    fn read(&self, train: &dyn SampleSource) -> Result<(), Error> {
        let (n, threads, progress) = (train.len(), self.workers.loaders, self.progress.as_ref());
        progress.start(&StageId::READING, n as u64);
        let mut check = |index: usize, image: Result<(), SourceError>| {
            let id = || train.sample(index).id.clone();
            image.map_err(|source| match source.downcast::<DatasetError>() {
                Ok(error) => named(index, id(), Error::from(*error)),
                Err(source) => named(index, id(), ExperimentError::Sample { id: id(), source }.into()),
            })?;
            progress.update(index as u64 + 1, "");
            if progress.cancelled() { Err(Error::Cancelled) } else { Ok(()) }
        };
        let large = OneLarge::default();
        let load = |index: usize| {
            let _alone = large.enter(train, index);
            train.image(index).map(drop)
        };
        ordered_map(n, threads, 2 * threads, load, &mut check)?;
        progress.finish();
        Ok(())
    }

    /// Decodes every texture that the method needs, before a training.
    fn read_textures(&self, run: &Run<'_>) -> Result<(), Error> {
        if let (Textures::Images(source), true) = (&run.context.textures, run.needs.textures) {
            self.read(source.as_ref())?;
        }
        Ok(())
    }

    /// Checks that `n` good images are enough for a fit.
    fn check_count(&self, run: &Run<'_>, n: usize) -> Result<(), Error> {
        let mode = run.calibration.mode;
        let needed = images_needed(run.entry, mode)?;
        if n >= needed {
            return Ok(());
        }
        let is_enough = |entry: &&&MethodEntry| images_needed(entry, mode).is_ok_and(|needed| needed <= n);
        let others = self.registry.methods().iter().filter(is_enough).map(|entry| entry.name).collect();
        let method = run.entry.name.to_owned();
        Err(ExperimentError::TooFewImages { method, found: n, needed, others }.into())
    }

    /// Opens what a fit names, before any image is read.
    fn run_of(&self, fit: &Fit) -> Result<Run<'_>, Error> {
        let entry = self.registry.method(&fit.method).map_err(configuration)?;
        check_sides(fit.image_size)?;
        let preparation = fit.input.preparation(fit.image_size)?;
        let mut table = fit.settings.clone();
        if let Some(epochs) = fit.epochs {
            entry.default_epochs(&mut table, epochs).map_err(configuration)?;
        }
        let needs = (entry.build)(table.clone()).map_err(configuration)?.plan(0)?.needs;
        let fetched = || fetched_weights(self.registry.backbones(), &fit.backbone);
        let weights = fit.weights.clone().or_else(fetched);
        let spec = self.registry.backbone(&fit.backbone)?;
        check_image_size(spec, fit.image_size)?;
        let backbone = spec.load(weights.as_deref(), &self.device)?.with_precision(fit.precision);
        let context = RunContext {
            device: self.device.clone(),
            seed: fit.seed,
            preparation,
            backbone: Arc::new(backbone),
            textures: fit.textures.clone(),
            loader_threads: self.workers.loaders,
            progress: self.progress.as_ref(),
            kept: None,
        };
        let (calibration, keep) = (fit.calibration, fit.keep_training.clone());
        Ok(Run { entry, settings: table, needs, context, calibration, keep })
    }

    fn fit_run(&self, train: &dyn SampleSource, run: Run<'_>) -> Result<Detector, Error> {
        let Run { entry, settings, context, calibration, keep, .. } = run;
        let fit = move || fit_calibrated(entry, &settings, train, &context, calibration, keep.as_ref());
        Ok(self.workers.run(fit)?.fitted.detector)
    }
}

/// A method and the surroundings of its fit.
struct Run<'a> {
    entry: &'static MethodEntry,
    settings: toml::Table,
    needs: Needs,
    context: RunContext<'a>,
    calibration: CalibrationConfig,
    keep: Option<KeepTraining>,
}

/// Hands `train` to `work` with its images as `preparation` says: as they are where they are so
/// already, else prepared once and kept.
fn prepared<T>(
    train: &dyn SampleSource,
    preparation: &Preparation,
    work: impl FnOnce(&dyn SampleSource) -> T,
) -> T {
    let prepared = PreparedSource::new(train, preparation);
    if prepared.is_prepared() { work(train) } else { work(&CachedSource::new(prepared, DEFAULT_CACHE_BYTES)) }
}

/// The error of a method whose name or settings are wrong.
fn configuration(error: fmam_methods::MethodError) -> ExperimentError {
    ExperimentError::Configuration(Box::new(error))
}

fn named(index: usize, name: String, source: Error) -> Error {
    Error::Image { index, name, source: Box::new(source) }
}

/// Settings without those that have no value: TOML has no null.
fn without_nulls(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
            Value::Object(fields.map(|(key, value)| (key, without_nulls(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(without_nulls).collect()),
        value => value,
    }
}

/// `asked`, or the only category of `dataset`.
///
/// # Errors
/// [`Error::CategoryNeeded`] where there are several.
pub fn category_name(dataset: &dyn Dataset, asked: Option<&str>) -> Result<String, Error> {
    match (asked, &dataset.categories()[..]) {
        (Some(name), _) => Ok(name.to_owned()),
        (None, [only]) => Ok(only.clone()),
        (None, known) => Err(Error::CategoryNeeded { known: known.to_vec() }),
    }
}

/// The way from image files to pixels of `size`, with the region of interest read from its file.
///
/// # Errors
/// [`Error::Experiment`] for values that do not go together, and for a region that cannot be read.
pub fn preparation(input: &InputConfig, size: ImageSize) -> Result<Preparation, Error> {
    Ok(input.preparation(size)?)
}

/// The textures of synthetic defects: DTD's where `root` has them, generated ones otherwise.
///
/// # Errors
/// [`Error::Experiment`] for files that are not as they should be.
pub fn textures(root: Option<&Path>, size: ImageSize) -> Result<Textures, Error> {
    let found = root.map(|root| fmam_datasets::textures(root, size)).transpose()?;
    Ok(found.flatten().map_or(Textures::Generated, Textures::Images))
}
