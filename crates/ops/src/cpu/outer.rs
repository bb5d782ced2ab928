//! Sums of outer products, `sum[i][j] += a[p][i] b[p][j]` over positions `p`: the weight gradients.
//! Both rows of a position are read where they lie, so that neither windows are gathered nor
//! matrices packed.

use pulp::{Simd, WithSimd};

use crate::cpu::panels::{load, store};

/// Rows of `sum` that are computed together.
const BLOCK: usize = 6;

/// Positions whose rows lie at equal distances, in runs of `count`.
pub(crate) struct OuterProducts<'a, 's> {
    /// The rows of `a` and `b` at a run's first position.
    pub(crate) runs: &'a [(usize, usize)],
    pub(crate) count: usize,
    pub(crate) a: &'a [f32],
    pub(crate) a_step: usize,
    pub(crate) b: &'a [f32],
    pub(crate) b_step: usize,
    /// Rows of `columns` elements, each `sum_step` after the one before.
    pub(crate) sum: &'s mut [f32],
    pub(crate) sum_step: usize,
    pub(crate) rows: usize,
    pub(crate) columns: usize,
}

impl WithSimd for OuterProducts<'_, '_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(mut self, simd: S) {
        for column in (0..self.columns).step_by(2 * S::F32_LANES) {
            let is_whole = self.columns - column >= 2 * S::F32_LANES;
            let mut row = 0;
            while row < self.rows {
                row += match (self.rows - row, is_whole) {
                    (BLOCK.., true) => self.whole::<S, BLOCK>(simd, row, column),
                    (4.., true) => self.whole::<S, 4>(simd, row, column),
                    (2.., true) => self.whole::<S, 2>(simd, row, column),
                    (_, true) => self.whole::<S, 1>(simd, row, column),
                    (BLOCK.., false) => self.rest::<S, BLOCK>(simd, row, column),
                    (_, false) => self.rest::<S, 1>(simd, row, column),
                };
            }
        }
    }
}

impl OuterProducts<'_, '_> {
    /// `R` rows and two whole vectors of columns. Gives `R`.
    #[inline(always)]
    #[allow(clippy::needless_range_loop, reason = "an iterator over the sums moves them to memory")]
    fn whole<S: Simd, const R: usize>(&mut self, simd: S, row: usize, column: usize) -> usize {
        let width = 2 * S::F32_LANES;
        let mut sums = [[simd.splat_f32s(0.0); 2]; R];
        for i in 0..R {
            let sum = S::as_simd_f32s(&self.sum[(row + i) * self.sum_step + column..][..width]).0;
            sums[i] = [sum[0], sum[1]];
        }
        for &(a, b) in self.runs {
            for k in 0..self.count {
                let a = &self.a[a + k * self.a_step + row..][..R];
                let b = S::as_simd_f32s(&self.b[b + k * self.b_step + column..][..width]).0;
                for i in 0..R {
                    let factor = simd.splat_f32s(a[i]);
                    for v in 0..2 {
                        sums[i][v] = simd.mul_add_e_f32s(factor, b[v], sums[i][v]);
                    }
                }
            }
        }
        for i in 0..R {
            let sum = &mut self.sum[(row + i) * self.sum_step + column..][..width];
            S::as_mut_simd_f32s(sum).0[..2].copy_from_slice(&sums[i]);
        }
        R
    }

    /// `R` rows and the last columns. Gives `R`.
    #[inline(always)]
    #[allow(clippy::needless_range_loop, reason = "an iterator over the sums moves them to memory")]
    fn rest<S: Simd, const R: usize>(&mut self, simd: S, row: usize, column: usize) -> usize {
        for column in (column..self.columns).step_by(S::F32_LANES) {
            let width = (self.columns - column).min(S::F32_LANES);
            let mut sums = [simd.splat_f32s(0.0); R];
            for i in 0..R {
                sums[i] = load(simd, &self.sum[(row + i) * self.sum_step + column..][..width]);
            }
            for &(a, b) in self.runs {
                for k in 0..self.count {
                    let a = &self.a[a + k * self.a_step + row..][..R];
                    // The vector may reach beyond the columns; the store drops these products.
                    let b = load(simd, &self.b[b + k * self.b_step + column..]);
                    for i in 0..R {
                        sums[i] = simd.mul_add_e_f32s(simd.splat_f32s(a[i]), b, sums[i]);
                    }
                }
            }
            for i in 0..R {
                let sum = &mut self.sum[(row + i) * self.sum_step + column..][..width];
                store(simd, sum, sums[i]);
            }
        }
        R
    }
}
