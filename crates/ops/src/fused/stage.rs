//! One layer of a chain, computed for some rows of its result at a time.

use std::ops::Range;

use pulp::{Simd, WithSimd};

use crate::cpu::depthwise::{Plan, Row, taps_of_output};
use crate::cpu::panels::{Epilogue, Panels, multiply_matrix};
use crate::geometry::Geometry;
use crate::nonlinearity::Nonlinearity;

/// A frozen layer as a chain runs it.
pub(crate) struct Stage<'a> {
    pub(crate) kernel: Kernel<'a>,
    pub(crate) geometry: Geometry,
    pub(crate) bias: Option<&'a [f32]>,
    pub(crate) nonlinearity: Nonlinearity,
}

/// A packed weight.
pub(crate) enum Kernel<'a> {
    Pointwise(&'a Panels),
    /// Any other dense kernel: the first layer of an [`InvertedResidual`] only.
    ///
    /// [`InvertedResidual`]: crate::fused::inverted_residual::InvertedResidual
    Dense(&'a Panels),
    Depthwise(&'a [f32], Plan),
}

/// Some rows of a stage's result in a ring: row `r` lies in the place `(r - base) % kept`.
pub(crate) struct Window<'s> {
    pub(crate) data: &'s mut [f32],
    pub(crate) row_len: usize,
    pub(crate) base: usize,
    pub(crate) kept: usize,
    /// The row after the last one that was computed.
    pub(crate) next: usize,
}

/// Rows to read, placed as in a [`Window`].
pub(crate) struct Source<'a> {
    pub(crate) data: &'a [f32],
    pub(crate) row_len: usize,
    pub(crate) base: usize,
    pub(crate) kept: usize,
}

impl Source<'_> {
    fn place(&self, row: usize) -> usize {
        (row - self.base) % self.kept
    }
}

impl Stage<'_> {
    /// Number of input rows that `rows` output rows read, at most the image's.
    pub(crate) fn reach(&self, rows: usize) -> usize {
        let g = &self.geometry;
        ((rows - 1) * g.stride + g.kh).min(g.h)
    }

    /// The input rows that the output rows `rows` read.
    pub(crate) fn sources(&self, rows: &Range<usize>) -> Range<usize> {
        let g = &self.geometry;
        if rows.is_empty() {
            return 0..0;
        }
        let start = (rows.start * g.stride).saturating_sub(g.top).min(g.h);
        let end = ((rows.end - 1) * g.stride + g.kh).saturating_sub(g.top).min(g.h);
        start..end.max(start)
    }

    /// Number of input rows that two neighbouring output rows both read.
    pub(crate) fn overlap(&self) -> usize {
        self.geometry.kh.saturating_sub(self.geometry.stride)
    }

    /// Elements of a row of the result.
    pub(crate) fn row_len(&self) -> usize {
        self.geometry.ow * self.geometry.co
    }

    /// Computes the output rows `rows`.
    #[inline(always)]
    pub(crate) fn run<S: Simd>(
        &self,
        simd: S,
        from: &Source<'_>,
        mut rows: Range<usize>,
        residual: Option<&[f32]>,
        to: &mut Window<'_>,
    ) {
        let (g, len) = (&self.geometry, to.row_len);
        while !rows.is_empty() {
            let place = (rows.start - to.base) % to.kept;
            let count = match self.kernel {
                Kernel::Pointwise(_) => rows.len().min(to.kept - place),
                Kernel::Dense(_) | Kernel::Depthwise(..) => 1,
            };
            let out = &mut to.data[place * len..][..count * len];
            // Only the last stage has a residual. Its window is the segment, from the first row on.
            let residual = residual.map(|r| &r[place * len..][..count * len]);
            let epilogue = Epilogue { bias: self.bias, residual, nonlinearity: self.nonlinearity };
            match &self.kernel {
                Kernel::Dense(_) => unreachable!("an inverted residual runs it"),
                Kernel::Pointwise(panels) => {
                    let data = &from.data[from.place(rows.start) * from.row_len..];
                    multiply_matrix(simd, data, panels.view(), &epilogue, out);
                }
                Kernel::Depthwise(packed, plan) => {
                    let taps = taps_of_output(rows.start, g.kh, g.stride, g.top, g.h);
                    let vertical = taps.into_iter().map(|(y, k)| (from.place(y), k)).collect();
                    let (c, width, kw, image) = (g.co, g.w, g.kw, from.data);
                    Row { out, image, packed, c, width, kw, vertical, plan, epilogue }.with_simd(simd);
                }
            }
            rows.start += count;
        }
    }
}
