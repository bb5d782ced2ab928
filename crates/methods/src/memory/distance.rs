//! Squared Euclidean distances of feature vectors, without cancellation and to the same bits on any
//! machine.

use candle_core::Tensor;
use fmam_ops::traced;

use crate::MethodError;

/// Lanes of the sums and minima, a whole number of the widest vectors.
pub(crate) const LANES: usize = 16;

/// Chunks of lanes between two looks at the sum so far.
const LOOK: usize = 2;

/// The nearest candidate of a query so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Nearest {
    /// Squared Euclidean distance, infinite before any candidate was seen.
    pub(crate) squared: f32,
    /// Its row among the candidates.
    pub(crate) row: usize,
}

impl Nearest {
    pub(crate) const NONE: Self = Self { squared: f32::INFINITY, row: usize::MAX };

    /// The neighbours that a device found: squared distances and rows, `[N]` each.
    pub(crate) fn of_device(squared: &Tensor, rows: &Tensor) -> Result<Vec<Self>, MethodError> {
        let (squared, rows) = (squared.to_vec1::<f32>()?, rows.to_vec1::<u32>()?);
        let nearest = squared.into_iter().zip(rows);
        Ok(nearest.map(|(squared, row)| Self { squared, row: row as usize }).collect())
    }

    /// # Errors
    /// [`MethodError::UndefinedFeatures`] when nothing was near: squares of the features are too
    /// large for numbers.
    pub(crate) fn check(all: &[Self]) -> Result<(), MethodError> {
        let is_known = all.iter().all(|nearest| nearest.squared.is_finite());
        if is_known { Ok(()) } else { Err(MethodError::UndefinedFeatures) }
    }
}

/// The nearest of several rows to each query, as a trace knows it.
pub(crate) struct TracedNearest {
    /// Squared distances, `[queries]`.
    pub(crate) squared: Tensor,
    /// The numbers of the rows, `[queries]`.
    pub(crate) rows: Tensor,
}

impl TracedNearest {
    /// The nearest of `rows`, `[M, D]`, to each of the traced `queries`, `[N, D]`.
    pub(crate) fn of(queries: &Tensor, rows: &Tensor) -> Result<Self, MethodError> {
        let (m, _) = rows.dims2()?;
        let lengths = traced::reshape(&traced::sum(&traced::sqr(rows)?, &[1])?, &[1, m])?;
        let products = traced::matmul(queries, &traced::permute(rows, [1, 0])?)?;
        let order = traced::add(&traced::affine(&products, -2.0, 0.0)?, &lengths)?;
        let nearest = traced::argmin(&order)?;
        // By differences: the products of long vectors have lost the digits of a small distance.
        let differences = traced::sub(queries, &traced::rows_at(rows, &nearest)?)?;
        let squared = traced::sum(&traced::sqr(&differences)?, &[1])?;
        Ok(Self { squared, rows: nearest })
    }
}

/// The squared distance of a traced `query`, as many values as `rows`, `[M, D]`, is wide, to each of
/// them, `[M]`.
pub(crate) fn trace_squared_distances(rows: &Tensor, query: &Tensor) -> Result<Tensor, MethodError> {
    Ok(traced::sum(&traced::sqr(&traced::sub(rows, query)?)?, &[1])?)
}

/// Squared Euclidean distance, with the widest vectors that the machine has. The same bits on any.
pub(crate) fn squared_distance(a: &[f32], b: &[f32]) -> f32 {
    nearer(a, b, f32::INFINITY)
}

/// The squared distance of `query` to the nearest of `rows`, where that is below `limit`; else
/// `limit`. A distance is given up as soon as the first values alone exceed it.
pub(crate) fn nearer(query: &[f32], rows: &[f32], limit: f32) -> f32 {
    pulp::Arch::new().dispatch(Nearer { query, rows, limit })
}

/// The computation of [`nearer`]. A closure would not do: code that is not inlined into the
/// dispatch is compiled for any machine.
struct Nearer<'a> {
    query: &'a [f32],
    rows: &'a [f32],
    limit: f32,
}

impl pulp::NullaryFnOnce for Nearer<'_> {
    type Output = f32;

    #[inline(always)]
    fn call(self) -> f32 {
        let mut limit = self.limit;
        for row in self.rows.chunks_exact(self.query.len()) {
            limit = below(self.query, row, limit);
        }
        limit
    }
}

/// Sum of the squared differences in a fixed order where it is below `limit`, else `limit`.
#[inline(always)]
pub(crate) fn below(a: &[f32], b: &[f32], limit: f32) -> f32 {
    let ((a, a_rest), (b, b_rest)) = (a.as_chunks::<LANES>(), b.as_chunks::<LANES>());
    let mut lanes = [0.0_f32; LANES];
    for (a, b) in a.chunks(LOOK).zip(b.chunks(LOOK)) {
        for (a, b) in a.iter().zip(b) {
            for lane in 0..LANES {
                let difference = a[lane] - b[lane];
                lanes[lane] += difference * difference;
            }
        }
        // The partial sum only grows, so stop here.
        if sum_of_lanes(lanes) >= limit {
            return limit;
        }
    }
    let rest: f32 = a_rest.iter().zip(b_rest).map(|(a, b)| (a - b) * (a - b)).sum();
    let squared = sum_of_lanes(lanes) + rest;
    if squared < limit { squared } else { limit }
}

/// Sum by halves, which vectors do in a few steps.
#[inline(always)]
fn sum_of_lanes(mut lanes: [f32; LANES]) -> f32 {
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
        half /= 2;
    }
    lanes[0]
}

/// The `count` of `rows` that are nearest to `query`, nearest first, with their squared distances;
/// the earlier of two that are equally near.
pub(crate) fn nearest_rows(rows: &[f32], query: &[f32], count: usize) -> Vec<Nearest> {
    let distance = |(row, values)| Nearest { squared: squared_distance(query, values), row };
    let mut all: Vec<Nearest> = rows.chunks_exact(query.len()).enumerate().map(distance).collect();
    all.sort_by(|a, b| a.squared.total_cmp(&b.squared).then(a.row.cmp(&b.row)));
    all.truncate(count);
    all
}

#[cfg(test)]
mod tests {
    use fmam_core::Seed;
    use rand::Rng;

    use super::*;

    #[test]
    fn equal_rows_come_in_their_order() {
        let found = nearest_rows(&[5.0, 1.0, 3.0, 1.0], &[2.0], 3);
        assert_eq!(found.iter().map(|nearest| nearest.row).collect::<Vec<_>>(), [1, 2, 3]);
    }

    #[test]
    fn a_distance_is_given_up_only_above_the_limit() {
        let row = |n: usize, seed| {
            let mut rng = Seed::new(seed).rng();
            (0..n).map(|_| rng.random::<f32>() - 0.3).collect::<Vec<_>>()
        };
        for n in [1, 15, 16, 31, 32, 33, 48, 100] {
            let (a, b) = (row(n, 5), row(n, 11));
            let squared = squared_distance(&a, &b);
            let expected: f64 = a.iter().zip(&b).map(|(a, b)| (f64::from(*a) - f64::from(*b)).powi(2)).sum();
            assert!((f64::from(squared) / expected - 1.0).abs() < 1e-6, "{n}: {squared} is not {expected}");
            // To the bit as long as it is below the limit, however little.
            assert_eq!(nearer(&a, &b, squared.next_up()), squared, "{n}");
            assert_eq!(nearer(&a, &b, 0.5 * squared), 0.5 * squared, "{n}");
            // The nearest of several, one of which is the vector itself.
            assert_eq!(nearer(&a, &[b.clone(), a.clone(), b].concat(), f32::INFINITY), 0.0, "{n}");
        }
    }
}
