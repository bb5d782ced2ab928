use crate::StageId;

/// Receives the progress of long work from a library. The command line draws bars; libraries never
/// print. Implementations are called from one thread at a time but may be shared.
pub trait Progress: Send + Sync {
    /// The piece of work `stage` begins; `total` is the number of its steps.
    fn start(&self, stage: &StageId, total: u64);

    /// `done` of the current piece's steps are complete; `detail` is short and for a person (`loss
    /// 0.0123`).
    fn update(&self, done: u64, detail: &str);

    /// The current piece is complete.
    fn finish(&self);

    /// True if the user asked to stop. Long loops ask at every step and return an error of their
    /// own.
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
