//! Exact nearest neighbours among many feature vectors.
//!
//! Vectors are turned into a basis whose first coordinates differ most. The distance over those few
//! is a bound from below for the whole distance, comes from one matrix product, and rules nearly
//! every candidate out; the whole distance is computed, by differences and so without cancellation,
//! for the rest.

use candle_core::{Device, Tensor};
use faer::linalg::matmul::matmul;
use faer::{Accum, Mat, MatMut, MatRef, Par};
use fmam_models::{FeatureMoments, FeaturePyramid};
use fmam_ops::traced;
use rayon::prelude::*;

use crate::MethodError;
use crate::checkpoint::{Checkpoint, Tensors};
use crate::memory::distance::{LANES, Nearest, below};

/// Share of the variance that the first coordinates hold.
const HEAD_VARIANCE: f64 = 0.85;

/// The number of first coordinates is a multiple of this, as wide as vectors are.
const HEAD_STEP: usize = 8;

/// Queries that share a pass over the candidates.
const QUERY_BLOCK: usize = 64;

/// Candidates of one matrix product: its result stays in the cache.
const CANDIDATE_BLOCK: usize = 512;

/// An orthonormal basis about the mean of some vectors.
pub(crate) struct Basis {
    mean: Vec<f32>,
    /// Axes in columns, that of the largest variance first.
    axes: Mat<f32>,
    head: usize,
}

/// Vectors in a [`Basis`], row by row.
pub(crate) struct Rotated {
    values: Vec<f32>,
    /// Squared lengths of the first coordinates.
    heads: Vec<f32>,
}

impl Basis {
    /// The basis of vectors of `width` values, all of whose parts are gathered in `moments`.
    pub(crate) fn new(moments: &FeatureMoments, width: usize) -> Result<Self, MethodError> {
        let (variances, axes) = moments.principal_axes(0)?;
        let axes = Mat::from_fn(width, width, |i, j| axes[j][i] as f32);
        let total: f64 = variances.iter().map(|variance| variance.max(0.0)).sum();
        let (mut head, mut sum) = (0, 0.0);
        while head < width && sum < HEAD_VARIANCE * total {
            sum += variances[head].max(0.0);
            head += 1;
        }
        let head = head.next_multiple_of(HEAD_STEP).clamp(1, width);
        let mean = moments.mean(0).into_iter().map(|value| value as f32).collect();
        Ok(Self { mean, axes, head })
    }

    /// The basis of all `rows` of `width` values.
    pub(crate) fn of_rows(rows: &[f32], width: usize) -> Result<Self, MethodError> {
        let mut moments = FeatureMoments::default();
        add_rows(&mut moments, rows, width)?;
        Self::new(&moments, width)
    }

    /// Values of a vector.
    pub(crate) fn width(&self) -> usize {
        self.mean.len()
    }

    /// `rows` in this basis.
    pub(crate) fn rotate(&self, rows: &[f32]) -> Rotated {
        let width = self.width();
        let centred: Vec<f32> =
            rows.chunks_exact(width).flat_map(|row| row.iter().zip(&self.mean).map(|(v, m)| v - m)).collect();
        self.rotated(mapped(&centred, self.axes.as_ref()))
    }

    /// Takes rows that are in this basis already.
    pub(crate) fn rotated(&self, values: Vec<f32>) -> Rotated {
        let length = |row: &[f32]| row[..self.head].iter().map(|v| v * v).sum();
        let heads = values.chunks_exact(self.width()).map(length).collect();
        Rotated { values, heads }
    }

    /// Sets `best` to the nearest of `candidates` wherever that is nearer than what stands there.
    /// `first_row` is the number of the first candidate.
    pub(crate) fn improve(
        &self,
        queries: &Rotated,
        candidates: &Rotated,
        first_row: usize,
        best: &mut [Nearest],
    ) {
        let width = self.width();
        let blocks = queries.values.par_chunks(QUERY_BLOCK * width);
        blocks
            .zip(queries.heads.par_chunks(QUERY_BLOCK))
            .zip(best.par_chunks_mut(QUERY_BLOCK))
            .for_each_init(Vec::new, |products, ((queries, heads), best)| {
                self.improve_block((queries, heads), candidates, first_row, best, products);
            });
    }

    fn improve_block(
        &self,
        (queries, query_heads): (&[f32], &[f32]),
        candidates: &Rotated,
        first_row: usize,
        best: &mut [Nearest],
        products: &mut Vec<f32>,
    ) {
        let (width, head, n) = (self.width(), self.head, query_heads.len());
        let arch = pulp::Arch::new();
        products.resize(n * CANDIDATE_BLOCK, 0.0);
        // The rounding error of a product of this many terms and of the distance that it is
        // compared with, relative to the squared lengths: the bound errs on the near side.
        let slack = 1.0 - 2.0 * (head + width / LANES + 2 * LANES) as f32 * f32::EPSILON;
        let query_matrix = MatRef::from_row_major_slice_with_stride(queries, n, head, width);
        let blocks = candidates.values.chunks(CANDIDATE_BLOCK * width);
        for (block, (rows, lengths)) in blocks.zip(candidates.heads.chunks(CANDIDATE_BLOCK)).enumerate() {
            let m = lengths.len();
            matmul(
                MatMut::from_column_major_slice_mut(&mut products[..n * m], m, n),
                Accum::Replace,
                MatRef::from_row_major_slice_with_stride(rows, m, head, width),
                query_matrix.transpose(),
                -2.0,
                Par::Seq,
            );
            for (((query, query_head), best), bounds) in queries
                .chunks_exact(width)
                .zip(query_heads)
                .zip(best.iter_mut())
                .zip(products.chunks_exact_mut(m))
            {
                let first = first_row + block * CANDIDATE_BLOCK;
                let candidates = Candidates { rows, lengths, first };
                arch.dispatch(Improve {
                    candidates,
                    query,
                    query_head: query_head * slack,
                    slack,
                    bounds,
                    best,
                });
            }
        }
    }
}

impl Basis {
    /// The tensors that [`Basis::read`] takes.
    pub(crate) fn tensors(&self) -> Result<Tensors, MethodError> {
        let (width, device) = (self.width(), &Device::Cpu);
        let axes: Vec<f32> = (0..width * width).map(|at| self.axes[(at / width, at % width)]).collect();
        Ok([
            ("basis.mean".to_owned(), Tensor::from_slice(&self.mean, width, device)?),
            ("basis.axes".to_owned(), Tensor::from_vec(axes, (width, width), device)?),
            ("basis.head".to_owned(), Tensor::new(&[self.head as u32], device)?),
        ]
        .into())
    }

    /// Mean, `[width]`, and axes, `[width, width]`, on `device`.
    pub(crate) fn on_device(&self, device: &Device) -> Result<DeviceBasis, MethodError> {
        let tensors = self.tensors()?;
        let on_device = |name: &str| tensors[name].to_device(device);
        Ok(DeviceBasis { mean: on_device("basis.mean")?, axes: on_device("basis.axes")? })
    }

    /// The saved basis for vectors of `width` values.
    pub(crate) fn read(saved: &Checkpoint, width: usize) -> Result<Self, MethodError> {
        let mean = saved.tensor("basis.mean", &[Some(width)])?.to_vec1()?;
        let axes = saved.tensor("basis.axes", &[Some(width); 2])?.to_vec2::<f32>()?;
        let head = saved.tensor("basis.head", &[Some(1)])?.to_vec1::<u32>()?[0];
        let axes = Mat::from_fn(width, width, |i, j| axes[i][j]);
        Ok(Self { mean, axes, head: (head as usize).clamp(1, width) })
    }
}

/// A [`Basis`] on a GPU.
pub(crate) struct DeviceBasis {
    mean: Tensor,
    axes: Tensor,
}

impl DeviceBasis {
    /// `rows`, `[N, width]`, in this basis.
    pub(crate) fn rotate(&self, rows: &Tensor) -> Result<Tensor, MethodError> {
        Ok(traced::matmul(&traced::sub(rows, &self.mean)?, &self.axes)?)
    }
}

impl Rotated {
    pub(crate) fn into_values(self) -> Vec<f32> {
        self.values
    }
}

/// Vectors, one a row, times a matrix.
pub(crate) fn mapped(rows: &[f32], matrix: MatRef<'_, f32>) -> Vec<f32> {
    let n = rows.len() / matrix.nrows();
    let mut values = vec![0.0; n * matrix.ncols()];
    matmul(
        MatMut::from_row_major_slice_mut(&mut values, n, matrix.ncols()),
        Accum::Replace,
        MatRef::from_row_major_slice(rows, n, matrix.nrows()),
        matrix,
        1.0,
        Par::Seq,
    );
    values
}

/// Adds vectors to `moments` as a pyramid of one scale.
pub(crate) fn add_rows(moments: &mut FeatureMoments, rows: &[f32], width: usize) -> Result<(), MethodError> {
    let scale = Tensor::from_slice(rows, (1, 1, rows.len() / width, width), &Device::Cpu)?;
    Ok(moments.add(&FeaturePyramid { scales: vec![scale.permute((0, 3, 1, 2))?] })?)
}

/// Candidates of one block.
struct Candidates<'a> {
    rows: &'a [f32],
    lengths: &'a [f32],
    first: usize,
}

/// Compares a query with the candidates of a block, as far as their bounds are below what is known.
struct Improve<'a> {
    candidates: Candidates<'a>,
    query: &'a [f32],
    query_head: f32,
    slack: f32,
    /// -2 times the products of the first coordinates; overwritten in place with lower bounds of
    /// the squared distances, minus `query_head`.
    bounds: &'a mut [f32],
    best: &'a mut Nearest,
}

impl pulp::NullaryFnOnce for Improve<'_> {
    type Output = ();

    #[inline(always)]
    fn call(self) {
        let Self { candidates, query, query_head, slack, bounds, best } = self;
        let lowest = least_bound(bounds, candidates.lengths, slack);
        if query_head + lowest >= best.squared {
            return;
        }
        // The most promising one first: it rules most of the others out.
        if let Some(index) = bounds.iter().position(|bound| *bound == lowest) {
            candidates.compare(query, index, best);
        }
        for (chunk, bounds) in bounds.chunks(LANES).enumerate() {
            if query_head + minimum(bounds) >= best.squared {
                continue;
            }
            for (lane, bound) in bounds.iter().enumerate() {
                if query_head + bound < best.squared {
                    candidates.compare(query, chunk * LANES + lane, best);
                }
            }
        }
    }
}

impl Candidates<'_> {
    #[inline(always)]
    fn compare(&self, query: &[f32], index: usize, best: &mut Nearest) {
        let width = query.len();
        let squared = below(query, &self.rows[index * width..(index + 1) * width], best.squared);
        if squared < best.squared {
            *best = Nearest { squared, row: self.first + index };
        }
    }
}

/// Makes products to bounds, and gives the least.
#[inline(always)]
fn least_bound(bounds: &mut [f32], lengths: &[f32], slack: f32) -> f32 {
    let mut least = [f32::INFINITY; LANES];
    let ((chunks, rest), (lengths, length_rest)) =
        (bounds.as_chunks_mut::<LANES>(), lengths.as_chunks::<LANES>());
    for (bounds, lengths) in chunks.iter_mut().zip(lengths) {
        for lane in 0..LANES {
            bounds[lane] += lengths[lane] * slack;
            least[lane] = if bounds[lane] < least[lane] { bounds[lane] } else { least[lane] };
        }
    }
    for (bound, length) in rest.iter_mut().zip(length_rest) {
        *bound += length * slack;
    }
    minimum(&least).min(minimum(rest))
}

#[inline(always)]
fn minimum(values: &[f32]) -> f32 {
    let (chunks, rest) = values.as_chunks::<LANES>();
    let mut least = [f32::INFINITY; LANES];
    for chunk in chunks {
        for lane in 0..LANES {
            least[lane] = if chunk[lane] < least[lane] { chunk[lane] } else { least[lane] };
        }
    }
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            least[lane] = if least[lane + half] < least[lane] { least[lane + half] } else { least[lane] };
        }
        half /= 2;
    }
    rest.iter().copied().fold(least[0], f32::min)
}

#[cfg(test)]
mod tests {
    use fmam_core::Seed;
    use rand::Rng;

    use super::*;
    use crate::memory::distance::{nearest_rows, squared_distance};

    /// Vectors whose coordinates differ in size, about a mean far from zero.
    fn rows(n: usize, width: usize, seed: u64) -> Vec<f32> {
        let mut rng = Seed::new(seed).rng();
        let value = |at: usize, random: f32| 30.0 + (random - 0.5) * 8.0 / (1 + at % width) as f32;
        (0..n * width).map(|at| value(at, rng.random())).collect()
    }

    #[test]
    fn the_nearest_is_that_of_a_search_through_all() {
        for (width, n) in [(1, 5), (7, 40), (20, 1500), (33, 700)] {
            let (candidates, queries) = (rows(n, width, 1), rows(130, width, 2));
            let basis = Basis::of_rows(&candidates, width).unwrap();
            let mut best = vec![Nearest::NONE; 130];
            // In two parts, as a caller with several galleries does.
            let half = n / 2 * width;
            let turned = basis.rotate(&queries);
            basis.improve(&turned, &basis.rotate(&candidates[..half]), 0, &mut best);
            basis.improve(&turned, &basis.rotate(&candidates[half..]), n / 2, &mut best);
            for (query, found) in queries.chunks_exact(width).zip(&best) {
                let expected = nearest_rows(&candidates, query, 1)[0];
                let scale = expected.squared.max(1e-4);
                assert!((found.squared - expected.squared).abs() < 1e-3 * scale, "{found:?} {expected:?}");
                let there = &candidates[found.row * width..(found.row + 1) * width];
                assert!((squared_distance(query, there) - expected.squared).abs() < 1e-3 * scale);
            }
        }
    }

    #[test]
    fn a_vector_among_the_candidates_has_no_distance() {
        let candidates = rows(300, 12, 3);
        let basis = Basis::of_rows(&candidates, 12).unwrap();
        let turned = basis.rotate(&candidates);
        let mut best = vec![Nearest::NONE; 300];
        basis.improve(&turned, &turned, 0, &mut best);
        for (row, found) in best.iter().enumerate() {
            assert_eq!(*found, Nearest { squared: 0.0, row });
        }
    }

    #[test]
    fn candidates_without_variance_are_no_error() {
        let basis = Basis::of_rows(&[1.0; 12], 3).unwrap();
        let mut best = [Nearest::NONE];
        basis.improve(&basis.rotate(&[1.0, 2.0, 3.0]), &basis.rotate(&[1.0; 12]), 0, &mut best);
        assert!((best[0].squared - 5.0).abs() < 1e-5);
    }
}
