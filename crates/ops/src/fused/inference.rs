//! An operator without gradients, over an activation and a residual.

use candle_core::{CpuStorage, CustomOp1, CustomOp2, Error, Layout, Result, Shape};

use crate::activation::Activation;
use crate::cpu::host::{elements, output};
use crate::cpu::target::{Target, computed};

/// (N, C, H, W).
type Dims = (usize, usize, usize, usize);

/// # Errors
/// Fails if the residual has not `dims`, the result's, or not the kernels of `x`.
pub(crate) fn check_residual(x: &Activation, residual: Option<&Activation>, dims: Dims) -> Result<()> {
    let Some(residual) = residual else { return Ok(()) };
    residual.check_kernels(x.kernels(), "residual")?;
    if residual.dtype() != x.dtype() {
        let (lhs, rhs) = (x.dtype(), residual.dtype());
        return Err(Error::DTypeMismatchBinaryOp { lhs, rhs, op: "residual" }.bt());
    }
    let actual = residual.dims()?;
    if actual == dims {
        return Ok(());
    }
    Err(Error::ShapeMismatchBinaryOp { lhs: dims.into(), rhs: actual.into(), op: "residual" }.bt())
}

/// Runs `compute(x, residual, y)`, which writes every element of `y`, on channels-last activations;
/// `dims` are the result's.
pub(crate) fn infer(
    name: &'static str,
    x: &Activation,
    residual: Option<&Activation>,
    dims: Dims,
    compute: impl Fn(&[f32], Option<&[f32]>, Target<'_>),
) -> Result<Activation> {
    check_residual(x, residual, dims)?;
    let op = Inference { name, dims, compute };
    let input = x.tensor().contiguous()?;
    Ok(x.with(match residual {
        None => input.apply_op1_no_bwd(&op)?,
        Some(r) => input.apply_op2_no_bwd(&r.tensor().contiguous()?, &op)?,
    }))
}

struct Inference<F> {
    name: &'static str,
    dims: Dims,
    compute: F,
}

impl<F: Fn(&[f32], Option<&[f32]>, Target<'_>)> Inference<F> {
    fn run(&self, x: &[f32], residual: Option<&[f32]>) -> Result<(CpuStorage, Shape)> {
        let (n, c, h, w) = self.dims;
        output(computed(n * h * w * c, |y| (self.compute)(x, residual, y)), (n, h, w, c))
    }
}

impl<F: Fn(&[f32], Option<&[f32]>, Target<'_>)> CustomOp1 for Inference<F> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, storage: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        self.run(elements(storage, layout)?, None)
    }
}

impl<F: Fn(&[f32], Option<&[f32]>, Target<'_>)> CustomOp2 for Inference<F> {
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(
        &self,
        s1: &CpuStorage,
        l1: &Layout,
        s2: &CpuStorage,
        l2: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        self.run(elements(s1, l1)?, Some(elements(s2, l2)?))
    }
}
