use fmam_experiment::{Doubt, DoubtfulRun};
use fmam_record::RunKey;

/// Finished runs that are kept with the same doubt.
#[derive(Debug, Clone)]
pub struct DoubtfulRuns<'a> {
    /// The doubt.
    pub doubt: &'a Doubt,
    /// The number of the runs.
    pub n: usize,
    /// The first of them.
    pub first: &'a RunKey,
}

/// Doubtful runs by their doubt, each doubt once, in the order of the runs.
pub(super) fn group_doubts(runs: &[DoubtfulRun]) -> Vec<DoubtfulRuns<'_>> {
    let mut groups: Vec<DoubtfulRuns<'_>> = Vec::new();
    for DoubtfulRun { key, doubt } in runs {
        match groups.iter_mut().find(|group| group.doubt == doubt) {
            Some(group) => group.n += 1,
            None => groups.push(DoubtfulRuns { doubt, n: 1, first: key }),
        }
    }
    groups
}
