//! A Gaussian at each position: mean and covariance of normal feature vectors, gathered in one
//! pass, and the Mahalanobis distance to them.

use candle_core::{Device, Tensor};
use faer::{Mat, Side};
use fmam_core::ImageSize;
use fmam_models::ModelError;
use fmam_ops::{PositionSums, traced};
use rayon::prelude::*;

use crate::MethodError;
use crate::checkpoint::{Checkpoint, Tensors};
use crate::memory::embedding::PatchEmbedding;

/// Entries of a triangle of `d` rows, with its diagonal.
pub(crate) const fn triangle(d: usize) -> usize {
    d * (d + 1) / 2
}

/// Images whose deviations are summed in one pass.
const TOGETHER: usize = 4;

/// Sums over normal images at each position, in f64: memory does not grow with the number of
/// images. They are taken about the first image's features, so that a mean which is large beside
/// the deviation costs no digits.
#[derive(Default)]
pub(crate) struct PositionMoments {
    grid: Option<ImageSize>,
    n_channels: usize,
    /// Images that count at each position.
    counts: Vec<f64>,
    centre: Vec<f32>,
    sums: Vec<f64>,
    /// Lower triangles of the sums of outer products, row by row.
    products: Vec<f64>,
    /// The sums and products as a GPU adds them up, if the images are there.
    on_device: Option<PositionSums>,
}

impl PositionMoments {
    /// Takes in `images` on a device: one that does not count at a position is there as the centre,
    /// which adds nothing.
    fn add_on_device(&mut self, images: &[(PatchEmbedding, Option<Vec<bool>>)]) -> Result<(), MethodError> {
        let mut stacked = Vec::with_capacity(images.len());
        for (image, counts) in images {
            let rows = image.on_device.as_ref().ok_or(ModelError::EmptyBatch)?;
            if self.grid.is_none() {
                self.grid = Some(image.grid);
                self.n_channels = image.n_channels;
                self.centre = image.values.clone();
                self.counts = vec![0.0; image.grid.pixels()];
            }
            let counts = counts.clone().unwrap_or_else(|| vec![true; image.grid.pixels()]);
            for (sum, counts) in self.counts.iter_mut().zip(&counts) {
                *sum += f64::from(u8::from(*counts));
            }
            stacked.push(if counts.iter().all(|counts| *counts) {
                rows.clone()
            } else {
                let inside = counts.iter().map(|counts| f32::from(u8::from(*counts)));
                let inside = Tensor::from_iter(inside, rows.device())?.reshape(((), 1))?;
                let centre = Tensor::from_slice(&self.centre, rows.shape(), rows.device())?;
                (centre.broadcast_mul(&(1.0 - &inside)?)? + rows.broadcast_mul(&inside)?)?
            });
        }
        if let Some(sums) = &mut self.on_device {
            sums.add(&Tensor::stack(&stacked, 0)?)?;
        }
        Ok(())
    }

    /// Takes what a device has added up to the host.
    fn read(&mut self) -> Result<(), MethodError> {
        if let Some(sums) = self.on_device.take() {
            (self.sums, self.products) = sums.read()?;
        }
        Ok(())
    }

    /// Takes in images, all of one grid and number of channels, each with the positions at which it
    /// counts; `None` for all.
    ///
    /// # Errors
    /// The errors of the device.
    pub(crate) fn add(&mut self, images: &[(PatchEmbedding, Option<Vec<bool>>)]) -> Result<(), MethodError> {
        let Some((first, _)) = images.first() else { return Ok(()) };
        if let Some(rows) = first.on_device.as_ref().filter(|_| self.grid.is_none()) {
            // The host has memory for the products where the device has none.
            self.on_device = PositionSums::new(rows).ok();
        }
        if self.on_device.is_some() {
            return self.add_on_device(images);
        }
        let d = first.n_channels;
        if self.grid.is_none() {
            let n = first.grid.pixels();
            self.grid = Some(first.grid);
            self.n_channels = d;
            self.centre = first.values.clone();
            self.counts = vec![0.0; n];
            self.sums = vec![0.0; n * d];
            self.products = vec![0.0; n * triangle(d)];
        }
        let arch = pulp::Arch::new();
        self.products
            .par_chunks_exact_mut(triangle(d))
            .zip(self.sums.par_chunks_exact_mut(d))
            .zip(self.centre.par_chunks_exact(d))
            .zip(self.counts.par_iter_mut())
            .enumerate()
            .for_each_init(
                Vec::new,
                |deviations: &mut Vec<f64>, (position, (((products, sums), centre), count))| {
                    // The images that are summed together must not depend on how many come at once.
                    for images in images.chunks(TOGETHER) {
                        deviations.clear();
                        for (image, counts) in images {
                            if counts.as_ref().is_none_or(|counts| counts[position]) {
                                let row = &image.values[position * d..(position + 1) * d];
                                let values = row.iter().zip(centre);
                                deviations.extend(values.map(|(v, c)| f64::from(*v) - f64::from(*c)));
                                *count += 1.0;
                            }
                        }
                        arch.dispatch(Accumulate {
                            rows: deviations,
                            d,
                            sums: &mut *sums,
                            products: &mut *products,
                        });
                    }
                },
            );
        Ok(())
    }

    /// The Gaussians: covariance of the sample (over n - 1), `ridge` added to each variance. At a
    /// position where no image counts the variances are `ridge` alone; nothing is judged there.
    ///
    /// # Errors
    /// [`MethodError::NoTrainingImages`] before any image, [`ModelError::Covariance`] for features
    /// that are not finite.
    pub(crate) fn gaussians(mut self, ridge: f64) -> Result<PositionGaussians, MethodError> {
        self.read()?;
        self.factored(|scatter, n, i, j| scatter / (n - 1.0).max(1.0) + if i == j { ridge } else { 0.0 })
    }

    /// The Gaussians, their covariances shrunk towards that of all positions together, which counts
    /// as much as `shared_images` further images. `ridge_share` of the mean variance is added to
    /// each variance.
    ///
    /// # Errors
    /// As [`PositionMoments::gaussians`].
    pub(crate) fn shrunk_gaussians(
        mut self,
        shared_images: f64,
        ridge_share: f64,
    ) -> Result<PositionGaussians, MethodError> {
        self.read()?;
        let (whole, d) = (self.whole_covariance(), self.n_channels);
        let mean_variance = (0..d).map(|i| whole[triangle(i) + i]).sum::<f64>() / d.max(1) as f64;
        // Features without any variance: every deviation counts alike.
        let ridge = if mean_variance > 0.0 { ridge_share * mean_variance } else { 1.0 };
        self.factored(|scatter, n, i, j| {
            let shrunk = (scatter + shared_images * whole[triangle(i) + j]) / (n + shared_images);
            shrunk + if i == j { ridge } else { 0.0 }
        })
    }

    /// The covariance over all positions of all images together: a lower triangle, row by row.
    fn whole_covariance(&self) -> Vec<f64> {
        let d = self.n_channels;
        let n: f64 = self.counts.iter().sum::<f64>().max(1.0);
        let mut mean = vec![0.0; d];
        let positions = || self.counts.iter().zip(self.centre.chunks_exact(d)).zip(self.sums.chunks_exact(d));
        for ((count, centre), sums) in positions() {
            for ((total, c), sum) in mean.iter_mut().zip(centre).zip(sums) {
                *total += (count * f64::from(*c) + sum) / n;
            }
        }
        let mut whole = vec![0.0; triangle(d)];
        for (((count, centre), sums), products) in positions().zip(self.products.chunks_exact(triangle(d))) {
            // About the whole mean m: the sum of (v + c - m)(v + c - m)' over deviations v from c.
            let away: Vec<f64> = centre.iter().zip(&mean).map(|(c, m)| f64::from(*c) - m).collect();
            for i in 0..d {
                let line = &mut whole[triangle(i)..triangle(i + 1)];
                for (j, (total, product)) in line.iter_mut().zip(&products[triangle(i)..]).enumerate() {
                    let cross = sums[i] * away[j] + sums[j] * away[i] + count * away[i] * away[j];
                    *total += (product + cross) / n;
                }
            }
        }
        whole
    }

    /// The means, and the factors of the covariances that `covariance` makes of an entry of the
    /// scatter, the number of images at the position, and the entry's row and column.
    fn factored(
        &self,
        covariance: impl Fn(f64, f64, usize, usize) -> f64 + Sync,
    ) -> Result<PositionGaussians, MethodError> {
        let (Some(grid), d) = (self.grid, self.n_channels) else {
            return Err(MethodError::NoTrainingImages);
        };
        let counts: Vec<f64> = self.counts.iter().map(|count| count.max(1.0)).collect();
        let means = self.centre.iter().zip(&self.sums).enumerate();
        let means = means.map(|(at, (c, sum))| (f64::from(*c) + sum / counts[at / d]) as f32).collect();
        let mut factors = vec![0.0_f32; grid.pixels() * triangle(d)];
        factors
            .par_chunks_exact_mut(triangle(d))
            .zip(self.products.par_chunks_exact(triangle(d)))
            .zip(self.sums.par_chunks_exact(d))
            .zip(counts.par_iter())
            .try_for_each(|(((factor, products), sums), &n)| {
                let covariance = Mat::from_fn(d, d, |i, j| {
                    let (i, j) = (i.max(j), i.min(j));
                    covariance(products[triangle(i) + j] - sums[i] * sums[j] / n, n, i, j)
                });
                let cholesky = covariance.llt(Side::Lower).map_err(|_| ModelError::Covariance)?;
                let lower = cholesky.L();
                let mut entries = factor.iter_mut();
                for j in 0..d {
                    for (i, entry) in (j..d).zip(entries.by_ref()) {
                        *entry = lower[(i, j)] as f32;
                    }
                }
                Ok::<(), ModelError>(())
            })?;
        Ok(PositionGaussians { grid, n_channels: d, means, factors })
    }
}

/// Adds rows of `d` deviations to their sums and the lower triangle of their products. A closure
/// would not do: what is not inlined into the dispatch is compiled for any machine.
struct Accumulate<'a> {
    rows: &'a [f64],
    d: usize,
    sums: &'a mut [f64],
    products: &'a mut [f64],
}

impl pulp::NullaryFnOnce for Accumulate<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { rows, d, sums, products } = self;
        // Four rows at a time, so that a product is read and written once for four additions.
        let mut blocks = rows.chunks_exact(4 * d);
        for block in &mut blocks {
            let (ab, cd) = block.split_at(2 * d);
            let ((a, b), (c, e)) = (ab.split_at(d), cd.split_at(d));
            let mut rest = &mut *products;
            for i in 0..d {
                let (line, tail) = rest.split_at_mut(i + 1);
                rest = tail;
                let (ai, bi, ci, ei) = (a[i], b[i], c[i], e[i]);
                sums[i] += ai + bi + ci + ei;
                let others = a.iter().zip(b).zip(c.iter().zip(e));
                for (value, ((aj, bj), (cj, ej))) in line.iter_mut().zip(others) {
                    *value += ai * aj + bi * bj + (ci * cj + ei * ej);
                }
            }
        }
        for row in blocks.remainder().chunks_exact(d) {
            let mut rest = &mut *products;
            for i in 0..d {
                let (line, tail) = rest.split_at_mut(i + 1);
                rest = tail;
                sums[i] += row[i];
                for (value, other) in line.iter_mut().zip(row) {
                    *value += row[i] * other;
                }
            }
        }
    }
}

/// Mean and Cholesky factor of the covariance at each position.
#[derive(Debug)]
pub(crate) struct PositionGaussians {
    grid: ImageSize,
    n_channels: usize,
    means: Vec<f32>,
    /// Lower triangles, column by column.
    factors: Vec<f32>,
}

impl PositionGaussians {
    /// Mahalanobis distance of each position of `image` to its Gaussian, row by row.
    ///
    /// # Errors
    /// [`ModelError::PyramidShape`] for an image of another grid or number of channels.
    pub(crate) fn distances(&self, image: &PatchEmbedding) -> Result<Vec<f32>, MethodError> {
        let d = self.n_channels;
        if (image.grid, image.n_channels) != (self.grid, d) {
            let expected = format!("{d} channels on {}", self.grid);
            let actual = vec![vec![1, image.n_channels, image.grid.height, image.grid.width]];
            return Err(ModelError::PyramidShape { expected, actual }.into());
        }
        let arch = pulp::Arch::new();
        let positions = image.values.par_chunks_exact(d).zip(self.means.par_chunks_exact(d));
        Ok(positions
            .zip(self.factors.par_chunks_exact(triangle(d)))
            .map_init(Vec::new, |deviation: &mut Vec<f32>, ((row, mean), factor)| {
                deviation.clear();
                deviation.extend(row.iter().zip(mean).map(|(v, m)| v - m));
                arch.dispatch(SolvedNorm { lower: factor, x: deviation })
            })
            .collect())
    }

    /// The Mahalanobis distance at each position, `[positions]`, of traced `rows`,
    /// `[positions, channels]`.
    ///
    /// The graph multiplies by the inverse of each triangular matrix, where
    /// [`PositionGaussians::distances`] solves a system.
    pub(crate) fn trace(&self, rows: &Tensor) -> Result<Tensor, MethodError> {
        let (positions, d) = (self.grid.pixels(), self.n_channels);
        let means = Tensor::from_slice(&self.means, (positions, d), rows.device())?;
        let mut inverses = vec![0.0_f32; positions * d * d];
        inverses
            .par_chunks_exact_mut(d * d)
            .zip(self.factors.par_chunks_exact(triangle(d)))
            .for_each(|(inverse, factor)| invert(factor, d, inverse));
        let inverses = Tensor::from_vec(inverses, (positions, d, d), rows.device())?;
        let deviations = traced::reshape(&traced::sub(rows, &means)?, &[positions, d, 1])?;
        let squares = traced::sqr(&traced::matmul(&inverses, &deviations)?)?;
        Ok(traced::sqrt(&traced::sum(&squares, &[1, 2])?)?)
    }

    /// Positions of the grid.
    pub(crate) fn grid(&self) -> ImageSize {
        self.grid
    }

    /// The tensors that [`PositionGaussians::read`] takes.
    pub(crate) fn tensors(&self) -> Result<Tensors, MethodError> {
        let ImageSize { height, width } = self.grid;
        let tensor = |values: &[f32], size| Tensor::from_slice(values, (height, width, size), &Device::Cpu);
        Ok([
            ("mean".to_owned(), tensor(&self.means, self.n_channels)?),
            ("factor".to_owned(), tensor(&self.factors, triangle(self.n_channels))?),
        ]
        .into())
    }

    /// The saved Gaussians of `n_channels` channels.
    pub(crate) fn read(saved: &Checkpoint, n_channels: usize) -> Result<Self, MethodError> {
        let mean = saved.tensor("mean", &[None, None, Some(n_channels)])?;
        let (height, width, _) = mean.dims3()?;
        let shape = [Some(height), Some(width), Some(triangle(n_channels))];
        let factor = saved.tensor("factor", &shape)?;
        let (means, factors) = (mean.flatten_all()?.to_vec1()?, factor.flatten_all()?.to_vec1()?);
        let grid = ImageSize::new(height, width);
        Ok(Self { grid, n_channels, means, factors })
    }
}

/// The inverse, row by row, of the lower triangular matrix of `d` columns one after the other.
fn invert(columns: &[f32], d: usize, inverse: &mut [f32]) {
    // The entry of row `i` and column `j` stands at `start(j) + i`.
    let start = |j: usize| j * d - j * (j + 1) / 2;
    let entry = |i: usize, j: usize| f64::from(columns[start(j) + i]);
    let mut solved = vec![0.0_f64; d];
    for unit in 0..d {
        for i in unit..d {
            let right = if i == unit { 1.0 } else { 0.0 };
            let known: f64 = (unit..i).map(|j| entry(i, j) * solved[j]).sum();
            solved[i] = (right - known) / entry(i, i);
            inverse[i * d + unit] = solved[i] as f32;
        }
    }
}

/// Length of the solution of `L y = x` for a lower triangle `L`, column by column. `x` is
/// overwritten by `y`.
struct SolvedNorm<'a> {
    lower: &'a [f32],
    x: &'a mut [f32],
}

impl pulp::NullaryFnOnce for SolvedNorm<'_> {
    type Output = f32;

    #[inline(always)]
    fn call(self) -> f32 {
        let Self { lower, x } = self;
        let (mut columns, mut squares) = (lower, 0.0_f32);
        for i in 0..x.len() {
            let (column, rest) = columns.split_at(x.len() - i);
            columns = rest;
            let y = x[i] / column[0];
            squares += y * y;
            for (value, entry) in x[i + 1..].iter_mut().zip(&column[1..]) {
                *value -= y * entry;
            }
        }
        squares.sqrt()
    }
}
