use std::collections::VecDeque;
use std::path::PathBuf;
use std::thread::JoinHandle;
use std::time::Instant;

use fmam_core::{ImageSize, Progress, RgbImage, StageId, ordered_map};
use fmam_datasets::resize_image;
use fmam_inspection::{Calibration, Inspection, Look, Threshold, Warning};
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
    /// The file of the image; `None` for bytes and pixels.
    pub path: Option<PathBuf>,
    /// The image in the detector's size.
    pub image: RgbImage,
    /// The size of the image as it was given.
    pub original_size: ImageSize,
    /// The image as it was given, where [`Verdicts::with_originals`] asked for it.
    pub original: Option<RgbImage>,
    /// The score of the image and of each of its pixels.
    pub prediction: Prediction,
    /// Good or defective, and why; `None` for a detector that was not calibrated, without a
    /// threshold.
    pub inspection: Option<Inspection>,
    /// Traits of the image that no training image showed: the verdict may not hold for it.
    pub warnings: Vec<Warning>,
    /// The traits of the image that warnings go by; `None` for a detector that was not calibrated.
    pub look: Option<Look>,
    /// Seconds that decoding and scoring took; an image of a batch has its share.
    pub seconds: f64,
}

/// The verdicts on images, one by one in the order of the images; see
/// [`Session::predict`](crate::Session::predict). While a batch is scored, the next one is decoded:
/// memory holds two batches, however many images there are.
#[derive(Debug)]
pub struct Verdicts<'a, I> {
    images: I,
    scoring: Scoring<'a>,
    threshold: Option<Threshold>,
    keeps_originals: bool,
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
    path: Option<PathBuf>,
    pixels: Result<Pixels, Error>,
    seconds: f64,
}

#[derive(Debug)]
struct Pixels {
    /// In the detector's size.
    image: RgbImage,
    original_size: ImageSize,
    original: Option<RgbImage>,
}

impl<'a, I> Verdicts<'a, I> {
    pub(crate) fn new(images: I, scoring: Scoring<'a>) -> Self {
        let threshold = scoring.detector.calibration().map(Calibration::threshold);
        let (ready, state) = (VecDeque::new(), State::New);
        Self { images, scoring, threshold, keeps_originals: false, n_taken: 0, loading: None, ready, state }
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
        self.keeps_originals = true;
        self
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
        let keeps_originals = self.keeps_originals;
        let load = move || load(&batch, first, size, keeps_originals, threads);
        self.loading = Some(std::thread::spawn(load));
    }

    /// Scores the batch that was decoded, while the next one is.
    fn score_next(&mut self) {
        let Some(loading) = self.loading.take() else { return };
        let loaded = loading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        self.load_next();
        let (detector, threshold) = (self.scoring.detector, self.threshold);
        self.scoring.workers.run(|| self.ready.extend(score(detector, threshold, loaded)));
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
fn load(
    images: &[Image],
    first: usize,
    size: ImageSize,
    keeps_originals: bool,
    threads: usize,
) -> Vec<Loaded> {
    let mut loaded = Vec::with_capacity(images.len());
    let name = |at: usize| images[at].name().unwrap_or_else(|| format!("image {}", first + at));
    let work = |at: usize| {
        let start = Instant::now();
        let pixels = images[at].load(None).and_then(|original| {
            let original_size = original.size();
            let kept = keeps_originals.then(|| original.clone());
            let image = resize_image(original, name(at), size)?;
            Ok(Pixels { image, original_size, original: kept })
        });
        (pixels.map_err(Error::from), start.elapsed().as_secs_f64())
    };
    let collected = ordered_map(images.len(), threads, images.len(), work, |at, (pixels, seconds)| {
        let path = images[at].path().map(PathBuf::from);
        loaded.push(Loaded { index: first + at, name: name(at), path, pixels, seconds });
        Ok::<(), std::convert::Infallible>(())
    });
    match collected {
        Ok(()) => loaded,
    }
}

/// The verdicts on a batch. An image that cannot be scored does not keep the others from theirs.
fn score(
    detector: &Detector,
    threshold: Option<Threshold>,
    loaded: Vec<Loaded>,
) -> Vec<Result<Verdict, Error>> {
    let start = Instant::now();
    let images: Vec<RgbImage> = loaded
        .iter()
        .filter_map(|image| image.pixels.as_ref().ok())
        .map(|pixels| pixels.image.clone())
        .collect();
    let mut together = detector.score(&images).ok().map(Vec::into_iter);
    let share = start.elapsed().as_secs_f64() / images.len().max(1) as f64;
    let calibration = detector.calibration();
    let verdict = |Loaded { index, name, path, pixels, seconds }: Loaded| {
        let failed = |name: &str, source: Error| Error::Image {
            index,
            name: name.to_owned(),
            source: Box::new(source),
        };
        let Pixels { image, original_size, original } = pixels.map_err(|error| failed(&name, error))?;
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
        let inspection = threshold.map(|threshold| {
            let Prediction { image_score, anomaly_map } = &prediction;
            Inspection::new(threshold, calibration, *image_score, anomaly_map, original_size)
        });
        let profile = calibration.and_then(Calibration::images);
        let look = profile.map(|_| Look::of(&image, Some(original_size)));
        let warnings = profile.zip(look.as_ref()).map(|(profile, look)| profile.warnings(look));
        let warnings = warnings.unwrap_or_default();
        let seconds = seconds + share;
        Ok(Verdict {
            index,
            name,
            path,
            image,
            original_size,
            original,
            prediction,
            inspection,
            warnings,
            look,
            seconds,
        })
    };
    loaded.into_iter().map(verdict).collect()
}
