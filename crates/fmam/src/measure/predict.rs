use std::path::PathBuf;
use std::time::Instant;

use fmam_core::RgbImage;
use fmam_datasets::{prepare_image, read_image};
use fmam_experiment::device_name;
use fmam_methods::Detector;
use serde::Serialize;

use crate::{Error, Session};

/// The speed of a detector on image files, from the file to the verdict.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct PredictSpeed {
    /// The method of the detector.
    pub method: String,
    /// The extension of the files.
    pub format: String,
    /// Files.
    pub images: usize,
    /// Height and width of the first one in pixels.
    pub size: [usize; 2],
    /// Images that `score_ms` scores together.
    pub batch: usize,
    /// Threads.
    pub threads: usize,
    /// The device.
    pub device: String,
    /// Verdicts in a second, the best of the repetitions.
    pub images_per_second: f64,
    /// Milliseconds of an image on one thread: reading the file and decoding it.
    pub decode_ms: f64,
    /// Milliseconds of an image on one thread: bringing it to the detector's size.
    pub prepare_ms: f64,
    /// Milliseconds of an image on all threads: networks, maps and scores.
    pub score_ms: f64,
}

/// Times `detector` on image files: the whole way as [`Session::predict`] goes it, `n_repeats`
/// times, and each part of it alone. Scoring alone takes `batch` images together, by default as
/// many as the detector does.
///
/// # Errors
/// [`Error::NoImages`] without a file; those of [`Session::predict`].
pub fn measure_predict(
    session: &Session,
    detector: &Detector,
    files: &[PathBuf],
    batch: Option<usize>,
    n_repeats: usize,
) -> Result<PredictSpeed, Error> {
    let first = files.first().ok_or_else(|| Error::NoImages { path: PathBuf::new() })?;
    let preparation = detector.card().preparation();
    let n = files.len() as f64;

    let start = Instant::now();
    let decoded = files.iter().map(|file| read_image(file, &preparation.reading));
    let decoded = decoded.collect::<Result<Vec<RgbImage>, _>>()?;
    let decode_ms = 1e3 * start.elapsed().as_secs_f64() / n;
    let size = decoded[0].size();

    let start = Instant::now();
    let prepare = |(image, file): (RgbImage, &PathBuf)| prepare_image(image, file, &preparation, None);
    let prepared = decoded.into_iter().zip(files).map(prepare).collect::<Result<Vec<_>, _>>()?;
    let prepare_ms = 1e3 * start.elapsed().as_secs_f64() / n;

    let images: Vec<RgbImage> = prepared.into_iter().map(|prepared| prepared.image).collect();
    let batch = batch.unwrap_or_else(|| detector.batch_size()).max(1);
    let score = || -> Result<(), Error> {
        for images in images.chunks(batch) {
            detector.score(images)?;
        }
        Ok(())
    };
    session.on_threads(score)?;
    let start = Instant::now();
    session.on_threads(score)?;
    let score_ms = 1e3 * start.elapsed().as_secs_f64() / n;

    let mut best = f64::INFINITY;
    for _ in 0..n_repeats.max(1) {
        let start = Instant::now();
        for verdict in session.predict(detector, files.iter().cloned()) {
            verdict?;
        }
        best = best.min(start.elapsed().as_secs_f64());
    }
    let extension = first.extension().map_or_else(String::new, |text| text.to_string_lossy().into_owned());
    Ok(PredictSpeed {
        method: detector.card().method.to_string(),
        format: extension,
        images: files.len(),
        size: [size.height, size.width],
        batch,
        threads: session.loader_threads(),
        device: device_name(session.device()),
        images_per_second: n / best,
        decode_ms,
        prepare_ms,
        score_ms,
    })
}
