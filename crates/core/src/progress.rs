use crate::StageId;

/// Where a library tells how far a long piece of work has come. The command line draws bars from
/// it; libraries never print. Implementations are called from one thread at a time but may be
/// shared.
pub trait Progress: Send + Sync {
    /// The piece of work `stage` begins; `total` is the number of its steps.
    fn start(&self, stage: &StageId, total: u64);

    /// `done` of the current piece's steps are complete; `detail` is short and for a person (`loss
    /// 0.0123`).
    fn update(&self, done: u64, detail: &str);

    /// The current piece is complete.
    fn finish(&self);

    /// Whether the user asked to stop. Long loops look at it at every step and return their own
    /// error.
    fn cancelled(&self) -> bool {
        false
    }
}

impl<P: Progress + ?Sized> Progress for std::sync::Arc<P> {
    fn start(&self, stage: &StageId, total: u64) {
        (**self).start(stage, total);
    }

    fn update(&self, done: u64, detail: &str) {
        (**self).update(done, detail);
    }

    fn finish(&self) {
        (**self).finish();
    }

    fn cancelled(&self) -> bool {
        (**self).cancelled()
    }
}

/// A [`Progress`] that nobody watches.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn start(&self, _stage: &StageId, _total: u64) {}
    fn update(&self, _done: u64, _detail: &str) {}
    fn finish(&self) {}
}
