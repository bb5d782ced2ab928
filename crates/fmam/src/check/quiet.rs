use tracing::subscriber::{NoSubscriber, with_default};

/// Does `work` without its warnings: a check counts what they tell one by one.
pub(super) fn quiet<R>(work: impl FnOnce() -> R) -> R {
    with_default(NoSubscriber::default(), work)
}
