use std::collections::VecDeque;
use std::thread::JoinHandle;

use fmam_core::{Progress, StageId};
use fmam_inspection::{Calibration, Threshold};
use fmam_methods::Detector;

use crate::loading::{LoadedImage, Loader};
use crate::scoring::score;
use crate::workers::Workers;
use crate::{Error, Image, Verdict};

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
    loading: Option<JoinHandle<Vec<LoadedImage>>>,
    ready: VecDeque<Result<Verdict, Error>>,
    state: State,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    New,
    Running,
    Over,
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
        self.loading = Some(std::thread::spawn(move || loader.load_all(&batch, first, threads)));
    }

    /// Scores the batch that was decoded, while the next one is.
    fn score_next(&mut self) {
        let Some(loading) = self.loading.take() else { return };
        let loaded = loading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        self.load_next();
        let Scoring { detector, workers, progress } = self.scoring;
        let threshold = self.threshold;
        let is_large = loaded.iter().any(LoadedImage::is_large);
        workers.run(|| self.ready.extend(score(detector, threshold, progress, loaded)));
        if is_large {
            // The tiles had a progress of their own.
            progress.start(&StageId::SCORING, self.images.size_hint().0 as u64 + self.n_taken as u64);
        }
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
            if progress.cancelled() {
                self.state = State::Over;
                progress.finish();
                return Some(Err(Error::Cancelled));
            }
            self.score_next();
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
