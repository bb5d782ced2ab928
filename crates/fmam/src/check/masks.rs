use fmam_core::{ImageSize, Mask, Sample};
use fmam_datasets::{DatasetError, MaskFormat, MaskRule, load_sample_mask, resize_mask};
use fmam_metrics::components;

/// The facts of the masks of an image.
pub(super) struct MaskFacts {
    /// Masks that are read by half of their range.
    pub(super) n_soft: usize,
    /// The area of each 8-connected region; none for a mask without an anomalous pixel.
    pub(super) areas: Vec<usize>,
    /// For each size, the number of regions without a pixel.
    pub(super) n_gone: Vec<usize>,
}

/// Reads the masks of `sample` as an evaluation does.
///
/// # Errors
/// As [`load_sample_mask`]; a blank mask is none where the data set is known for some.
pub(super) fn mask_facts(
    sample: &Sample,
    format: MaskFormat,
    sizes: &[ImageSize],
    max_bytes: u64,
) -> Result<MaskFacts, DatasetError> {
    let (mask, rules) = match load_sample_mask(sample, format, max_bytes) {
        Err(DatasetError::BlankMask { .. }) if format == MaskFormat::SoftOrBlank => {
            return Ok(MaskFacts { n_soft: 0, areas: Vec::new(), n_gone: vec![0; sizes.len()] });
        }
        mask => mask?,
    };
    let regions = components(mask.data(), mask.size().width);
    let mut labels = vec![0_u32; mask.data().len()];
    for (label, pixels) in (1..).zip(&regions) {
        pixels.iter().for_each(|&pixel| labels[pixel] = label);
    }
    let n_gone = |&size: &ImageSize| regions.len() - n_covered(&labels, regions.len(), &mask, size);
    Ok(MaskFacts {
        n_soft: rules.iter().filter(|rule| **rule == MaskRule::AboveHalf).count(),
        areas: regions.iter().map(Vec::len).collect(),
        n_gone: sizes.iter().map(n_gone).collect(),
    })
}

/// The number of regions that an anomalous pixel of `mask` at `size` covers, at least in part.
fn n_covered(labels: &[u32], n_regions: usize, mask: &Mask, size: ImageSize) -> usize {
    let small = resize_mask(mask, size);
    let from = mask.size();
    let mut is_covered = vec![false; n_regions];
    // A pixel covers the pixels of the file between its edges, each of them at least in part.
    let span = |at: usize, from: usize, to: usize| at * from / to..((at + 1) * from).div_ceil(to).min(from);
    for (y, row) in small.data().chunks_exact(size.width.max(1)).enumerate() {
        for (x, _) in row.iter().enumerate().filter(|(_, pixel)| **pixel > 0) {
            let columns = span(x, from.width, size.width);
            for line in span(y, from.height, size.height) {
                for &label in &labels[line * from.width..][columns.clone()] {
                    if label > 0 {
                        is_covered[label as usize - 1] = true;
                    }
                }
            }
        }
    }
    is_covered.into_iter().filter(|covered| *covered).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn regions_are_counted_that_no_pixel_covers() {
        let size = ImageSize::new(8, 16);
        // A block of 2x2 that is one pixel at half the size, a lone pixel, and a bar of 1x4.
        let mask = Mask::from_fn(size, |y, x| {
            (y < 2 && x < 2) || (y, x) == (7, 15) || (y == 4 && (8..12).contains(&x))
        });
        let regions = components(mask.data(), 16);
        let mut labels = vec![0; mask.data().len()];
        for (label, pixels) in (1..).zip(&regions) {
            pixels.iter().for_each(|&pixel| labels[pixel] = label);
        }
        let covered = |height, width| n_covered(&labels, 3, &mask, ImageSize::new(height, width));
        assert_eq!(covered(8, 16), 3);
        assert_eq!(covered(16, 32), 3);
        // Of a pixel at half the size, the bar fills a half, and the lone pixel a quarter.
        assert_eq!(covered(4, 8), 2);
        assert_eq!(covered(2, 4), 0);
    }
}
