use std::path::{Path, PathBuf};

use fmam_core::{Frame, ImageSize, Mask, Progress, Reading, RgbImage, StageId, ValueRange, ordered_map};
use fmam_datasets::{DatasetError, ImageInput, image_size, read_image, resize_image, training_depth};
use fmam_inspection::{InspectionError, LEAST_STILL_IMAGES, StillArea, StillReason};

use crate::Error;

/// A region of interest that good images suggest.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct RegionProposal {
    /// The pixels to look at, in the size of the images.
    pub inside: Mask,
    /// The reason for the region.
    pub reason: StillReason,
    /// Images that were compared.
    pub n_images: usize,
    /// The mean of the images, reduced, dark outside of the region, which has an outline.
    pub preview: RgbImage,
}

/// The longer side to which images are reduced.
const MOST_SIDE: usize = 512;
/// Images that are compared at most, evenly spread over all.
const MOST_IMAGES: usize = 200;
/// Colour of the outline in the preview.
const OUTLINE: [u8; 3] = [255, 64, 0];

/// Proposes a region of interest for the good images `images`, which have one size: the pixels that
/// differ from image to image, and what they enclose. See [`StillArea::propose`].
///
/// # Errors
/// [`Error::SizesDiffer`]; [`Error::Inspection`] for fewer than five images;
/// [`Error::Image`] naming a file that cannot be read; [`Error::Cancelled`].
pub fn propose_region(
    images: &[PathBuf],
    reading: &Reading,
    threads: usize,
    progress: &dyn Progress,
) -> Result<RegionProposal, Error> {
    if images.len() < LEAST_STILL_IMAGES {
        let (found, needed) = (images.len(), LEAST_STILL_IMAGES);
        return Err(InspectionError::TooFewStill { found, needed }.into());
    }
    let size = one_size(images)?;
    let n = images.len().min(MOST_IMAGES);
    let chosen: Vec<&Path> = (0..n).map(|index| images[index * images.len() / n].as_path()).collect();
    let mut reading = *reading;
    if reading.values == ValueRange::Auto {
        let input = |index: usize| Some(ImageInput::File(chosen[index]));
        let depth = training_depth(n, reading.max_bytes, input)?;
        reading.values = depth.map_or(ValueRange::Auto, |depth| ValueRange::Bits(depth.bits));
    }
    let most = ImageSize::square(size.height.max(size.width).min(MOST_SIDE));
    let small = Frame::keeping_aspect(size, most).content;
    let mut still = StillArea::new(small);
    progress.start(&StageId::READING, n as u64);
    let load = |index: usize| -> Result<RgbImage, DatasetError> {
        resize_image(read_image(chosen[index], &reading)?, chosen[index], small)
    };
    ordered_map(n, threads, 2 * threads, load, |index, image| -> Result<(), Error> {
        let named = |source| {
            let name = chosen[index].display().to_string();
            Error::Image { index, name, source: Box::new(Error::from(source)) }
        };
        still.add(&image.map_err(named)?)?;
        progress.update(index as u64 + 1, "");
        if progress.cancelled() { Err(Error::Cancelled) } else { Ok(()) }
    })?;
    progress.finish();
    let proposal = still.propose()?;
    let inside = Mask::from_fn(size, |y, x| {
        proposal.inside.at(y * small.height / size.height, x * small.width / size.width)
    });
    let preview = preview(proposal.mean, &proposal.inside);
    Ok(RegionProposal { inside, reason: proposal.reason, n_images: n, preview })
}

/// The size that all images have.
fn one_size(images: &[PathBuf]) -> Result<ImageSize, Error> {
    let mut first: Option<(&PathBuf, ImageSize)> = None;
    for image in images {
        let size = image_size(image)?;
        match first {
            Some((first, first_size)) if first_size != size => {
                let (first, second) = (first.clone(), image.clone());
                return Err(Error::SizesDiffer { first, first_size, second, second_size: size });
            }
            Some(_) => {}
            None => first = Some((image, size)),
        }
    }
    Ok(first.map_or(ImageSize::square(0), |(_, size)| size))
}

/// `image` at a third of its brightness outside of `inside`, with an outline.
fn preview(mut image: RgbImage, inside: &Mask) -> RgbImage {
    let ImageSize { height, width } = inside.size();
    for y in 0..height {
        for x in 0..width {
            if !inside.at(y, x) {
                image.set_pixel(y, x, image.pixel(y, x).map(|value| value / 3));
                continue;
            }
            let beside = [(y.wrapping_sub(1), x), (y + 1, x), (y, x.wrapping_sub(1)), (y, x + 1)];
            let is_outside = |(y, x): (usize, usize)| y < height && x < width && !inside.at(y, x);
            if beside.into_iter().any(is_outside) {
                image.set_pixel(y, x, OUTLINE);
            }
        }
    }
    image
}

#[cfg(test)]
mod tests {
    use fmam_core::Silent;
    use fmam_report::write_png;

    use super::*;

    /// Seven images of a table with a part of another brightness each time in the middle.
    fn parts(folder: &Path) -> Vec<PathBuf> {
        let part = |number: u8| {
            let size = ImageSize::new(600, 800);
            let is_part = |y: usize, x: usize| (200..400).contains(&y) && (200..600).contains(&x);
            let image = RgbImage::from_fn(size, |y, x| [if is_part(y, x) { 30 * number } else { 200 }; 3]);
            let path = folder.join(format!("{number}.png"));
            write_png(&path, &image).unwrap();
            path
        };
        (0..7).map(part).collect()
    }

    #[test]
    fn a_proposal_has_the_size_of_the_images() {
        let dir = tempfile::tempdir().unwrap();
        let images = parts(dir.path());
        let proposal = propose_region(&images, &Reading::default(), 2, &Silent).unwrap();
        assert_eq!((proposal.n_images, proposal.reason), (7, StillReason::Surroundings));
        assert_eq!(proposal.inside.size(), ImageSize::new(600, 800));
        assert_eq!(proposal.preview.size(), ImageSize::new(384, 512));
        assert!(proposal.inside.at(200, 200) && proposal.inside.at(399, 599));
        assert!(!proposal.inside.at(180, 400) && !proposal.inside.at(300, 620));
        // Dark outside, an outline, and the mean inside.
        assert_eq!(proposal.preview.pixel(5, 5), [66; 3]);
        assert_eq!(proposal.preview.pixel(192, 256), [90; 3]);
        assert!(proposal.preview.data().chunks_exact(3).any(|pixel| pixel == OUTLINE));
    }

    #[test]
    fn few_images_and_several_sizes_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        let mut images = parts(dir.path());
        let error = propose_region(&images[..1], &Reading::default(), 1, &Silent).unwrap_err();
        assert!(error.one_line().contains("at least 5 good images; there are 1"), "{}", error.one_line());
        let other = dir.path().join("other.png");
        write_png(&other, &RgbImage::filled(ImageSize::new(600, 801), [9; 3])).unwrap();
        images.push(other.clone());
        let error = propose_region(&images, &Reading::default(), 1, &Silent).unwrap_err();
        assert!(
            matches!(&error, Error::SizesDiffer { first, second, .. } if *first == images[0] && *second == other),
            "{error:?}"
        );
    }
}
