use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Instant;

use fmam_core::{AnomalyMap, Frame, ImageSize, Mask, Preparation, Progress, RgbImage, StageId, ordered_map};
use fmam_datasets::{DatasetError, Prepared, Regions, image_size, prepare_image, resize_image};
use fmam_inspection::{Calibration, Inspection, Look, Region, Threshold, Warning, regions};
use fmam_methods::{Detector, Prediction};
use fmam_record::without_padding;

use crate::large::{LARGE, Scanned, scan_file};
use crate::workers::Workers;
use crate::{Error, Image};

/// A detector's verdict on one image.
#[derive(Debug, Clone, PartialEq)]
pub struct Verdict {
    /// Position of the image among those given, from 0.
    pub index: usize,
    /// The path of the image, or its name.
    pub name: String,
    /// The file of the image; `None` for bytes and pixels.
    pub path: Option<PathBuf>,
    /// The image in the detector's size; for a detector with tiles in its own size, reduced by
    /// [`Verdict::reduction`].
    pub image: RgbImage,
    /// The size of the image as it was given.
    pub original_size: ImageSize,
    /// Pixels of the image as it was given along each side of a pixel of `image` and of the map,
    /// where the image is too large to be held in memory; 1 for every other image.
    pub reduction: usize,
    /// The place of the image as it was given within `image`.
    pub frame: Frame,
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
    /// The regions of interest of the images.
    regions: Arc<Regions>,
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
enum Pixels {
    /// The pixels, as the detector sees them, and the image as it was given where it is kept.
    Whole(Prepared, Option<RgbImage>),
    /// An image file that is scored while it is read.
    Large(PathBuf, ImageSize),
}

impl<'a, I> Verdicts<'a, I> {
    pub(crate) fn new(images: I, scoring: Scoring<'a>) -> Self {
        let threshold = scoring.detector.calibration().map(Calibration::threshold);
        let (ready, state) = (VecDeque::new(), State::New);
        let preparation = scoring.detector.card().preparation();
        let regions = Arc::new(Regions::new(&preparation.region, preparation.reading.max_bytes));
        Self {
            images,
            scoring,
            threshold,
            keeps_originals: false,
            regions,
            n_taken: 0,
            loading: None,
            ready,
            state,
        }
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
        let preparation = self.scoring.detector.card().preparation();
        let batch_size = self.scoring.detector.batch_size();
        let batch: Vec<Image> = self.images.by_ref().take(batch_size).map(Into::into).collect();
        self.n_taken += batch.len();
        if batch.is_empty() {
            self.loading = None;
            return;
        }
        let (keeps_originals, threads) = (self.keeps_originals, self.scoring.workers.loaders);
        let loader = Loader { preparation, regions: Arc::clone(&self.regions), keeps_originals };
        self.loading = Some(std::thread::spawn(move || loader.load(&batch, first, threads)));
    }

    /// Scores the batch that was decoded, while the next one is.
    fn score_next(&mut self) {
        let Some(loading) = self.loading.take() else { return };
        let loaded = loading.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        self.load_next();
        let Scoring { detector, workers, progress } = self.scoring;
        let threshold = self.threshold;
        let is_large = loaded.iter().any(|image| matches!(image.pixels, Ok(Pixels::Large(..))));
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

/// The way from images to what the detector sees.
struct Loader {
    preparation: Preparation,
    regions: Arc<Regions>,
    keeps_originals: bool,
}

impl Loader {
    /// Decodes `images`, the first of which is number `first`.
    fn load(&self, images: &[Image], first: usize, threads: usize) -> Vec<Loaded> {
        let mut loaded = Vec::with_capacity(images.len());
        let name = |at: usize| images[at].name().unwrap_or_else(|| format!("image {}", first + at));
        let work = |at: usize| {
            let start = Instant::now();
            let pixels = self.pixels(&images[at], &name(at));
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

    fn pixels(&self, image: &Image, name: &str) -> Result<Pixels, DatasetError> {
        if let (Some(_), Some(path)) = (self.preparation.tile_overlap(), image.path()) {
            let size = image_size(path)?;
            if size.pixels() > LARGE {
                return Ok(Pixels::Large(path.to_owned(), size));
            }
        }
        let original = image.read(name, &self.preparation.reading)?;
        let region = self.regions.of(image.path().unwrap_or(Path::new(name)), original.size())?;
        let kept = self.keeps_originals.then(|| original.clone());
        Ok(Pixels::Whole(prepare_image(original, name, &self.preparation, region.as_ref())?, kept))
    }
}

/// A scored image.
struct Scored {
    image: RgbImage,
    original: Option<RgbImage>,
    frame: Frame,
    reduction: usize,
    prediction: Prediction,
    /// The places above the contour, where they are known already.
    regions: Option<Vec<Region>>,
    /// The pixels that count; `None` where all do.
    inside: Option<Mask>,
}

/// The verdicts on a batch. An image that cannot be scored does not keep the others from theirs.
fn score(
    detector: &Detector,
    threshold: Option<Threshold>,
    progress: &dyn Progress,
    loaded: Vec<Loaded>,
) -> Vec<Result<Verdict, Error>> {
    let start = Instant::now();
    let whole = |image: &Loaded| match &image.pixels {
        Ok(Pixels::Whole(prepared, _)) => Some((prepared.image.clone(), prepared.inside.clone())),
        Ok(Pixels::Large(..)) | Err(_) => None,
    };
    let (images, insides): (Vec<RgbImage>, Vec<Option<Mask>>) = loaded.iter().filter_map(whole).unzip();
    let mut together = detector.score_within(&images, &insides).ok().map(Vec::into_iter);
    let share = start.elapsed().as_secs_f64() / images.len().max(1) as f64;
    let mut scored = |pixels: Pixels| -> Result<Scored, Error> {
        match pixels {
            Pixels::Large(path, size) => {
                let Scanned { prediction, image, reduction, regions } =
                    scan_file(detector, &path, threshold, progress)?;
                let (frame, regions) = (Frame::filling(size, image.size()), Some(regions));
                Ok(Scored { image, original: None, frame, reduction, prediction, regions, inside: None })
            }
            Pixels::Whole(Prepared { image, inside, frame, .. }, original) => {
                // A failed batch is scored image by image: only the image at fault has an error.
                let prediction = match &mut together {
                    Some(predictions) => predictions.next(),
                    None => detector
                        .score_within(std::slice::from_ref(&image), std::slice::from_ref(&inside))?
                        .pop(),
                };
                let prediction = prediction.ok_or(fmam_methods::MethodError::UndefinedScore { index: 0 })?;
                Ok(Scored { image, original, frame, reduction: 1, prediction, regions: None, inside })
            }
        }
    };
    let calibration = detector.calibration();
    let verdict = |Loaded { index, name, path, pixels, seconds }: Loaded| {
        let start = Instant::now();
        let scored = pixels.and_then(&mut scored).map_err(|source| Error::Image {
            index,
            name: name.clone(),
            source: Box::new(source),
        })?;
        let Scored { image, original, frame, reduction, prediction, regions, inside } = scored;
        let original_size = frame.original;
        let inspection = threshold.map(|threshold| {
            let Prediction { image_score, anomaly_map } = &prediction;
            let regions =
                regions.unwrap_or_else(|| regions_inside(anomaly_map, inside.as_ref(), threshold, &frame));
            Inspection::with_regions(threshold, calibration, *image_score, regions)
        });
        let profile = calibration.and_then(Calibration::images);
        let look = profile.map(|_| look_of(&image, &frame, detector.image_size()));
        let warnings = profile.zip(look.as_ref()).map(|(profile, look)| profile.warnings(look));
        let warnings = warnings.unwrap_or_default();
        let own = if reduction > 1 { start.elapsed().as_secs_f64() } else { share };
        Ok(Verdict {
            index,
            name,
            path,
            image,
            original_size,
            reduction,
            frame,
            original,
            prediction,
            inspection,
            warnings,
            look,
            seconds: seconds + own,
        })
    };
    loaded.into_iter().map(verdict).collect()
}

/// The places above the contour, in pixels of the image as it was given. Padding is cut off, and
/// pixels that do not count are in no place.
fn regions_inside(
    map: &AnomalyMap,
    inside: Option<&Mask>,
    threshold: Threshold,
    frame: &Frame,
) -> Vec<Region> {
    let counted = inside.and_then(|inside| {
        let score = |(score, counts): (&f32, &u8)| if *counts == 1 { *score } else { f32::NEG_INFINITY };
        let scores = map.data().iter().zip(inside.data()).map(score).collect();
        AnomalyMap::new(map.size(), scores).ok()
    });
    let map = counted.as_ref().unwrap_or(map);
    let content = without_padding(map, frame);
    regions(content.as_ref().unwrap_or(map), threshold.contour, frame.original)
}

/// The look of an image in the size that training images were compared in.
fn look_of(image: &RgbImage, frame: &Frame, size: ImageSize) -> Look {
    let resized = (image.size() != size).then(|| resize_image(image.clone(), "image", size).ok()).flatten();
    Look::of(resized.as_ref().unwrap_or(image), Some(frame.original))
}
