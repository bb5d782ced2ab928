use fmam_core::{Progress, StageId};

/// The progress of work that is a part of other work: it hears of a request to stop and shows
/// nothing.
pub(crate) struct Unwatched<'a>(pub(crate) &'a dyn Progress);

impl Progress for Unwatched<'_> {
    fn start(&self, _stage: &StageId, _total: u64) {}
    fn update(&self, _done: u64, _detail: &str) {}
    fn finish(&self) {}

    fn cancelled(&self) -> bool {
        self.0.cancelled()
    }
}
