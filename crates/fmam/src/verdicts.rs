use std::collections::VecDeque;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use fmam_core::{Progress, StageId};
use fmam_inspection::{Calibration, Threshold};
use fmam_methods::Detector;

use crate::loading::{LoadedImage, Loader};
use crate::scoring::score;
use crate::workers::Workers;
use crate::{Error, Image, Verdict};

/// Time between two questions whether the program wants to stop, while images are read.
const HEARTBEAT: Duration = Duration::from_millis(50);

/// Time after which the log tells that images are still being read.
const SILENCE: Duration = Duration::from_secs(30);

/// The verdicts on images, one by one in the order of the images; see
/// [`Session::predict`](crate::Session::predict). While a batch is scored, the next one is decoded:
/// memory holds two batches, however many images there are.
#[derive(Debug)]
pub struct Verdicts<'a, I> {
    images: I,
    scoring: Scoring<'a>,
    threshold: Option<Threshold>,
    loader: Loader,
    /// Images taken so far.
    n_taken: usize,
    loading: Option<Loading>,
    ready: VecDeque<Result<Verdict, Error>>,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    New,
    Running,
    Over,
}

/// A batch that a thread of its own decodes.
#[derive(Debug)]
struct Loading {
    thread: JoinHandle<()>,
    loaded: Receiver<Vec<LoadedImage>>,
}

impl Loading {
    fn begin(work: impl FnOnce() -> Vec<LoadedImage> + Send + 'static) -> Self {
        let (sender, loaded) = sync_channel(1);
        let thread = std::thread::spawn(move || {
            // Nobody takes the images of a program that stops.
            let _ = sender.send(work());
        });
        Self { thread, loaded }
    }

    /// The images; `None` where the program wants to stop before they are there. A file on a
    /// network that is gone can be read for ever, so the thread is left behind then.
    fn wait(self, progress: &dyn Progress) -> Option<Vec<LoadedImage>> {
        let (start, mut is_told) = (Instant::now(), false);
        loop {
            match self.loaded.recv_timeout(HEARTBEAT) {
                Ok(loaded) => return Some(loaded),
                Err(RecvTimeoutError::Timeout) if progress.cancelled() => return None,
                Err(RecvTimeoutError::Timeout) => {
                    if start.elapsed() >= SILENCE && !std::mem::replace(&mut is_told, true) {
                        tracing::warn!("images are still being read; their folder may not answer");
                    }
                }
                Err(RecvTimeoutError::Disconnected) => {
                    let ended = self.thread.join();
                    return ended
                        .map_or_else(|panic| std::panic::resume_unwind(panic), |()| Some(Vec::new()));
                }
            }
        }
    }
}

/// The surroundings of a verdict.
#[derive(Clone, Copy)]
pub(crate) struct Scoring<'a> {
    pub(crate) detector: &'a Detector,
    pub(crate) workers: &'a Workers,
    pub(crate) progress: &'a dyn Progress,
}

impl std::fmt::Debug for Scoring<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scoring").field("detector", self.detector).finish_non_exhaustive()
    }
}

impl<'a, I> Verdicts<'a, I> {
    pub(crate) fn new(images: I, scoring: Scoring<'a>) -> Self {
        let threshold = scoring.detector.calibration().map(Calibration::threshold);
        let (ready, state) = (VecDeque::new(), State::New);
        let loader = Loader::of(scoring.detector);
        Self { images, scoring, threshold, loader, n_taken: 0, loading: None, ready, state }
    }

    /// The verdicts by another threshold than that of the detector.
    #[must_use]
    pub fn at(mut self, threshold: Threshold) -> Self {
        self.threshold = Some(threshold);
        self
    }

    /// The verdicts with the images as they were given, for pictures in their size.
    #[must_use]
    pub fn with_originals(mut self) -> Self {
        self.loader = self.loader.with_originals();
        self
    }
}

impl<I: Iterator<Item: Into<Image>>> Verdicts<'_, I> {
    /// Begins to decode the next batch, where there is one.
    fn load_next(&mut self) {
        let first = self.n_taken;
        let batch_size = self.scoring.detector.batch_size();
        let batch: Vec<Image> = self.images.by_ref().take(batch_size).map(Into::into).collect();
        self.n_taken += batch.len();
        if batch.is_empty() {
            self.loading = None;
            return;
        }
        let (loader, threads) = (self.loader.clone(), self.scoring.workers.loaders);
        self.loading = Some(Loading::begin(move || loader.load_all(&batch, first, threads)));
    }

    /// Scores the batch that was decoded, while the next one is. False where the program wants to
    /// stop before that.
    fn score_next(&mut self) -> bool {
        let Scoring { detector, workers, progress } = self.scoring;
        if progress.cancelled() {
            return false;
        }
        let Some(loading) = self.loading.take() else { return true };
        let Some(loaded) = loading.wait(progress) else { return false };
        self.load_next();
        let threshold = self.threshold;
        let is_large = loaded.iter().any(LoadedImage::is_large);
        workers.run(|| self.ready.extend(score(detector, threshold, progress, loaded)));
        if is_large {
            // The tiles had a progress of their own.
            progress.start(&StageId::SCORING, self.images.size_hint().0 as u64 + self.n_taken as u64);
        }
        true
    }
}

impl<I: Iterator<Item: Into<Image>>> Iterator for Verdicts<'_, I> {
    type Item = Result<Verdict, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        let progress = self.scoring.progress;
        if self.state == State::New {
            progress.start(&StageId::SCORING, self.images.size_hint().0 as u64);
            self.state = State::Running;
            self.load_next();
        }
        if self.ready.is_empty() && self.state == State::Running {
            if !self.score_next() {
                self.state = State::Over;
                progress.finish();
                return Some(Err(Error::Cancelled));
            }
            match self.ready.back() {
                Some(Ok(Verdict { index, .. }) | Err(Error::Image { index, .. })) => {
                    progress.update(*index as u64 + 1, "");
                }
                Some(Err(_)) => {}
                None => {
                    self.state = State::Over;
                    progress.finish();
                }
            }
        }
        self.ready.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use fmam_core::Silent;

    use super::*;

    /// A program that wants to stop once it has been asked.
    #[derive(Default)]
    struct Stopping(AtomicBool);

    impl Progress for Stopping {
        fn start(&self, _: &StageId, _: u64) {}
        fn update(&self, _: u64, _: &str) {}
        fn finish(&self) {}
        fn cancelled(&self) -> bool {
            self.0.swap(true, Ordering::Relaxed)
        }
    }

    #[test]
    fn a_read_that_never_ends_keeps_no_program_from_stopping() {
        let (stuck, never) = sync_channel::<()>(0);
        let loading = Loading::begin(move || {
            let _ = never.recv();
            Vec::new()
        });
        assert!(loading.wait(&Stopping::default()).is_none());
        drop(stuck);
        assert!(Loading::begin(Vec::new).wait(&Silent).is_some());
        let panics = || Loading::begin(|| panic!("a bug")).wait(&Silent);
        assert!(std::panic::catch_unwind(panics).is_err());
    }
}
