use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use candle_core::Device;
use fmam_core::{
    ImageSize, MethodId, Needs, OneLarge, Placing, Plan, Preparation, Progress, SampleSource, StagePlan,
};
use fmam_datasets::{Category, Dataset, DatasetError, DatasetOptions, duplicates};
use fmam_methods::{Method, RunContext};
use fmam_models::{Backbone, BackboneSpec, LoadedBackbone, ModelError};
use fmam_record::{ArtefactConfig, CalibrationRecord, DataConfig, Findings, RunConfig, RunKey};
use fmam_synthesis::{Synthesizer, Textures};

use crate::asked_categories::rejoined;
use crate::content;
use crate::defects::{synthesizer_of, textures};
use crate::findings::{findings, tell_duplicates};
use crate::overrides::{method_entry, method_table};
use crate::unwatched::Unwatched;
use crate::{
    CalibratedFit, CalibrationMode, Evaluation, ExperimentConfig, ExperimentError, KeepTraining,
    MAX_IMAGE_SIZE, Registry, device_name, fit_calibrated, key,
};

/// One run of an experiment, before it is done.
#[derive(Debug, Clone, PartialEq)]
pub struct RunPlan {
    /// Which run.
    pub key: RunKey,
    /// Training images of its category, with those that a calibration holds out.
    pub n_train: usize,
    /// Test images of its category.
    pub n_test: usize,
    /// The resolved configuration, as the record will have it, but for the digest of the data,
    /// which is computed when these are read.
    pub config: RunConfig,
    /// The requirements of the method.
    pub needs: Needs,
}

impl RunPlan {
    /// The method's training stages in their order; empty for a method that does not train.
    pub fn stages(&self) -> &[StagePlan] {
        &self.config.stages
    }
}

/// An experiment whose names are known, whose configuration is checked, whose data set is indexed
/// and whose backbones are loaded. With [`Experiment::read_images`] all that can be wrong before
/// the first training step has been found.
pub struct Experiment {
    registry: Registry,
    config: ExperimentConfig,
    device: Device,
    dataset: Box<dyn Dataset>,
    textures: Textures,
    backbones: BTreeMap<String, Arc<LoadedBackbone>>,
    /// The category of an experiment that has only one: decoded images of several might not fit
    /// into memory together.
    only: Option<Category>,
    plans: Vec<RunPlan>,
    /// Digests of the files that were read: by category, and of the textures under `None`.
    digests: Mutex<HashMap<Option<String>, String>>,
    /// The way from image files to pixels.
    preparation: Preparation,
    /// Pairs of samples of the same pixels, by category.
    duplicates: Mutex<HashMap<String, Vec<[String; 2]>>>,
}

impl std::fmt::Debug for Experiment {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Experiment").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Experiment {
    /// Opens everything that `config` names, of what `registry` has, for `device`.
    ///
    /// # Errors
    /// Errors of [`ErrorKind::Usage`](fmam_core::ErrorKind) for what the configuration has wrong;
    /// [`ExperimentError::Dataset`] and [`ExperimentError::Model`] for files.
    pub fn open(
        registry: &Registry,
        config: ExperimentConfig,
        device: Device,
    ) -> Result<Self, ExperimentError> {
        config.validate()?;
        let methods = methods(registry, &config)?;
        check_backbone_names(registry, &config)?;
        let entry = registry.dataset(&config.dataset.name)?;
        let options = &config.dataset.options;
        if let Some(roi) = config.input.roi.as_ref().filter(|_| entry.is_generated()) {
            return Err(ExperimentError::RegionOfGenerated {
                dataset: entry.name.to_owned(),
                roi: roi.clone(),
            });
        }
        let dataset = (entry.open)(&DatasetOptions::new(config.data_root.clone(), options)?)?;
        let (textures, textures_name) = textures(config.data_root.as_deref(), config.image_size)?;
        let preparation = config.input.preparation(config.image_size)?;

        let roi_sha256 = config.input.roi_sha256()?;

        let known = dataset.categories();
        let asked = rejoined(&config.categories, &known);
        let names = if asked.is_empty() { &known } else { &asked };
        let mut categories =
            names.iter().map(|name| dataset.category(name, &preparation)).collect::<Result<Vec<_>, _>>()?;
        let sizes: BTreeMap<_, _> =
            names.iter().cloned().zip(categories.iter().map(|c| (c.train.len(), c.test.len()))).collect();
        let mut fingerprints = Fingerprints::of(&categories, &textures);
        let mut backbones = BTreeMap::new();
        for name in &config.backbones {
            let weights = config.weights.get(name).map(|path| path.as_path());
            let spec = registry.backbone(name)?;
            check_image_size(spec, config.image_size)?;
            let backbone = spec.load(weights, &device)?.with_precision(config.precision);
            backbones.insert(name.clone(), Arc::new(backbone));
        }
        let mut seeds = BTreeMap::new();
        for name in &config.methods {
            // All seeds give the same result where nothing is drawn.
            let count = if method_entry(registry, name)?.is_seeded { config.seeds.len() } else { 1 };
            seeds.insert(name, &config.seeds[..count]);
        }
        let keys =
            key::keys(&config.dataset.name, names, &config.methods, &config.backbones, |name| seeds[name]);
        let plans = keys
            .into_iter()
            .map(|key| {
                let (n_train, n_test) = sizes[&key.category];
                let method = &methods[&key.method];
                let trains = !method.plan(n_train)?.stages.is_empty();
                let calibration = config.calibration.mode.plan(trains);
                let method = method.plan(calibration.map_or(n_train, |plan| plan.n_learnt(n_train)))?;
                let needs = method.needs;
                let mut run = run_config(&config, preparation.placing, &key, method);
                run.data.roi_sha256.clone_from(&roi_sha256);
                if entry.is_generated() {
                    run.data.root = None;
                }
                run.data.options = Some(dataset.identity()).filter(|options| !options.is_null());
                run.data.textures.clone_from(&textures_name);
                run.data.fingerprint = Some(fingerprints.of_run(&key.category, needs.textures));
                run.weights_sha256 = backbones[&key.backbone].weights_digest().map(str::to_owned);
                Ok(RunPlan { key, n_train, n_test, config: as_recorded(&run)?, needs })
            })
            .collect::<Result<_, ExperimentError>>()?;
        let only = if categories.len() == 1 { categories.pop() } else { None };
        let digests = Mutex::default();
        Ok(Self {
            registry: registry.clone(),
            config,
            device,
            dataset,
            textures,
            backbones,
            only,
            plans,
            digests,
            preparation,
            duplicates: Mutex::default(),
        })
    }

    /// The runs, in the order in which they are done: by category, method, backbone and seed.
    pub fn plans(&self) -> &[RunPlan] {
        &self.plans
    }

    /// The methods, backbones, data sets and metrics that the experiment was opened with.
    pub fn registry(&self) -> &Registry {
        &self.registry
    }

    /// The configuration that was opened.
    pub fn config(&self) -> &ExperimentConfig {
        &self.config
    }

    /// The device of all tensors.
    pub(crate) fn device(&self) -> &Device {
        &self.device
    }

    /// Name of the device for records.
    pub fn device_name(&self) -> String {
        device_name(&self.device)
    }

    /// Threads that decode beside the computing one.
    pub fn loader_threads(&self) -> usize {
        let cores = || std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        self.config.loader_threads.unwrap_or_else(cores)
    }

    /// Decodes every image, mask and texture that the runs `plans`, some of [`Experiment::plans`],
    /// use: a damaged file is found before any training. Of one category they stay in its cache.
    ///
    /// # Errors
    /// [`ExperimentError::Dataset`], [`ExperimentError::Sample`], [`ExperimentError::Cancelled`].
    pub fn read_images(&self, plans: &[&RunPlan], progress: &dyn Progress) -> Result<(), ExperimentError> {
        let names: BTreeSet<_> = plans.iter().map(|plan| plan.key.category.as_str()).collect();
        for name in names {
            let category = self.index(name)?;
            let from_files = (0..category.train.len().min(1))
                .any(|index| !category.train.sample(index).image_path.as_os_str().is_empty());
            // Generated images cannot be damaged, and each of several categories is decoded when
            // its runs begin.
            if self.only.is_some() || from_files {
                self.decode_category(&category, progress)?;
            }
        }
        if let Textures::Images(source) = &self.textures
            && plans.iter().any(|plan| plan.needs.textures)
        {
            let digest = self.decode(&[source.as_ref()], progress)?;
            self.keep_digest(None, digest);
        }
        Ok(())
    }

    /// A category, decoded as far as its cache holds it, so that no timing of a run has decoding in
    /// it. Where there is only one, [`Experiment::read_images`] has done that.
    ///
    /// # Errors
    /// [`ExperimentError::Dataset`], [`ExperimentError::Sample`], [`ExperimentError::Cancelled`].
    pub fn category(&self, name: &str, progress: &dyn Progress) -> Result<Category, ExperimentError> {
        let category = self.index(name)?;
        if self.only.is_none() {
            self.decode_category(&category, progress)?;
        }
        Ok(category)
    }

    fn decode_category(&self, category: &Category, progress: &dyn Progress) -> Result<(), ExperimentError> {
        let digest = self.decode(&[category.train.as_ref(), category.test.as_ref()], progress)?;
        self.keep_digest(Some(&category.name), digest);
        // A category is decoded before all runs, and again for its runs where there are several.
        if self.known_duplicates(&category.name).is_some() {
            return Ok(());
        }
        let found = duplicates(category, self.loader_threads(), &Unwatched(progress)).map_err(|source| {
            match source.downcast_ref::<DatasetError>() {
                Some(DatasetError::Cancelled) => ExperimentError::Cancelled,
                _ => ExperimentError::Sample { id: category.name.clone(), source },
            }
        })?;
        tell_duplicates(&found);
        let pairs = found.into_iter().map(|pair| [pair.first, pair.second]).collect();
        let mut duplicates = self.duplicates.lock().unwrap_or_else(PoisonError::into_inner);
        duplicates.insert(category.name.clone(), pairs);
        Ok(())
    }

    fn known_duplicates(&self, category: &str) -> Option<Vec<[String; 2]>> {
        let duplicates = self.duplicates.lock().unwrap_or_else(PoisonError::into_inner);
        duplicates.get(category).cloned()
    }

    /// SHA-256 over the names and contents of the files that the run of `plan` reads: those of its
    /// category, and the textures where its method needs them. Files that were decoded before are
    /// not read again.
    ///
    /// # Errors
    /// [`ExperimentError::Dataset`], [`ExperimentError::Read`], [`ExperimentError::Cancelled`].
    pub fn data_digest(&self, plan: &RunPlan, progress: &dyn Progress) -> Result<String, ExperimentError> {
        let name = plan.key.category.as_str();
        let threads = self.loader_threads();
        let of_category = match self.known_digest(Some(name)) {
            Some(known) => known,
            None => {
                let Category { train, test, .. } = self.index(name)?;
                let digest =
                    content::digest(&[train.as_ref(), test.as_ref()], threads, progress, |_, _| Ok(()))?;
                self.keep_digest(Some(name), digest)
            }
        };
        match &self.textures {
            Textures::Images(source) if plan.needs.textures => {
                let of_textures = match self.known_digest(None) {
                    Some(known) => known,
                    None => {
                        let digest = content::digest(&[source.as_ref()], threads, progress, |_, _| Ok(()))?;
                        self.keep_digest(None, digest)
                    }
                };
                Ok(content::bytes_sha256(format!("{of_category} {of_textures}").as_bytes()))
            }
            _ => Ok(of_category),
        }
    }

    fn known_digest(&self, category: Option<&str>) -> Option<String> {
        let digests = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        digests.get(&category.map(str::to_owned)).cloned()
    }

    fn keep_digest(&self, category: Option<&str>, digest: String) -> String {
        let mut digests = self.digests.lock().unwrap_or_else(PoisonError::into_inner);
        digests.insert(category.map(str::to_owned), digest.clone());
        digest
    }

    /// A category, of which nothing need be decoded yet.
    fn index(&self, name: &str) -> Result<Category, DatasetError> {
        match self.only.as_ref().filter(|category| category.name == name) {
            Some(only) => Ok(only.clone()),
            None => self.dataset.category(name, &self.preparation),
        }
    }

    /// Decodes every image and mask once: finds damaged files, and fills the sources' caches. Gives
    /// the digest of their files, which the system still holds in memory.
    fn decode(
        &self,
        sources: &[&dyn SampleSource],
        progress: &dyn Progress,
    ) -> Result<String, ExperimentError> {
        let large = OneLarge::default();
        content::digest(sources, self.loader_threads(), progress, |source, index| {
            let _alone = large.enter(source, index);
            let decoded = source.image(index).and_then(|_| source.mask(index));
            let id = || source.sample(index).id.clone();
            decoded.map(drop).map_err(|source| ExperimentError::Sample { id: id(), source })
        })
    }

    /// Peculiarities of the images of `category`, of which `evaluation` is.
    pub(crate) fn findings(
        &self,
        category: &Category,
        evaluation: &Evaluation,
    ) -> Result<Findings, ExperimentError> {
        let bits = category.train.bits();
        let bits = bits.map_err(|source| ExperimentError::Sample { id: category.name.clone(), source })?;
        let duplicates = self.known_duplicates(&category.name).unwrap_or_default();
        Ok(Findings { bits, duplicates, ..findings(category, evaluation, self.config.input.roi.as_deref()) })
    }

    /// The synthesizer of defects for the analysis of a run, with the textures that trainings
    /// have.
    ///
    /// # Errors
    /// [`ExperimentError::Method`].
    pub(crate) fn synthesizer(&self) -> Result<Synthesizer, ExperimentError> {
        synthesizer_of(self.textures.clone())
    }

    /// Fits the method of `plan`, one of [`Experiment::plans`], to `train`. With `keep` an
    /// interrupted fit goes on where it was.
    ///
    /// # Errors
    /// [`ExperimentError::Method`], [`ExperimentError::Cancelled`].
    pub fn fit(
        &self,
        plan: &RunPlan,
        train: &dyn SampleSource,
        keep: Option<&KeepTraining>,
        progress: &dyn Progress,
    ) -> Result<CalibratedFit, ExperimentError> {
        let RunKey { method, backbone, seed, .. } = &plan.key;
        let entry = method_entry(&self.registry, method)?;
        let settings = method_table(&self.registry, &self.config, method)?;
        let loaded = self.backbones.get(backbone);
        let backbone = match loaded {
            Some(loaded) => Arc::clone(loaded) as Arc<dyn Backbone>,
            // A plan of another experiment.
            None => {
                let known = self.registry.backbones().iter().map(|spec| spec.name).collect();
                return Err(ModelError::UnknownBackbone { name: backbone.clone(), known }.into());
            }
        };
        let context = RunContext {
            device: self.device.clone(),
            seed: *seed,
            preparation: self.preparation.clone(),
            backbone,
            textures: self.textures.clone(),
            loader_threads: self.loader_threads(),
            progress,
            kept: None,
        };
        fit_calibrated(entry, &settings, train, &context, self.config.calibration, keep)
    }
}

/// Every method with its settings; tables of methods that do not run are checked too.
fn methods(
    registry: &Registry,
    config: &ExperimentConfig,
) -> Result<BTreeMap<MethodId, Box<dyn Method>>, ExperimentError> {
    let names = config.methods.iter().chain(config.method.keys());
    let build = |name: &MethodId| {
        let entry = method_entry(registry, name)?;
        let method =
            (entry.build)(method_table(registry, config, name)?).map_err(ExperimentError::configuration)?;
        Ok((name.clone(), method))
    };
    names.map(build).collect()
}

/// Fingerprints of the data of runs, each computed once.
struct Fingerprints<'a> {
    categories: &'a [Category],
    textures: &'a Textures,
    known: HashMap<(String, bool), String>,
}

impl<'a> Fingerprints<'a> {
    fn of(categories: &'a [Category], textures: &'a Textures) -> Self {
        Self { categories, textures, known: HashMap::new() }
    }

    fn of_run(&mut self, category: &str, needs_textures: bool) -> String {
        let Self { categories, textures, known } = self;
        let key = (category.to_owned(), needs_textures);
        let compute = || {
            let mut sources: Vec<&dyn SampleSource> = Vec::new();
            if let Some(category) = categories.iter().find(|open| open.name == category) {
                sources.extend([category.train.as_ref(), category.test.as_ref()]);
            }
            if let (Textures::Images(source), true) = (textures, needs_textures) {
                sources.push(source.as_ref());
            }
            content::fingerprint(&sources)
        };
        known.entry(key).or_insert_with(compute).clone()
    }
}

fn check_backbone_names(registry: &Registry, config: &ExperimentConfig) -> Result<(), ExperimentError> {
    let names = config.backbones.iter().chain(config.weights.keys());
    for name in names {
        registry.backbone(name)?;
    }
    Ok(())
}

/// Checks that `backbone` takes images of the size `actual`. Its weights need not be there.
///
/// Both sides are multiples of the largest stride of its features, and of twice of it where it has
/// students: the bottleneck of a reverse path halves the coarsest features once more.
///
/// # Errors
/// [`ExperimentError::BackboneImageSize`].
pub fn check_image_size(backbone: &BackboneSpec, actual: ImageSize) -> Result<(), ExperimentError> {
    let largest = backbone.largest_side.unwrap_or(MAX_IMAGE_SIZE);
    let stride = backbone.strides.iter().copied().max().unwrap_or(1);
    let step = if backbone.has_students() { 2 * stride } else { stride };
    if [actual.height, actual.width].iter().all(|side| *side <= largest && side.is_multiple_of(step)) {
        return Ok(());
    }
    Err(ExperimentError::BackboneImageSize { backbone: backbone.name.to_owned(), step, largest, actual })
}

/// The configuration of the run `key`, but for what the data and the weights are found to be.
fn run_config(config: &ExperimentConfig, placing: Placing, key: &RunKey, method: Plan) -> RunConfig {
    // A path that does not resolve cannot be opened either; the record then has it as given.
    let absolute = |path: &std::path::PathBuf| path.canonicalize().unwrap_or_else(|_| path.clone());
    RunConfig {
        data: DataConfig {
            root: config.data_root.as_ref().map(absolute),
            image_size: config.image_size,
            placing,
            reading: config.input.reading(),
            ..DataConfig::default()
        },
        method: method.settings,
        stages: method.stages,
        weights: config.weights.get(&key.backbone).map(absolute),
        weights_sha256: None,
        // Not where it is f32, as runs from before there was a choice are.
        precision: (!config.precision.is_f32()).then(|| config.precision.name().to_owned()),
        calibration: (config.calibration.mode != CalibrationMode::Off).then(|| CalibrationRecord {
            mode: config.calibration.mode.to_string(),
            false_alarms: config.calibration.false_alarms,
        }),
        evaluation: config.evaluation,
        artefacts: ArtefactConfig {
            n_overlays: config.n_overlays,
            save_model: config.save_model,
            maps: config.export_maps,
        },
    }
}

/// A configuration as it comes back from a record: a number that changes in its text would make a
/// run differ from itself.
fn as_recorded(config: &RunConfig) -> Result<RunConfig, ExperimentError> {
    let text = serde_json::to_string(config).map_err(ExperimentError::Json)?;
    serde_json::from_str(&text).map_err(ExperimentError::Json)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_is_a_multiple_of_what_its_backbone_needs_and_of_nothing_else() {
        let registry = Registry::builtin();
        let check = |name: &str, height, width| {
            check_image_size(registry.backbone(name).unwrap(), ImageSize::new(height, width))
        };
        for (height, width) in [(32, 96), (160, 768), (2048, 256)] {
            assert!(check("tiny", height, width).is_ok(), "{height}x{width}");
        }
        let refused = check("tiny", 48, 96).unwrap_err();
        assert!(matches!(refused, ExperimentError::BackboneImageSize { step: 32, .. }), "{refused}");
        #[cfg(feature = "dinov2")]
        {
            for side in [224, 252, 336, 448, 518] {
                assert!(check("dinov2-small", side, 224).is_ok(), "{side}");
            }
            for side in [256, 320, 532] {
                let refused = check("dinov2-small", 224, side).unwrap_err();
                assert!(
                    matches!(refused, ExperimentError::BackboneImageSize { step: 14, largest: 518, .. }),
                    "{refused}"
                );
            }
        }
    }
}
