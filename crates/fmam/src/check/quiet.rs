use fmam_datasets::{Told, telling};
use tracing::subscriber::{NoSubscriber, with_default};

/// Does `work` without its warnings.
pub(super) fn quiet<R>(work: impl FnOnce() -> R) -> R {
    with_default(NoSubscriber::default(), work)
}

/// Does `work` without its warnings, and gives the choices that they tell: a check makes findings
/// of them.
pub(super) fn hearing<R>(work: impl FnOnce() -> R) -> (R, Vec<Told>) {
    telling(|| quiet(work))
}
