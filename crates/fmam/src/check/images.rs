use fmam_core::{ImageSize, Label, Progress, Reading, Sample, StageId, ordered_map};
use fmam_datasets::{
    DatasetError, ImageHeader, MaskFormat, PixelDigest, Told, bits_for, highest_value, image_header,
    read_image,
};

use super::masks::{MaskFacts, mask_facts};
use super::quiet::{hearing, quiet};
use crate::Error;
use crate::error::one_line;

/// The facts of an image before its pixels are made.
pub(super) struct Header {
    pub(super) header: ImageHeader,
    /// The highest value of a 16-bit file.
    pub(super) highest: Option<u16>,
}

/// The facts of the pixels of an image and of its masks. A fault is a text, which names the file.
pub(super) struct Pixels {
    pub(super) digest: Result<PixelDigest, String>,
    /// `None` without a mask.
    pub(super) mask: Option<Result<MaskFacts, String>>,
    /// The choices that were made in reading image and masks.
    pub(super) told: Vec<Told>,
}

/// The stage that reads headers, and the values of 16-bit files.
const HEADERS: StageId = StageId::new("reading headers");

/// Reads the headers of `samples`, in their order. Of a 16-bit file the highest value is read, too.
///
/// # Errors
/// [`Error::Cancelled`].
pub(super) fn headers(
    samples: &[&Sample],
    max_bytes: u64,
    threads: usize,
    progress: &dyn Progress,
) -> Result<Vec<Result<Header, String>>, Error> {
    let work = |index: usize| {
        quiet(|| -> Result<Header, DatasetError> {
            let path = &samples[index].image_path;
            let header = image_header(path)?;
            let highest = if header.is_16_bit() { highest_value(path, max_bytes)? } else { None };
            Ok(Header { header, highest })
        })
        .map_err(|error| one_line(&error))
    };
    each(samples.len(), &HEADERS, threads, progress, work)
}

/// The training image with the highest value among 16-bit files, that value, and its depth.
pub(super) fn depth<'a>(
    train: &[&'a Sample],
    headers: &[Result<Header, String>],
) -> Option<(&'a Sample, u16, u8)> {
    let mut most: Option<(&Sample, u16)> = None;
    for (sample, header) in train.iter().zip(headers) {
        if let Some(highest) = header.as_ref().ok().and_then(|header| header.highest)
            && most.is_none_or(|(_, most)| highest > most)
        {
            most = Some((sample, highest));
        }
    }
    most.map(|(sample, highest)| (sample, highest, bits_for(highest)))
}

/// Decodes those of `samples` that have a header, and their masks, once each.
///
/// # Errors
/// [`Error::Cancelled`].
pub(super) fn pixels(
    samples: &[&Sample],
    headers: &[Result<Header, String>],
    (reading, format, sizes): (&Reading, MaskFormat, &[ImageSize]),
    threads: usize,
    progress: &dyn Progress,
) -> Result<Vec<Option<Pixels>>, Error> {
    let work = |index: usize| {
        headers[index].as_ref().ok()?;
        let sample = samples[index];
        let ((digest, mask), told) = hearing(|| {
            let digest = read_image(&sample.image_path, reading).map(|image| PixelDigest::of(&image));
            let has_mask = sample.label == Label::Anomalous && !sample.mask_paths.is_empty();
            (digest, has_mask.then(|| mask_facts(sample, format, sizes, reading.max_bytes)))
        });
        let text = |error| one_line(&error);
        Some(Pixels { digest: digest.map_err(text), mask: mask.map(|mask| mask.map_err(text)), told })
    };
    each(samples.len(), &StageId::READING, threads, progress, work)
}

fn each<T: Send>(
    n: usize,
    stage: &StageId,
    threads: usize,
    progress: &dyn Progress,
    work: impl Fn(usize) -> T + Sync,
) -> Result<Vec<T>, Error> {
    progress.start(stage, n as u64);
    let mut all = Vec::with_capacity(n);
    ordered_map(n, threads, 2 * threads, work, |index, one| {
        all.push(one);
        progress.update(index as u64 + 1, "");
        if progress.cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    })?;
    progress.finish();
    Ok(all)
}
