use std::collections::VecDeque;
use std::thread::JoinHandle;

use fmam_core::{ImageSize, Progress, RgbImage, StageId, ordered_map};
use fmam_methods::{Detector, Prediction};

use crate::workers::Workers;
use crate::{Error, Image};

/// Images that are scored together.
const BATCH_SIZE: usize = 8;

/// A detector's verdict on one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Position of the image among those given, from 0.
    pub index: usize,
    /// The path of the image, or its name.
    pub name: String,
    /// The image in the detector's size.
    pub image: RgbImage,
    /// The score of the image and of each of its pixels.
    pub prediction: Prediction,
}

/// The verdicts on images, one by one in the order of the images; see
/// [`Session::predict`](crate::Session::predict). While a batch is scored, the next one is decoded:
/// memory holds two batches, however many images there are.
#[derive(Debug)]
pub struct Verdicts<'a, I> {
    images: I,
    scoring: Scoring<'a>,
    /// Images taken so far.
    n_taken: usize,
    loading: Option<JoinHandle<Vec<Loaded>>>,
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

/// An image on the way to its verdict.
#[derive(Debug)]
struct Loaded {
    index: usize,
    name: String,
    pixels: Result<RgbImage, Error>,
}

impl<'a, I> Verdicts<'a, I> {
    pub(crate) fn new(images: I, scoring: Scoring<'a>) -> Self {
        let (ready, state) = (VecDeque::new(), State::New);
        Self { images, scoring, n_taken: 0, loading: None, ready, state }
    }
}

impl<I: Iterator<Item: Into<Image>>> Verdicts<'_, I> {
    /// Begins to decode the next batch, where there is one.
    fn load_next(&mut self) {
        let first = self.n_taken;
        let batch: Vec<Image> = self.images.by_ref().take(BATCH_SIZE).map(Into::into).collect();
        self.n_taken += batch.len();
        if batch.is_empty() {
            self.loading = None;
            return;
        }
        let (size, threads) = (self.scoring.detector.image_size(), self.scoring.workers.loaders);
        self.loading = Some(std::thread::spawn(move || load(&batch, first, size, threads)));
    }

    /// Scores the batch that was decoded, while the next one is.
    fn score_next(&mut self) {
        let Some(loading) = self.loading.take() else { return };
        let loaded = loading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        self.load_next();
        self.scoring.workers.run(|| self.ready.extend(score(self.scoring.detector, loaded)));
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

/// Decodes `images`, the first of which is number `first`.
fn load(images: &[Image], first: usize, size: ImageSize, threads: usize) -> Vec<Loaded> {
    let mut loaded = Vec::with_capacity(images.len());
    let work = |index: usize| images[index].load(Some(size));
    let collected = ordered_map(images.len(), threads, images.len(), work, |at, pixels| {
        let index = first + at;
        let name = images[at].name().unwrap_or_else(|| format!("image {index}"));
        loaded.push(Loaded { index, name, pixels: pixels.map_err(Error::from) });
        Ok::<(), std::convert::Infallible>(())
    });
    match collected {
        Ok(()) => loaded,
    }
}

/// The verdicts on a batch. An image that cannot be scored does not keep the others from theirs.
fn score(detector: &Detector, loaded: Vec<Loaded>) -> Vec<Result<Verdict, Error>> {
    let pixels: Vec<RgbImage> =
        loaded.iter().filter_map(|image| image.pixels.as_ref().ok()).cloned().collect();
    let mut together = detector.score(&pixels).ok().map(Vec::into_iter);
    let verdict = |Loaded { index, name, pixels }: Loaded| {
        let failed = |name: &str, source: Error| Error::Image {
            index,
            name: name.to_owned(),
            source: Box::new(source),
        };
        let image = pixels.map_err(|error| failed(&name, error))?;
        // Where the batch failed, each image alone says whether the fault is its own.
        let prediction = match &mut together {
            Some(predictions) => predictions.next(),
            None => {
                let alone = detector.score(std::slice::from_ref(&image));
                alone.map_err(|error| failed(&name, error.into()))?.pop()
            }
        };
        let missing = || failed(&name, fmam_methods::MethodError::UndefinedScore { index: 0 }.into());
        let prediction = prediction.ok_or_else(missing)?;
        Ok(Verdict { index, name, image, prediction })
    };
    loaded.into_iter().map(verdict).collect()
}
