use std::path::Path;

use fmam_core::Progress;
use fmam_experiment::{Experiment, FinishedRuns};
use fmam_record::Shard;

use crate::Error;

/// A line for each run of `experiments`, or of the part `shard` of them: its number in the grid,
/// counted from 1, `finished` where the folder `out` has it done on a device like `device`, else
/// `pending`, and its folder. No file is written.
///
/// # Errors
/// As [`Experiment::finished`].
pub fn plan_lines(
    experiments: &[Experiment],
    out: &Path,
    device: &str,
    finished: FinishedRuns,
    shard: Option<Shard>,
    progress: &dyn Progress,
) -> Result<String, Error> {
    let runs =
        experiments.iter().flat_map(|experiment| experiment.plans().iter().map(move |p| (experiment, p)));
    let mut lines = String::new();
    for (k, (experiment, plan)) in runs.enumerate().filter(|(k, _)| shard.is_none_or(|shard| shard.has(*k))) {
        let is_finished = experiment.finished(out, plan, device, finished, progress)?.is_some();
        let state = if is_finished { "finished" } else { "pending" };
        lines += &format!("{} {state} {}\n", k + 1, plan.key.path());
    }
    Ok(lines)
}
