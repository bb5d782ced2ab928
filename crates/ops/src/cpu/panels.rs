//! The matrix product in which every dense kernel ends: a few rows, read where they lie, times a
//! matrix that was packed into panels of two vectors' width. Rows are neither gathered nor packed,
//! since a row may consist of several runs: the rows of a convolution's window in a channels-last
//! image.
//!
//! The code is generic over the vector width of `pulp`; each product is summed in one order,
//! whatever the machine's threads.

use std::ops::Range;

use pulp::{Arch, Simd, WithSimd};

use crate::cpu::host::vectorized;
use crate::nonlinearity::Nonlinearity;

/// A matrix of `depth` rows and `columns` columns as panels: `[columns / (2 L)][depth][2 L]` for
/// vectors of `L` lanes, the last one filled up with zeros.
#[derive(Debug, Clone)]
pub(crate) struct Panels {
    data: Vec<f32>,
    depth: usize,
    columns: usize,
    lanes: usize,
}

/// Lanes of this machine's vectors.
pub(crate) fn machine_lanes() -> usize {
    struct Lanes;
    impl WithSimd for Lanes {
        type Output = usize;
        #[inline(always)]
        fn with_simd<S: Simd>(self, _: S) -> usize {
            S::F32_LANES
        }
    }
    Arch::new().dispatch(Lanes)
}

/// Panels that lie somewhere.
#[derive(Clone, Copy)]
pub(crate) struct PanelsRef<'a> {
    /// Begins with the first panel.
    pub(crate) data: &'a [f32],
    /// Elements from panel to panel.
    pub(crate) step: usize,
    pub(crate) depth: usize,
    pub(crate) columns: usize,
    pub(crate) lanes: usize,
}

impl Panels {
    pub(crate) fn view(&self) -> PanelsRef<'_> {
        let &Self { ref data, depth, columns, lanes } = self;
        PanelsRef { data, step: depth * 2 * lanes, depth, columns, lanes }
    }

    /// Number of columns.
    pub(crate) fn columns(&self) -> usize {
        self.columns
    }

    /// The rows `rows` of the panel `index`, two vectors each.
    #[inline(always)]
    pub(crate) fn vectors<S: Simd>(&self, index: usize, rows: Range<usize>) -> &[S::f32s] {
        assert_eq!(self.lanes, S::F32_LANES, "packed for another vector width");
        let width = 2 * self.lanes;
        let panel = &self.data[index * self.depth * width..][..self.depth * width];
        S::as_simd_f32s(&panel[rows.start * width..rows.end * width]).0
    }

    /// Packs for this machine; `fill(k, row)` writes row `k` of the matrix.
    pub(crate) fn new(depth: usize, columns: usize, fill: impl FnMut(usize, &mut [f32])) -> Self {
        Self::with_lanes(machine_lanes(), depth, columns, fill)
    }

    pub(crate) fn with_lanes(
        lanes: usize,
        depth: usize,
        columns: usize,
        mut fill: impl FnMut(usize, &mut [f32]),
    ) -> Self {
        let width = 2 * lanes;
        let mut data = vec![0.0; columns.div_ceil(width) * depth * width];
        let mut row = vec![0.0; columns];
        for k in 0..depth {
            fill(k, &mut row);
            for (panel, values) in row.chunks(width).enumerate() {
                data[(panel * depth + k) * width..][..values.len()].copy_from_slice(values);
            }
        }
        Self { data, depth, columns, lanes }
    }
}

/// The left matrix of a product: row `p` consists of `runs` runs of `run` elements, the first at
/// `base(p)`, each next one `run_stride` further on.
pub(crate) struct Rows<'a, F: Fn(usize) -> usize> {
    pub(crate) data: &'a [f32],
    pub(crate) count: usize,
    pub(crate) base: F,
    pub(crate) runs: usize,
    pub(crate) run: usize,
    pub(crate) run_stride: usize,
}

/// Bias, residual and nonlinearity, applied to a sum before it is written.
#[derive(Clone, Copy)]
pub(crate) struct Epilogue<'a> {
    /// Added to each column.
    pub(crate) bias: Option<&'a [f32]>,
    /// Added to each element; laid out as the product.
    pub(crate) residual: Option<&'a [f32]>,
    pub(crate) nonlinearity: Nonlinearity,
}

impl Epilogue<'_> {
    pub(crate) const NONE: Epilogue<'static> =
        Epilogue { bias: None, residual: None, nonlinearity: Nonlinearity::Identity };

    /// Applies the epilogue to whole rows that are already written; a residual has the rows'
    /// length.
    pub(crate) fn apply(&self, rows: &mut [f32], columns: usize) {
        vectorized(
            #[inline(always)]
            || {
                if let Some(residual) = self.residual {
                    for (v, r) in rows.iter_mut().zip(residual) {
                        *v += r;
                    }
                }
                if let Some(bias) = self.bias {
                    for row in rows.chunks_exact_mut(columns) {
                        for (v, b) in row.iter_mut().zip(bias) {
                            *v += b;
                        }
                    }
                }
                self.nonlinearity.apply(rows);
            },
        );
    }

    /// Bias of a vector's columns.
    #[inline(always)]
    pub(crate) fn bias<S: Simd>(&self, simd: S, column: usize) -> S::f32s {
        match self.bias {
            Some(bias) => load(simd, &bias[column..]),
            None => simd.splat_f32s(0.0),
        }
    }

    /// Writes the sums of `R` rows, from row `p` on, and `V` vectors, from column `first` on, to
    /// `out`, rows of `columns`.
    #[inline(always)]
    #[allow(clippy::needless_range_loop, reason = "an iterator over the sums moves them to memory")]
    pub(crate) fn write<S: Simd, const R: usize, const V: usize>(
        &self,
        simd: S,
        sums: [[S::f32s; V]; R],
        out: &mut [f32],
        (p, first, columns): (usize, usize, usize),
    ) {
        let lanes = S::F32_LANES;
        // Whole vectors by themselves: a vector that is cut needs calls, for which all sums would
        // leave their registers.
        if columns - first >= V * lanes {
            let mut bias = [simd.splat_f32s(0.0); V];
            if let Some(values) = self.bias {
                bias.copy_from_slice(&S::as_simd_f32s(&values[first..first + V * lanes]).0[..V]);
            }
            for i in 0..R {
                let range = (p + i) * columns + first..(p + i) * columns + first + V * lanes;
                let residual = self.residual.map(|residual| S::as_simd_f32s(&residual[range.clone()]).0);
                let out = S::as_mut_simd_f32s(&mut out[range]).0;
                for v in 0..V {
                    let mut sum = simd.add_f32s(sums[i][v], bias[v]);
                    if let Some(residual) = residual {
                        sum = simd.add_f32s(sum, residual[v]);
                    }
                    out[v] = self.finish(simd, sum);
                }
            }
            return;
        }
        for v in 0..V {
            let column = first + v * lanes;
            let bias = self.bias(simd, column);
            let width = (columns - column).min(lanes);
            for i in 0..R {
                let at = (p + i) * columns + column;
                let mut sum = simd.add_f32s(sums[i][v], bias);
                if let Some(residual) = self.residual {
                    sum = simd.add_f32s(sum, load(simd, &residual[at..at + width]));
                }
                store(simd, &mut out[at..at + width], self.finish(simd, sum));
            }
        }
    }

    #[inline(always)]
    pub(crate) fn finish<S: Simd>(&self, simd: S, sum: S::f32s) -> S::f32s {
        let zero = simd.splat_f32s(0.0);
        // The value stands second: where it is NaN, x86 gives the second argument.
        match self.nonlinearity {
            Nonlinearity::Identity => sum,
            Nonlinearity::Relu => simd.max_f32s(zero, sum),
            Nonlinearity::Relu6 => simd.min_f32s(simd.splat_f32s(6.0), simd.max_f32s(zero, sum)),
        }
    }
}

/// The first vector of `values`, filled up with zeros where they are fewer.
#[inline(always)]
pub(crate) fn load<S: Simd>(simd: S, values: &[f32]) -> S::f32s {
    match S::as_simd_f32s(values).0.first() {
        Some(&vector) => vector,
        None => simd.partial_load_f32s(values),
    }
}

/// Writes the first elements of `vector`, as many as `values` holds.
#[inline(always)]
pub(crate) fn store<S: Simd>(simd: S, values: &mut [f32], vector: S::f32s) {
    if values.len() >= S::F32_LANES {
        S::as_mut_simd_f32s(values).0[0] = vector;
    } else {
        simd.partial_store_f32s(values, vector);
    }
}

/// `out = finish(rows x panels + bias + residual)`, row-major `[rows.count, columns]`.
#[inline(always)]
pub(crate) fn multiply<S: Simd, F: Fn(usize) -> usize>(
    simd: S,
    rows: &Rows<'_, F>,
    panels: PanelsRef<'_>,
    epilogue: &Epilogue<'_>,
    out: &mut [f32],
) {
    let (columns, lanes) = (panels.columns, S::F32_LANES);
    assert_eq!(panels.lanes, lanes, "packed for another vector width");
    assert_eq!(panels.depth, rows.runs * rows.run, "inner dimensions differ");
    assert_eq!(out.len(), rows.count * columns, "the product does not fit its buffer");
    for index in 0..columns.div_ceil(2 * lanes) {
        let panel = S::as_simd_f32s(&panels.data[index * panels.step..][..panels.depth * 2 * lanes]).0;
        let first = index * 2 * lanes;
        let width = (columns - first).min(2 * lanes);
        let mut p = 0;
        while p < rows.count {
            let left = rows.count - p;
            p += match (left, width > lanes) {
                (6.., true) => block::<S, F, 6, 2>(simd, rows, panel, epilogue, out, (p, first, columns)),
                (4..6, true) => block::<S, F, 4, 2>(simd, rows, panel, epilogue, out, (p, first, columns)),
                (2..4, true) => block::<S, F, 2, 2>(simd, rows, panel, epilogue, out, (p, first, columns)),
                (_, true) => block::<S, F, 1, 2>(simd, rows, panel, epilogue, out, (p, first, columns)),
                (6.., false) => block::<S, F, 6, 1>(simd, rows, panel, epilogue, out, (p, first, columns)),
                (2..6, false) => block::<S, F, 2, 1>(simd, rows, panel, epilogue, out, (p, first, columns)),
                (_, false) => block::<S, F, 1, 1>(simd, rows, panel, epilogue, out, (p, first, columns)),
            };
        }
    }
}

/// [`multiply`] for as many rows as `out` has, which lie one after the other in `data`.
#[inline(always)]
pub(crate) fn multiply_matrix<S: Simd>(
    simd: S,
    data: &[f32],
    panels: PanelsRef<'_>,
    epilogue: &Epilogue<'_>,
    out: &mut [f32],
) {
    let (run, count) = (panels.depth, out.len() / panels.columns);
    let rows = Rows { data, count, base: |p| p * run, runs: 1, run, run_stride: 0 };
    multiply(simd, &rows, panels, epilogue, out);
}

/// The block of `R` rows from row `p` on and `V` vectors from column `first` on. Gives `R`.
#[inline(always)]
fn block<S: Simd, F: Fn(usize) -> usize, const R: usize, const V: usize>(
    simd: S,
    rows: &Rows<'_, F>,
    panel: &[S::f32s],
    epilogue: &Epilogue<'_>,
    out: &mut [f32],
    (p, first, columns): (usize, usize, usize),
) -> usize {
    let zero = simd.splat_f32s(0.0);
    let sums = add_products(simd, rows, panel, p, [[zero; V]; R]);
    epilogue.write(simd, sums, out, (p, first, columns));
    R
}

/// Adds to `sums` the products of `R` rows, from row `p` on, with the first `V` vectors of each row
/// of a panel.
#[inline(always)]
#[allow(
    unsafe_code,
    reason = "the innermost loop cannot afford bounds checks; see the safety argument below"
)]
#[allow(clippy::needless_range_loop, reason = "an iterator over the sums moves them to memory")]
pub(crate) fn add_products<S: Simd, F: Fn(usize) -> usize, const R: usize, const V: usize>(
    simd: S,
    rows: &Rows<'_, F>,
    panel: &[S::f32s],
    p: usize,
    mut sums: [[S::f32s; V]; R],
) -> [[S::f32s; V]; R] {
    // Loops, since `array::from_fn` is not inlined here: its call would spill all sums.
    let mut bases = [0; R];
    for i in 0..R {
        bases[i] = (rows.base)(p + i);
    }
    for (index, panel) in panel.chunks_exact(2 * rows.run).enumerate() {
        let start = index * rows.run_stride;
        let mut runs = [&rows.data[..0]; R];
        for i in 0..R {
            runs[i] = &rows.data[bases[i] + start..][..rows.run];
        }
        for (k, vectors) in panel.chunks_exact(2).enumerate() {
            for i in 0..R {
                // SAFETY: the panel's chunk has `2 * rows.run` vectors, so that `k < rows.run`,
                // which is the length of every slice in `runs`.
                let a = simd.splat_f32s(unsafe { *runs[i].get_unchecked(k) });
                for v in 0..V {
                    sums[i][v] = simd.mul_add_e_f32s(a, vectors[v], sums[i][v]);
                }
            }
        }
    }
    sums
}
