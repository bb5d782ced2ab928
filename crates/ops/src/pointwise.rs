//! Operators that work element by element.

use candle_core::{Error, Result, Tensor};

use crate::activation::Activation;
use crate::kernels::Path;
use crate::nonlinearity::Nonlinearity;
use crate::{composed, cpu, cuda, trace};

/// Applies `kind` element by element.
///
/// # Errors
/// Fails if the device fails.
pub fn nonlinearity(x: &Activation, kind: Nonlinearity) -> Result<Activation> {
    if kind == Nonlinearity::Identity {
        return Ok(x.clone());
    }
    let nonlinearity = match x.path() {
        Path::Cpu => cpu::nonlinearity,
        Path::Cuda => cuda::nonlinearity,
        Path::Composed => composed::nonlinearity,
        Path::Traced => trace::nonlinearity,
    };
    Ok(x.with(nonlinearity(x.tensor(), kind)?))
}

/// `kind(a + b)` in one pass: the end of a residual block.
///
/// # Errors
/// Fails if the shapes or the kernels differ.
pub fn add_nonlinearity(a: &Activation, b: &Activation, kind: Nonlinearity) -> Result<Activation> {
    b.check_kernels(a.kernels(), "add_nonlinearity")?;
    if a.dtype() != b.dtype() {
        let (lhs, rhs) = (a.dtype(), b.dtype());
        return Err(Error::DTypeMismatchBinaryOp { lhs, rhs, op: "add_nonlinearity" }.bt());
    }
    if a.dims()? != b.dims()? {
        let (lhs, rhs) = (a.dims()?.into(), b.dims()?.into());
        return Err(Error::ShapeMismatchBinaryOp { lhs, rhs, op: "add_nonlinearity" }.bt());
    }
    let add_nonlinearity = match a.path() {
        Path::Traced => trace::add_nonlinearity,
        Path::Cpu => cpu::add_nonlinearity,
        Path::Cuda => cuda::add_nonlinearity,
        Path::Composed => composed::add_nonlinearity,
    };
    Ok(a.with(add_nonlinearity(a.tensor(), b.tensor(), kind)?))
}

impl Activation {
    /// Element by element sum of two activations of one shape.
    ///
    /// # Errors
    /// As [`add_nonlinearity`].
    pub fn add(&self, other: &Self) -> Result<Self> {
        add_nonlinearity(self, other, Nonlinearity::Identity)
    }
}

/// `x scale + shift` with constants of each channel: no gradient reaches them.
///
/// # Shapes and units
/// `x`: (N, C, H, W); `scale`, `shift`: `[C]`.
///
/// # Errors
/// Fails if a constant has another length than C.
pub fn channel_affine(x: &Activation, scale: &Tensor, shift: &Tensor) -> Result<Activation> {
    let (_, c, ..) = x.dims()?;
    if scale.dims() != [c] || shift.dims() != [c] {
        let (lhs, rhs) = (x.tensor().shape().clone(), scale.shape().clone());
        return Err(Error::ShapeMismatchBinaryOp { lhs, rhs, op: "channel_affine" }.bt());
    }
    let (scale, shift) = (scale.detach().contiguous()?, shift.detach().contiguous()?);
    let channel_affine = match x.path() {
        Path::Traced => trace::channel_affine,
        Path::Cpu => cpu::channel_affine,
        Path::Cuda => cuda::channel_affine,
        Path::Composed => composed::channel_affine,
    };
    Ok(x.with(channel_affine(x.tensor(), &scale, &shift)?))
}
