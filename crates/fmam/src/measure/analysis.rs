use std::path::Path;

use fmam_core::{Progress, SampleSource, Seed};
use fmam_experiment::{ExperimentError, Revisit, analyze, evaluate};
use fmam_methods::Detector;
use fmam_record::{Analysis, RunRecord};
use fmam_synthesis::{SynthesisConfig, Synthesizer, Textures};

use crate::Error;

/// Analyses a detector on a test split of images of its size: what feature mapping does to its
/// features, and how far apart the scores of the classes lie. `seed` is the origin of the synthetic
/// defects, which have `textures`, and of the choice of positions.
///
/// # Errors
/// [`Error::Experiment`] as [`evaluate`], [`Error::Cancelled`].
pub fn analyze_detector(
    detector: &Detector,
    test: &dyn SampleSource,
    textures: Textures,
    seed: u64,
    loader_threads: usize,
    progress: &dyn Progress,
) -> Result<Analysis, Error> {
    let synthesizer = Synthesizer::new(SynthesisConfig::default(), textures)?;
    let seed = Seed::new(seed).derive("analysis");
    let evaluation = evaluate(detector, test, loader_threads, progress)?;
    Ok(analyze(detector, test, &evaluation, &synthesizer, seed, loader_threads, progress)?)
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
/// with `overwrite` to all of them. `told` hears of each run when it is done.
///
/// # Errors
/// [`Error::Cancelled`]. A run that fails does not keep the others from being analysed.
pub fn analyze_runs(
    revisit: &Revisit<'_>,
    out: &Path,
    records: &[RunRecord],
    overwrite: bool,
    progress: &dyn Progress,
    mut told: impl FnMut(&RunRecord, Revisited),
) -> Result<(), Error> {
    let lacks_maps = |run: &RunRecord| run.artefacts.maps.is_none() && run.config.artefacts.keeps_maps();
    let lacks = |run: &RunRecord| run.analysis.is_none() || lacks_maps(run);
    for record in records.iter().filter(|run| overwrite || lacks(run)) {
        let outcome = match revisit.run(out, record, progress) {
            Ok(Some(_)) => Revisited::Analysed,
            Ok(None) => Revisited::NoModel,
            Err(error) if error.is_cancelled() => return Err(Error::Cancelled),
            Err(error) => Revisited::Failed(error),
        };
        told(record, outcome);
    }
    Ok(())
}
