//! One feature vector for each position of an image, from all scales of a pyramid: what the methods
//! compare that keep or model normal features instead of training a network.

use candle_core::Tensor;
use fmam_core::ImageSize;
use fmam_models::{FeaturePyramid, ModelError};
use fmam_ops::traced;

use crate::{MethodError, Place};

/// The way of the coarser scales to the grid of the finest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Alignment {
    /// Each value repeated.
    Nearest,
    /// Interpolated between the centres of their cells.
    Bilinear,
}

/// Feature vectors of one image, position by position in rows of the grid.
#[derive(Debug, Clone)]
pub struct PatchEmbedding {
    /// The grid of the finest scale.
    pub grid: ImageSize,
    /// The length of a vector.
    pub n_channels: usize,
    /// `grid.pixels() * n_channels` values.
    pub values: Vec<f32>,
    /// A copy of the values on a GPU, if the features are there: `[grid.pixels(), n_channels]`.
    pub(crate) on_device: Option<Tensor>,
}

impl PatchEmbedding {
    /// The channels of all scales of a pyramid of one image, finest scale first, on the finest
    /// scale's grid; only those in `selection`, in its order, where there is one.
    ///
    /// # Errors
    /// [`MethodError::UndefinedFeatures`] for a feature that is not finite.
    pub fn new(
        features: &FeaturePyramid,
        alignment: Alignment,
        selection: Option<&[usize]>,
    ) -> Result<Self, MethodError> {
        let Some(finest) = features.scales.first() else { return Err(ModelError::EmptyBatch.into()) };
        if !finest.device().is_cpu() {
            return Self::on_device(features, alignment, selection);
        }
        let (_, _, height, width) = finest.dims4()?;
        let grid = ImageSize::new(height, width);
        let mut scales = Vec::with_capacity(features.scales.len());
        for scale in &features.scales {
            let scale = match alignment {
                Alignment::Nearest => scale.clone(),
                Alignment::Bilinear => fmam_ops::upsample_bilinear(scale, height, width, false)?,
            };
            scales.push(Rows::new(&scale)?);
        }
        // The place of each channel of the result: its scale, and its number there.
        let all = scales.iter().enumerate().flat_map(|(k, rows)| (0..rows.n_channels).map(move |c| (k, c)));
        let all: Vec<(usize, usize)> = all.collect();
        let chosen = match selection {
            Some(selection) => selection.iter().map(|&channel| all[channel]).collect(),
            None => all,
        };
        let mut values = Vec::with_capacity(grid.pixels() * chosen.len());
        let mut rows = Vec::with_capacity(scales.len());
        for y in 0..height {
            for x in 0..width {
                rows.clear();
                rows.extend(scales.iter().map(|scale| scale.row(y, x, grid)));
                values.extend(chosen.iter().map(|&(k, channel)| rows[k][channel]));
            }
        }
        if values.iter().any(|value| !value.is_finite()) {
            return Err(MethodError::UndefinedFeatures);
        }
        Ok(Self { grid, n_channels: chosen.len(), values, on_device: None })
    }

    /// As [`PatchEmbedding::new`], computed where the features are.
    fn on_device(
        features: &FeaturePyramid,
        alignment: Alignment,
        selection: Option<&[usize]>,
    ) -> Result<Self, MethodError> {
        let (_, _, height, width) = features.scales.first().ok_or(ModelError::EmptyBatch)?.dims4()?;
        let grid = ImageSize::new(height, width);
        let selection = selection.map(|all| all.iter().map(|&channel| channel as u32).collect::<Vec<_>>());
        Self::on_grid(&features.scales, grid, alignment, selection.as_deref())
    }

    /// The channels of `scales`, `[1, C, H, W]` each, on the grid `grid`, computed where they are;
    /// only those in `selection`, in its order, where there is one.
    ///
    /// # Errors
    /// [`MethodError::UndefinedFeatures`] for a feature that is not finite.
    pub(crate) fn on_grid(
        scales: &[Tensor],
        grid: ImageSize,
        alignment: Alignment,
        selection: Option<&[u32]>,
    ) -> Result<Self, MethodError> {
        let rows = rows_on_grid(scales, grid, alignment, selection)?;
        let n_channels = rows.dim(1)?;
        let values: Vec<f32> = rows.flatten_all()?.to_vec1()?;
        if values.iter().any(|value| !value.is_finite()) {
            return Err(MethodError::UndefinedFeatures);
        }
        let on_device = (!rows.device().is_cpu()).then_some(rows);
        Ok(Self { grid, n_channels, values, on_device })
    }

    /// The vectors of the positions that count at `place`, one behind the other.
    pub fn values_at(self, place: Place<'_>) -> Vec<f32> {
        let Some(cells) = place.cells(self.grid) else { return self.values };
        let rows = self.rows().zip(cells).filter_map(|(row, counts)| counts.then_some(row));
        rows.flatten().copied().collect()
    }

    /// The vectors, one a position.
    pub fn rows(&self) -> std::slice::ChunksExact<'_, f32> {
        self.values.chunks_exact(self.n_channels)
    }
}

/// The vectors of one image on `grid`, `[positions, channels]`: `scales` brought to it, with the
/// chosen channels of all, or all without a `selection`.
pub(crate) fn rows_on_grid(
    scales: &[Tensor],
    grid: ImageSize,
    alignment: Alignment,
    selection: Option<&[u32]>,
) -> Result<Tensor, MethodError> {
    let ImageSize { height, width } = grid;
    let mut parts = Vec::with_capacity(scales.len());
    for scale in scales {
        let scale = traced::detach(scale);
        parts.push(match alignment {
            Alignment::Bilinear => fmam_ops::upsample_bilinear(&scale, height, width, false)?,
            Alignment::Nearest => {
                let (_, _, h, w) = scale.dims4()?;
                let cells = |out: usize, size: usize| -> Vec<u32> {
                    (0..out).map(|at| (at * size / out) as u32).collect()
                };
                let rows = traced::index_select(&scale, &cells(height, h), 2)?;
                traced::index_select(&rows, &cells(width, w), 3)?
            }
        });
    }
    let mut all = traced::cat(&parts.iter().collect::<Vec<_>>(), 1)?;
    if let Some(selection) = selection {
        all = traced::index_select(&all, selection, 1)?;
    }
    let (_, n_channels, ..) = all.dims4()?;
    Ok(traced::reshape(&traced::permute(&all, [0, 2, 3, 1])?, &[grid.pixels(), n_channels])?)
}

/// Each value of a scale `[1, C, H, W]` replaced by the mean over the 3 by 3 positions around it,
/// those beyond the border counted as zeros: PatchCore's own code unfolds with padding, and its
/// border patches are then those of smaller features, in training and test alike.
///
/// # Errors
/// The errors of the device.
pub fn neighbourhood_mean(scale: &Tensor) -> Result<Tensor, MethodError> {
    if !scale.device().is_cpu() {
        return neighbourhood_mean_on_device(scale);
    }
    let Rows { height, width, n_channels, values } = Rows::new(scale)?;
    let mut means = vec![0.0_f32; values.len()];
    for (cell, mean) in means.chunks_exact_mut(n_channels).enumerate() {
        let (y, x) = (cell / width, cell % width);
        let (rows, columns) = (around(y, height), around(x, width));
        for neighbour in rows.flat_map(|y| columns.clone().map(move |x| y * width + x)) {
            let neighbour = &values[neighbour * n_channels..(neighbour + 1) * n_channels];
            for (sum, value) in mean.iter_mut().zip(neighbour) {
                *sum += value;
            }
        }
        for sum in mean {
            *sum /= NEIGHBOURHOOD;
        }
    }
    let means = Tensor::from_vec(means, (1, height, width, n_channels), scale.device())?;
    Ok(means.permute((0, 3, 1, 2))?)
}

/// As [`neighbourhood_mean`], computed where the scale is.
pub(crate) fn neighbourhood_mean_on_device(scale: &Tensor) -> Result<Tensor, MethodError> {
    let padded = traced::pad_with_zeros(&traced::contiguous(&traced::detach(scale))?, [1, 1], [1, 1])?;
    Ok(traced::average_pool2d(&padded, 3)?)
}

/// Positions of a 3 by 3 neighbourhood.
const NEIGHBOURHOOD: f32 = 9.0;

/// `at` and what lies next to it below `size`.
fn around(at: usize, size: usize) -> std::ops::Range<usize> {
    at.saturating_sub(1)..(at + 2).min(size)
}

/// A scale of one image on the host, channels last.
struct Rows {
    height: usize,
    width: usize,
    n_channels: usize,
    values: Vec<f32>,
}

impl Rows {
    /// From `[1, C, H, W]`.
    fn new(scale: &Tensor) -> Result<Self, MethodError> {
        let (_, n_channels, height, width) = scale.dims4()?;
        let values = scale.detach().permute((0, 2, 3, 1))?.flatten_all()?.to_vec1()?;
        Ok(Self { height, width, n_channels, values })
    }

    /// The vector of the cell that position (y, x) of a grid of size `grid` lies in.
    fn row(&self, y: usize, x: usize, grid: ImageSize) -> &[f32] {
        let cell = y * self.height / grid.height * self.width + x * self.width / grid.width;
        &self.values[cell * self.n_channels..(cell + 1) * self.n_channels]
    }
}

#[cfg(test)]
mod tests {
    use candle_core::Device;

    use super::*;

    /// A scale of 2 channels on a 2x4 grid and one of 1 channel on a 1x2 grid.
    fn pyramid() -> FeaturePyramid {
        let fine: Vec<f32> = (0..16).map(|v| v as f32).collect();
        let tensor = |values, shape: (usize, usize, usize, usize)| {
            Tensor::from_vec(values, shape, &Device::Cpu).unwrap()
        };
        FeaturePyramid { scales: vec![tensor(fine, (1, 2, 2, 4)), tensor(vec![100.0, 200.0], (1, 1, 1, 2))] }
    }

    #[test]
    fn coarse_cells_are_repeated_or_interpolated() {
        let nearest = PatchEmbedding::new(&pyramid(), Alignment::Nearest, None).unwrap();
        assert_eq!((nearest.grid, nearest.n_channels), (ImageSize::new(2, 4), 3));
        let rows: Vec<_> = nearest.rows().collect();
        assert_eq!(rows[0], [0.0, 8.0, 100.0]);
        assert_eq!(rows[2], [2.0, 10.0, 200.0]);
        assert_eq!(rows[7], [7.0, 15.0, 200.0]);
        let bilinear = PatchEmbedding::new(&pyramid(), Alignment::Bilinear, None).unwrap();
        let coarse: Vec<f32> = bilinear.rows().map(|row| row[2]).collect();
        assert_eq!(coarse, [100.0, 125.0, 175.0, 200.0, 100.0, 125.0, 175.0, 200.0]);
    }

    #[test]
    fn neighbourhoods_count_zeros_beyond_the_border() {
        let scale = Tensor::from_vec((0..6).map(|v| v as f32).collect(), (1, 1, 2, 3), &Device::Cpu).unwrap();
        let means = neighbourhood_mean(&scale).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        // Sums 8, 15, 12 of the cells that exist, in either row.
        assert_eq!(means, [8.0, 15.0, 12.0, 8.0, 15.0, 12.0].map(|sum| sum / 9.0));
        let on_device = neighbourhood_mean_on_device(&scale).unwrap().flatten_all().unwrap();
        fmam_testkit::assert_close(&on_device.to_vec1::<f32>().unwrap(), &means, 1e-6, 1e-6);
    }

    #[test]
    fn a_device_gives_the_same_vectors_as_the_host() {
        for alignment in [Alignment::Nearest, Alignment::Bilinear] {
            for selection in [None, Some(&[2, 0][..])] {
                let host = PatchEmbedding::new(&pyramid(), alignment, selection).unwrap();
                let device = PatchEmbedding::on_device(&pyramid(), alignment, selection).unwrap();
                assert_eq!((host.grid, host.n_channels), (device.grid, device.n_channels));
                fmam_testkit::assert_close(&device.values, &host.values, 1e-6, 1e-6);
            }
        }
    }

    #[test]
    fn selected_channels_keep_their_order() {
        let chosen = PatchEmbedding::new(&pyramid(), Alignment::Nearest, Some(&[2, 0])).unwrap();
        assert_eq!(chosen.rows().nth(5).unwrap(), [100.0, 5.0]);
    }
}
