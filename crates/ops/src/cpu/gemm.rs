//! The one place that calls the `gemm` crate.

/// A row-major or transposed matrix view.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> Matrix<'a> {
    /// `rows` rows of `cols` contiguous elements.
    pub(crate) fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        Self { data, rows, cols, row_stride: cols, col_stride: 1 }
    }

    /// `rows` rows of `cols` contiguous elements, each `stride` after the one before.
    pub(crate) fn strided(data: &'a [f32], rows: usize, cols: usize, stride: usize) -> Self {
        Self { data, rows, cols, row_stride: stride, col_stride: 1 }
    }

    /// The same elements with rows and columns exchanged.
    pub(crate) fn transposed(self) -> Self {
        Self {
            data: self.data,
            rows: self.cols,
            cols: self.rows,
            row_stride: self.col_stride,
            col_stride: self.row_stride,
        }
    }

    fn fits(&self) -> bool {
        self.rows == 0
            || self.cols == 0
            || (self.rows - 1) * self.row_stride + (self.cols - 1) * self.col_stride < self.data.len()
    }
}

/// `out = a b`, or `out += a b` where `accumulate`; `out` is row-major `[a.rows, b.cols]`.
/// Single-threaded, so that the order of every sum depends on the shapes alone.
#[allow(unsafe_code, reason = "the gemm crate takes raw pointers; see the safety argument below")]
pub(crate) fn gemm(out: &mut [f32], a: Matrix<'_>, b: Matrix<'_>, accumulate: bool) {
    assert_eq!(a.cols, b.rows, "inner dimensions differ");
    assert!(a.fits() && b.fits() && out.len() == a.rows * b.cols, "a matrix does not fit its buffer");
    // SAFETY: the assertions show that every element addressed by (rows, cols, strides) of `a` and
    // `b` lies inside its slice and that `out` holds exactly rows x cols elements with strides
    // (cols, 1). `out` is borrowed exclusively, so it overlaps neither input, and all three outlive
    // the call. f32 needs no conjugation.
    unsafe {
        gemm::gemm(
            a.rows,
            b.cols,
            a.cols,
            out.as_mut_ptr(),
            1,
            b.cols as isize,
            accumulate,
            a.data.as_ptr(),
            a.col_stride as isize,
            a.row_stride as isize,
            b.data.as_ptr(),
            b.col_stride as isize,
            b.row_stride as isize,
            1.0,
            1.0,
            false,
            false,
            false,
            gemm::Parallelism::None,
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transposed_views_and_accumulation() {
        let a = [1., 2., 3., 4., 5., 6.];
        let b = [1., 0., 2., 1.];
        let mut out = [0.; 6];
        // [3,2] x [2,2]
        gemm(&mut out, Matrix::new(&a, 3, 2), Matrix::new(&b, 2, 2), false);
        assert_eq!(out, [5., 2., 11., 4., 17., 6.]);
        gemm(&mut out, Matrix::new(&a, 2, 3).transposed(), Matrix::new(&b, 2, 2).transposed(), true);
        // a^T = [[1,4],[2,5],[3,6]]; b^T = [[1,2],[0,1]]
        assert_eq!(out, [6., 8., 13., 13., 20., 18.]);
    }
}
