//! From feature distances to anomaly maps.

use candle_core::{Device, Tensor};
use fmam_core::{AnomalyMap, ImageSize};
use fmam_losses::{smooth_l1_difference, squared_difference};
use fmam_models::FeaturePyramid;
use fmam_ops::{Combination, combined_maps, traced};
use serde::{Deserialize, Serialize};

use crate::scorer::TracedPrediction;
use crate::{MethodError, Prediction};

/// The combination of the maps of the scales.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MapCombination {
    /// Sum, as Deng and Li 2022.
    Sum,
    /// Product, as Wang et al. 2021.
    Product,
}

/// The distance of the features of teacher and student at a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FeatureDistance {
    /// 1 - cos, from 0 to 2, whatever the lengths of the features.
    Cosine,
    /// The squared difference, averaged over the channels.
    Squared,
    /// The smooth L1 difference, averaged over the channels.
    SmoothL1,
}

impl FeatureDistance {
    /// The distance of the two at each scale, (N, H, W), without gradient.
    ///
    /// # Errors
    /// The errors of the device.
    pub fn maps(
        self,
        teacher: &FeaturePyramid,
        student: &FeaturePyramid,
    ) -> Result<Vec<Tensor>, MethodError> {
        let scales = teacher.scales.iter().zip(&student.scales);
        let map = |(t, s): (&Tensor, &Tensor)| {
            let (t, s) = (&traced::detach(t), &traced::detach(s));
            Ok(match self {
                Self::Cosine => fmam_ops::cosine_distance(t, s)?,
                Self::Squared => squared_difference(t, s)?,
                Self::SmoothL1 => smooth_l1_difference(t, s)?,
            })
        };
        scales.map(map).collect()
    }
}

/// The cosine distance of the two at each scale, (N, H, W), without gradient.
///
/// # Errors
/// The errors of the device.
pub fn distances(teacher: &FeaturePyramid, student: &FeaturePyramid) -> Result<Vec<Tensor>, MethodError> {
    FeatureDistance::Cosine.maps(teacher, student)
}

/// Predictions for a batch of images of `size` from the distance maps of its scales, (N, H, W)
/// each: upsampled with corners aligned, combined, and blurred by `sigma` pixels of a 256-pixel
/// image. The image score is the largest value of the map.
///
/// # Errors
/// The errors of the device.
pub fn predictions(
    distances: &[Tensor],
    combination: MapCombination,
    sigma: f64,
    size: ImageSize,
) -> Result<Vec<Prediction>, MethodError> {
    if distances.is_empty() {
        return Ok(Vec::new());
    }
    let maps = maps_of_distances(distances, combination, sigma, size)?;
    let pixels = maps.flatten_from(1)?.to_vec2::<f32>()?;
    pixels
        .into_iter()
        .map(|data| {
            let anomaly_map = AnomalyMap::new(size, data)?;
            Ok(Prediction { image_score: anomaly_map.max(), anomaly_map })
        })
        .collect()
}

/// The maps of [`predictions`], `[N, H, W]`.
fn maps_of_distances(
    distances: &[Tensor],
    combination: MapCombination,
    sigma: f64,
    size: ImageSize,
) -> Result<Tensor, MethodError> {
    let combination = match combination {
        MapCombination::Sum => Combination::Sum,
        MapCombination::Product => Combination::Product,
    };
    blurred(&combined_maps(distances, size.height, size.width, combination)?, sigma, size)
}

/// [`predictions`] for one image as a trace knows it.
pub(crate) fn traced_prediction(
    distances: &[Tensor],
    combination: MapCombination,
    sigma: f64,
    size: ImageSize,
) -> Result<TracedPrediction, MethodError> {
    let anomaly_map = maps_of_distances(distances, combination, sigma, size)?;
    Ok(TracedPrediction { image_score: traced::max_all(&anomaly_map)?, anomaly_map })
}

/// `maps`, `[N, H, W]`, blurred by `sigma` pixels of a 256-pixel image.
pub(crate) fn blurred(maps: &Tensor, sigma: f64, size: ImageSize) -> Result<Tensor, MethodError> {
    Ok(fmam_ops::gaussian_blur(maps, sigma * size.height.min(size.width) as f64 / 256.0)?)
}

/// The map of an image of `size` from a score for each cell of a grid over it, row by row:
/// interpolated between the cells' centres and blurred by `sigma` pixels of a 256-pixel image.
///
/// # Errors
/// The errors of the device.
pub fn grid_map(
    scores: Vec<f32>,
    grid: ImageSize,
    size: ImageSize,
    sigma: f64,
) -> Result<AnomalyMap, MethodError> {
    let scores = Tensor::from_vec(scores, (grid.height, grid.width), &Device::Cpu)?;
    let map = interpolated_map(&scores, grid, size, sigma)?;
    Ok(AnomalyMap::new(size, map.flatten_all()?.to_vec1()?)?)
}

/// The map of [`grid_map`], `[1, H, W]`, from as many scores as `grid` has cells.
pub(crate) fn interpolated_map(
    scores: &Tensor,
    grid: ImageSize,
    size: ImageSize,
    sigma: f64,
) -> Result<Tensor, MethodError> {
    let scores = traced::reshape(scores, &[1, 1, grid.height, grid.width])?;
    let map = fmam_ops::upsample_bilinear(&scores, size.height, size.width, false)?;
    blurred(&traced::reshape(&map, &[1, size.height, size.width])?, sigma, size)
}

/// Morphological opening of a map of `size` by a square of `side` pixels: the least value of each
/// square, then the greatest of those around a pixel. What no square fits into is taken away, the
/// rest stays in its place.
pub(crate) fn opened(map: &[f32], size: ImageSize, side: usize) -> Vec<f32> {
    // The second window is the first one mirrored, so that squares of an even side move nothing.
    let (before, after) = ((side - 1) / 2, side / 2);
    let eroded = windowed(map, size, (before, after), f32::min);
    windowed(&eroded, size, (after, before), f32::max)
}

/// `pick` over the pixels from `before` before each to `after` after it, along columns and then
/// along rows, as far as there are any.
fn windowed(
    map: &[f32],
    size: ImageSize,
    (before, after): (usize, usize),
    pick: fn(f32, f32) -> f32,
) -> Vec<f32> {
    let ImageSize { height, width } = size;
    let range = |at: usize, end: usize| at.saturating_sub(before)..(at + after + 1).min(end);
    let along = |map: &[f32], of: &dyn Fn(usize, usize) -> f32| -> Vec<f32> {
        (0..map.len()).map(|at| of(at / width, at % width)).collect()
    };
    let columns = along(map, &|y, x| {
        let values = range(y, height).map(|y| map[y * width + x]);
        values.reduce(pick).unwrap_or_default()
    });
    along(&columns, &|y, x| {
        let values = range(x, width).map(|x| columns[y * width + x]);
        values.reduce(pick).unwrap_or_default()
    })
}

/// The map of an image of `size` from a score for each cell of a grid over it, row by row: each
/// score spread as a Gaussian of `sigma` pixels of a 256-pixel image about the centre of its cell,
/// where it looks. The weights at a pixel sum to 1.
pub(crate) fn receptive_map(
    scores: Vec<f32>,
    grid: ImageSize,
    size: ImageSize,
    sigma: f64,
) -> Result<AnomalyMap, MethodError> {
    let scores = Tensor::from_vec(scores, (grid.height, grid.width), &Device::Cpu)?;
    let map = spread_map(&scores, size, sigma)?;
    Ok(AnomalyMap::new(size, map.flatten_all()?.to_vec1()?)?)
}

/// The map of [`receptive_map`], `[H, W]`, from the scores of a grid, `[rows, columns]`.
pub(crate) fn spread_map(scores: &Tensor, size: ImageSize, sigma: f64) -> Result<Tensor, MethodError> {
    let (height, width) = scores.dims2()?;
    let sigma = sigma * size.height.min(size.width) as f64 / 256.0;
    let rows = receptive_weights(height, size.height, sigma)?.to_device(scores.device())?;
    let columns = receptive_weights(width, size.width, sigma)?.to_device(scores.device())?;
    Ok(traced::matmul(&traced::matmul(&rows, scores)?, &columns.t()?)?)
}

/// `[pixels, cells]`: how much of each cell of one axis a pixel takes.
fn receptive_weights(cells: usize, pixels: usize, sigma: f64) -> Result<Tensor, MethodError> {
    let stride = pixels as f64 / cells as f64;
    let exponent = |pixel: usize, cell: usize| {
        let away = (pixel as f64 + 0.5) - (cell as f64 + 0.5) * stride;
        0.5 * (away / sigma).powi(2)
    };
    let mut weights = Vec::with_capacity(pixels * cells);
    for pixel in 0..pixels {
        // Relative to the nearest cell, whose weight is then 1 however narrow the Gaussian is.
        let least = (0..cells).map(|cell| exponent(pixel, cell)).fold(f64::INFINITY, f64::min);
        let weight = |cell| (least - exponent(pixel, cell)).exp();
        let sum: f64 = (0..cells).map(weight).sum();
        weights.extend((0..cells).map(|cell| (weight(cell) / sum) as f32));
    }
    Ok(Tensor::from_vec(weights, (pixels, cells), &Device::Cpu)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_score_spreads_about_the_centre_of_its_cell() {
        let (grid, size) = (ImageSize::new(2, 4), ImageSize::new(16, 32));
        let constant = receptive_map(vec![3.0; 8], grid, size, 40.0).unwrap();
        assert!(constant.data().iter().all(|v| (v - 3.0).abs() < 1e-5));
        let mut scores = vec![0.0; 8];
        scores[5] = 1.0;
        // Row 1, column 1: its centre lies between the pixels 11 and 12 of either axis.
        let map = receptive_map(scores, grid, size, 40.0).unwrap();
        assert!((map.at(11, 11) - map.at(11, 12)).abs() < 1e-6 && map.at(11, 11) > 0.9);
        assert!(map.at(11, 20) < map.at(11, 14) && map.at(3, 11) < map.at(9, 11));
        let narrow = receptive_map((0..8).map(|v| v as f32).collect(), grid, size, 0.01).unwrap();
        assert_eq!((narrow.at(0, 0), narrow.at(15, 31), narrow.at(2, 9)), (0.0, 7.0, 1.0));
    }

    #[test]
    fn opening_removes_what_is_smaller_than_its_square_and_moves_nothing() {
        let size = ImageSize::new(7, 9);
        for side in [2, 3] {
            let square = |y: usize, x: usize| (2..2 + side).contains(&y) && (4..4 + side).contains(&x);
            let value = |at: usize| f32::from(u8::from(square(at / 9, at % 9)));
            let mut map: Vec<f32> = (0..63).map(value).collect();
            let kept = map.clone();
            map[9] = 5.0;
            assert_eq!(opened(&map, size, side), kept, "side {side}");
        }
        assert_eq!(opened(&[1.0, 2.0], ImageSize::new(1, 2), 1), [1.0, 2.0]);
    }

    #[test]
    fn cells_are_areas_and_interpolated_between_their_centres() {
        let (grid, size) = (ImageSize::new(1, 2), ImageSize::new(1, 4));
        let map = grid_map(vec![0.0, 4.0], grid, size, 0.0).unwrap();
        assert_eq!(map.data(), [0.0, 1.0, 3.0, 4.0]);
    }
}
