use std::path::Path;

use fmam_core::{SampleSource, Seed};
use fmam_experiment::{ExperimentError, Revisit, analyze};
use fmam_methods::Detector;
use fmam_record::{Analysis, EvaluationConfig, RunRecord};
use fmam_synthesis::{SynthesisConfig, Synthesizer};
use serde_json::{Map, Value};

use crate::image::PreparedSource;
use crate::{Error, Session, textures};

/// Analyses a detector on a test split of images of its size: what feature mapping does to its
/// features, and how far apart the scores of the classes lie. `seed` is the origin of the synthetic
/// defects, with textures of `data_root` where it has any, and of the choice of positions.
///
/// # Errors
/// [`Error::Experiment`] as [`Session::evaluate`], [`Error::Cancelled`].
pub fn analyze_detector(
    session: &Session,
    detector: &Detector,
    test: &dyn SampleSource,
    data_root: Option<&Path>,
    seed: u64,
) -> Result<Analysis, Error> {
    let textures = textures(data_root, detector.image_size())?;
    let synthesizer = Synthesizer::new(SynthesisConfig::default(), textures)?;
    let seed = Seed::new(seed).derive("analysis");
    let (threads, progress) = (session.loader_threads(), session.progress());
    let folder = std::env::temp_dir();
    let prepared = PreparedSource::new(test, &detector.card().preparation());
    let test: &dyn SampleSource = &prepared;
    session.on_threads(|| {
        let evaluator = session.evaluator(EvaluationConfig::default(), &folder);
        let evaluation = evaluator.evaluate(detector, test, |_, _, _| Ok(()))?;
        Ok(analyze(detector, test, &evaluation, &synthesizer, seed, threads, progress)?)
    })
}

/// The analyses of `records` by the keys of their runs.
///
/// # Errors
/// [`Error::Json`].
pub fn analyses_json(records: &[RunRecord]) -> Result<Map<String, Value>, Error> {
    let entry = |run: &RunRecord| Some((run.key().path(), serde_json::to_value(run.analysis.as_ref()?)));
    records.iter().filter_map(entry).map(|(key, value)| Ok((key, value?))).collect()
}

/// The outcome of [`analyze_runs`] for one run.
#[derive(Debug)]
pub enum Revisited {
    /// The analysis was added to the record.
    Analysed,
    /// The run kept no model, so it stays as it is.
    NoModel,
    /// The run could not be analysed.
    Failed(ExperimentError),
}

/// Adds to each of `records`, those of the folder `out`, what it lacks: analysis, curves and maps;
/// with `overwrite` to all of them. The data set lies in `data_root` where it does not lie where it
/// lay then. `told` hears of each run when it is done.
///
/// # Errors
/// [`Error::Cancelled`]. A run that fails does not keep the others from being analysed.
pub fn analyze_runs(
    session: &Session,
    out: &Path,
    data_root: Option<&Path>,
    records: &[RunRecord],
    overwrite: bool,
    mut told: impl FnMut(&RunRecord, Revisited),
) -> Result<(), Error> {
    let revisit = Revisit {
        registry: session.registry(),
        data_root,
        device: session.device(),
        loader_threads: session.loader_threads(),
    };
    let lacks_maps = |run: &RunRecord| run.artefacts.maps.is_none() && run.config.artefacts.keeps_maps();
    let lacks = |run: &RunRecord| run.analysis.is_none() || lacks_maps(run);
    for record in records.iter().filter(|run| overwrite || lacks(run)) {
        let outcome = match session.on_threads(|| revisit.run(out, record, session.progress())) {
            Ok(Some(_)) => Revisited::Analysed,
            Ok(None) => Revisited::NoModel,
            Err(error) if error.is_cancelled() => return Err(Error::Cancelled),
            Err(error) => Revisited::Failed(error),
        };
        told(record, outcome);
    }
    Ok(())
}
