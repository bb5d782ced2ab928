use std::collections::HashSet;
use std::path::Path;
use std::time::{Duration, Instant};

use fmam_core::{Label, Progress, SampleSource, Seed, Silent, with_causes};
use fmam_datasets::Category;
use fmam_methods::Detector;
use fmam_record::{
    Artefacts, GridList, ImageRecord, MAPS_DIR, MAPS_FILE, MODEL_DIR, MapExport, OVERLAYS_DIR, OutputFolder,
    RUN_RECORD_SCHEMA, RunKey, RunRecord, Shard,
};

use crate::exhibits::overlay_name;
use crate::{
    Artist, CalibratedFit, DoubtfulRun, Evaluation, Evaluator, Experiment, ExperimentError, FinishedRuns,
    KeepTraining, RunPlan, analyze, exhibited, exhibits, export_map, host,
};

/// Who follows a grid: its runs, and within a run, as [`Progress`], its stages.
pub trait GridObserver: Progress {
    /// A run begins.
    fn run_started(&self, plan: &RunPlan);

    /// A run is done and its record is on disk, or it failed.
    fn run_finished(&self, plan: &RunPlan, result: Result<&RunRecord, &ExperimentError>);
}

impl GridObserver for Silent {
    fn run_started(&self, _plan: &RunPlan) {}
    fn run_finished(&self, _plan: &RunPlan, _result: Result<&RunRecord, &ExperimentError>) {}
}

/// How a grid came out.
#[derive(Debug, Default)]
pub struct GridOutcome {
    /// Runs that finished now.
    pub n_finished: usize,
    /// Runs that failed now, and why.
    pub failed: Vec<(RunKey, ExperimentError)>,
}

/// The runs of some experiments that an output folder lacks. No other grid can have the folder
/// until this one is dropped.
#[derive(Debug)]
pub struct Grid<'a> {
    out: OutputFolder,
    /// Each experiment with those of its runs that are to do.
    pending: Vec<(&'a Experiment, Vec<&'a RunPlan>)>,
    doubtful: Vec<DoubtfulRun>,
    /// The time between two writings of the state of a training; `None` keeps none.
    keep_every: Option<Duration>,
}

impl<'a> Grid<'a> {
    /// Looks up in `out` which runs are finished, and removes what an interrupted process left of
    /// the others. `finished` says what becomes of the finished ones; `progress` follows the
    /// reading of data that do not look as they did, see [`Experiment::finished`].
    ///
    /// # Errors
    /// [`ExperimentError::RepeatedRun`] when two experiments have the same run;
    /// [`ExperimentError::Record`] when `out` cannot be written or another process has it; and as
    /// [`Experiment::finished`] for a finished run that cannot be taken for one of this experiment.
    pub fn new(
        experiments: &'a [Experiment],
        out: &Path,
        finished: FinishedRuns,
        progress: &dyn Progress,
    ) -> Result<Self, ExperimentError> {
        let out = OutputFolder::open(out)?;
        let mut keys = HashSet::new();
        let mut plans = experiments.iter().flat_map(Experiment::plans);
        if let Some(plan) = plans.find(|plan| !keys.insert(&plan.key)) {
            return Err(ExperimentError::RepeatedRun { key: plan.key.clone() });
        }
        let (mut pending, mut doubtful) = (Vec::with_capacity(experiments.len()), Vec::new());
        for experiment in experiments {
            let device = experiment.device_name();
            let mut plans = Vec::new();
            for plan in experiment.plans() {
                match experiment.finished(out.path(), plan, &device, finished, progress)? {
                    None => plans.push(plan),
                    Some(doubts) => doubtful
                        .extend(doubts.into_iter().map(|doubt| DoubtfulRun { key: plan.key.clone(), doubt })),
                }
            }
            pending.push((experiment, plans));
        }
        Ok(Self { out, pending, doubtful, keep_every: Some(KeepTraining::EVERY) })
    }

    /// The output folder.
    pub fn out(&self) -> &OutputFolder {
        &self.out
    }

    /// The finished runs that are kept although they may not be what this program would make of
    /// them.
    pub fn doubtful(&self) -> &[DoubtfulRun] {
        &self.doubtful
    }

    /// Writes into the output folder that it has the part `shard` of the grid.
    ///
    /// # Errors
    /// [`ExperimentError::Record`].
    pub fn write_shard(&self, shard: Shard) -> Result<(), ExperimentError> {
        let plans = self.pending.iter().flat_map(|(experiment, _)| experiment.plans());
        Ok(self.out.write_grid(&GridList { shard, runs: plans.map(|plan| plan.key.path()).collect() })?)
    }

    /// Keeps the state of trainings each time that `every` has passed; [`KeepTraining::EVERY`]
    /// without it, never with `None`. An interrupted run goes on from what is kept.
    #[must_use]
    pub fn keeping(self, every: Option<Duration>) -> Self {
        Self { keep_every: every, ..self }
    }

    /// Leaves out the runs that another part of the grid does.
    pub fn only(mut self, shard: Shard) -> Self {
        let mut position = 0;
        for (experiment, plans) in &mut self.pending {
            let mut own = HashSet::new();
            for plan in experiment.plans() {
                if shard.has(position) {
                    own.insert(&plan.key);
                }
                position += 1;
            }
            plans.retain(|plan| own.contains(&plan.key));
        }
        self
    }

    /// The runs to do, in order.
    pub fn pending(&self) -> Vec<&'a RunPlan> {
        self.pending.iter().flat_map(|(_, plans)| plans).copied().collect()
    }

    /// Reads their images, then does them. A run that fails is reported and does not keep the
    /// others from being done.
    ///
    /// # Errors
    /// As [`Experiment::read_images`], before any run; [`ExperimentError::Cancelled`] when the user
    /// stopped it, finished runs stay.
    pub fn run(
        &self,
        artist: &dyn Artist,
        observer: &dyn GridObserver,
    ) -> Result<GridOutcome, ExperimentError> {
        for (experiment, plans) in &self.pending {
            experiment.read_images(plans, observer)?;
        }
        let mut outcome = GridOutcome::default();
        for (experiment, plans) in &self.pending {
            // Neighbours share the category, and with it the images that are decoded already.
            let mut category: Option<Category> = None;
            for plan in plans {
                if observer.cancelled() {
                    return Err(ExperimentError::Cancelled);
                }
                observer.run_started(plan);
                let result = self.run_one(experiment, plan, &mut category, artist, observer);
                if let Err(error) = &result
                    && error.is_cancelled()
                {
                    return Err(ExperimentError::Cancelled);
                }
                observer.run_finished(plan, result.as_ref());
                match result {
                    Ok(_) => outcome.n_finished += 1,
                    Err(error) => outcome.failed.push((plan.key.clone(), error)),
                }
            }
        }
        if outcome.failed.is_empty() {
            // A run that this grid has no more may have left a state, too.
            KeepTraining::remove_all_within(self.out.path())?;
        }
        Ok(outcome)
    }

    fn run_one(
        &self,
        experiment: &Experiment,
        plan: &RunPlan,
        open: &mut Option<Category>,
        artist: &dyn Artist,
        observer: &dyn GridObserver,
    ) -> Result<RunRecord, ExperimentError> {
        let started_at = host::unix_seconds();
        let category = match open.take().filter(|category| category.name == plan.key.category) {
            Some(category) => category,
            None => experiment.category(&plan.key.category, observer)?,
        };
        let opened: &Category = open.insert(category);
        let Category { train, test, .. } = opened;

        let new = self.out.begin_run()?;
        host::reset_peak_rss();
        let start = Instant::now();
        let keep = |every| KeepTraining::within(self.out.path(), plan.key.path().as_bytes()).every(every);
        let keep = self.keep_every.map(keep);
        let CalibratedFit { fitted, earlier } =
            experiment.fit(plan, train.as_ref(), keep.as_ref(), observer)?;
        let fit_seconds = (earlier + start.elapsed()).as_secs_f64();
        let loader_threads = experiment.loader_threads();
        let config = experiment.config();
        let category = &plan.key.category;
        let evaluator = Evaluator {
            metrics: experiment.registry().metrics(),
            config: config.evaluation,
            folder: new.dir(),
            loader_threads,
            progress: observer,
        };
        let dir = new.dir().join(MAPS_DIR);
        let mut export = config.export_maps.map(|layout| MapExport::new(layout, &dir, category));
        let evaluation = evaluator.evaluate(&fitted.detector, test.as_ref(), |index, _, map| {
            let export = export.as_mut().map(|export| export_map(export, test.as_ref(), index, map));
            export.transpose().map(drop)
        })?;

        let images = draw_overlays(
            config.n_overlays,
            &fitted.detector,
            test.as_ref(),
            &evaluation,
            new.dir(),
            artist,
        )?;
        if config.save_model {
            fitted.detector.save(&new.dir().join(MODEL_DIR))?;
        }
        let peak_rss_bytes = host::peak_rss_bytes();
        let synthesizer = experiment.synthesizer()?;
        let seed = analysis_seed(plan.key.seed);
        let (detector, test_split) = (&fitted.detector, test.as_ref());
        let analysis =
            match analyze(detector, test_split, &evaluation, &synthesizer, seed, loader_threads, observer) {
                Ok(analysis) => Some(analysis),
                Err(error) if error.is_cancelled() => return Err(error),
                // The training must not be lost for it.
                Err(error) => {
                    tracing::warn!(run = %plan.key, "the run has no analysis: {}", with_causes(&error));
                    None
                }
            };
        let findings = experiment.findings(opened, &evaluation)?;
        let count = |label| (0..test.len()).filter(|&index| test.sample(index).label == label).count();
        let RunKey { dataset, category, method, backbone, seed } = plan.key.clone();
        let mut run_config = plan.config.clone();
        run_config.data.sha256 = Some(experiment.data_digest(plan, observer)?);
        let keeps_maps = run_config.artefacts.keeps_maps();
        let record = RunRecord {
            schema: RUN_RECORD_SCHEMA,
            dataset,
            category,
            method,
            backbone,
            seed,
            device: experiment.device_name(),
            image_size: config.image_size,
            n_train: train.len(),
            n_test_normal: count(Label::Normal),
            n_test_anomalous: count(Label::Anomalous),
            metrics: evaluation.metrics,
            decision: evaluation.decision,
            fit_seconds,
            score_images_per_second: evaluation.images_per_second,
            peak_rss_bytes,
            started_at,
            config: run_config,
            versions: host::versions_on(experiment.device()),
            curve: fitted.curve,
            pixels: evaluation.pixels,
            analysis,
            findings,
            artefacts: Artefacts {
                model: config.save_model.then(|| MODEL_DIR.to_owned()),
                maps: keeps_maps.then(|| MAPS_FILE.to_owned()),
                images,
            },
        };
        new.finish(&record, &evaluation.small_maps)?;
        keep.map_or(Ok(()), |keep| keep.remove())?;
        Ok(record)
    }
}

/// The seed of the analysis of a run.
pub(crate) fn analysis_seed(run: Seed) -> Seed {
    run.derive("analysis")
}

/// Draws the exhibits and lists every test image with its score.
fn draw_overlays(
    n_overlays: usize,
    detector: &Detector,
    test: &dyn SampleSource,
    evaluation: &Evaluation,
    dir: &Path,
    artist: &dyn Artist,
) -> Result<Vec<ImageRecord>, ExperimentError> {
    let path = |index: usize| format!("{OVERLAYS_DIR}/{}", overlay_name(index, test.sample(index)));
    let chosen = exhibits(test, &evaluation.image_scores, n_overlays);
    for index in &chosen {
        // One at a time: images in their own size are large.
        let exhibits = exhibited(detector, test, &[*index], |index| dir.join(path(index)))?;
        artist.draw(evaluation.colour_range, &exhibits).map_err(ExperimentError::Overlays)?;
    }
    Ok(evaluation
        .image_scores
        .iter()
        .enumerate()
        .map(|(index, &image_score)| {
            let sample = test.sample(index);
            ImageRecord {
                sample: sample.id.clone(),
                label: sample.label,
                defect_type: sample.defect_type.clone(),
                image_score,
                path: chosen.contains(&index).then(|| path(index)),
            }
        })
        .collect())
}
