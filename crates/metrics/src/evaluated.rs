use std::cell::OnceCell;

use crate::{Confusion, MetricError, PixelRanking, Ranking};

/// Scores and ground truth of a test split. Both rankings are sorted when a metric asks for one
/// first, and shared by all that ask later.
///
/// # Shapes and units
/// Higher scores are more anomalous. Labels and masks are 0 (normal) or 1 (anomalous).
#[derive(Debug)]
pub struct Evaluated<'a> {
    image_scores: &'a [f32],
    labels: &'a [u8],
    maps: Option<Maps<'a>>,
    threshold: Option<f32>,
    images: OnceCell<Result<Ranking, MetricError>>,
    pixels: OnceCell<Result<PixelRanking, MetricError>>,
}

#[derive(Debug)]
struct Maps<'a> {
    pairs: Vec<(&'a [f32], &'a [u8])>,
    height: usize,
    width: usize,
}

impl<'a> Evaluated<'a> {
    /// One score and one label an image, no anomaly maps.
    pub fn new(image_scores: &'a [f32], labels: &'a [u8]) -> Self {
        Self {
            image_scores,
            labels,
            maps: None,
            threshold: None,
            images: OnceCell::new(),
            pixels: OnceCell::new(),
        }
    }

    /// Adds the anomaly map and the mask of every image, `height` rows by `width` columns,
    /// row-major.
    #[must_use]
    pub fn with_maps(self, pairs: Vec<(&'a [f32], &'a [u8])>, height: usize, width: usize) -> Self {
        Self { maps: Some(Maps { pairs, height, width }), pixels: OnceCell::new(), ..self }
    }

    /// Adds the pixels of all images, ranked before: of maps that differ in size or are not kept.
    /// [`Evaluated::pixels`] gives an error of the ranking.
    #[must_use]
    pub fn with_pixels(self, pixels: Result<PixelRanking, MetricError>) -> Self {
        Self { maps: None, pixels: OnceCell::from(pixels), ..self }
    }

    /// Adds a threshold of the image scores that was chosen before the labels were seen. An image
    /// is found where its score is above the threshold.
    #[must_use]
    pub fn with_threshold(self, threshold: f32) -> Self {
        Self { threshold: Some(threshold), ..self }
    }

    /// The fixed threshold, where there is one.
    pub fn threshold(&self) -> Option<f32> {
        self.threshold
    }

    /// The images by truth and by the fixed threshold; one class, or none, may be empty.
    ///
    /// # Errors
    /// [`MetricError::NoThreshold`], and as [`Confusion::new`].
    pub fn confusion(&self) -> Result<Confusion, MetricError> {
        let threshold = self.threshold.ok_or(MetricError::NoThreshold)?;
        Confusion::new(threshold, self.image_scores, self.labels)
    }

    /// The image scores, ranked.
    ///
    /// # Errors
    /// As [`Ranking::new`].
    pub fn images(&self) -> Result<&Ranking, MetricError> {
        let ranking = self.images.get_or_init(|| Ranking::new(self.image_scores, self.labels));
        ranking.as_ref().map_err(Clone::clone)
    }

    /// The scores of all pixels, ranked.
    ///
    /// # Errors
    /// [`MetricError::NoMasks`] without maps, and as [`PixelRanking::new`].
    pub fn pixels(&self) -> Result<&PixelRanking, MetricError> {
        let rank = || {
            let Maps { pairs, height, width } = self.maps.as_ref().ok_or(MetricError::NoMasks)?;
            PixelRanking::new(pairs.iter().copied(), *height, *width)
        };
        self.pixels.get_or_init(rank).as_ref().map_err(Clone::clone)
    }

    /// [`Evaluated::pixels`]; `None` where the ground truth does not allow a ranking: without maps,
    /// and where no pixel, or every pixel, is anomalous.
    ///
    /// # Errors
    /// As [`Evaluated::pixels`], for everything else.
    pub fn pixels_if_defined(&self) -> Result<Option<&PixelRanking>, MetricError> {
        match self.pixels() {
            Ok(ranking) => Ok(Some(ranking)),
            Err(error) if error.lacks_ground_truth() => Ok(None),
            Err(error) => Err(error),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ranking_is_sorted_once() {
        let (map, mask) = ([0.5, 0.25, 1.0], [0, 0, 1]);
        let evaluated = Evaluated::new(&[0.1, 0.9], &[0, 1]).with_maps(vec![(&map, &mask)], 1, 3);
        assert!(std::ptr::eq(evaluated.images().unwrap(), evaluated.images().unwrap()));
        let pixels = evaluated.pixels().unwrap();
        assert!(std::ptr::eq(pixels, evaluated.pixels_if_defined().unwrap().unwrap()));
        assert_eq!(pixels.summary().unwrap().metrics.auroc, 1.0);
    }

    #[test]
    fn pixels_may_be_ranked_before() {
        let images = [([0.5, 0.25, 1.0], [0, 0, 1])];
        let ranked = PixelRanking::new(images, 1, 3);
        let evaluated = Evaluated::new(&[0.1, 0.9], &[0, 1]).with_pixels(ranked);
        assert_eq!(evaluated.pixels().unwrap().summary().unwrap().metrics.auroc, 1.0);
        let unusable = Evaluated::new(&[0.1], &[0]).with_pixels(Err(MetricError::NoAnomalous));
        assert_eq!(unusable.pixels().unwrap_err(), MetricError::NoAnomalous);
        assert!(unusable.pixels_if_defined().unwrap().is_none());
    }

    #[test]
    fn a_ranking_that_nobody_asks_for_is_not_checked() {
        let unusable = Evaluated::new(&[f32::NAN], &[0]);
        assert_eq!(unusable.pixels().unwrap_err(), MetricError::NoMasks);
        assert!(unusable.pixels_if_defined().unwrap().is_none());
        assert_eq!(unusable.images().unwrap_err(), MetricError::Nan { index: 0 });
    }
}
