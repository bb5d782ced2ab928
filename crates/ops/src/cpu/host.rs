//! Access to f32 tensors in host memory.

use std::ops::Deref;

use candle_core::{
    CpuStorage, DType, DeviceLocation, Error, Layout, Result, Shape, Storage, StorageRef, Tensor,
};

/// The elements of a contiguous f32 CPU tensor, borrowed.
pub(crate) struct Host<'a> {
    storage: StorageRef<'a>,
    start: usize,
    end: usize,
}

impl<'a> Host<'a> {
    pub(crate) fn new(tensor: &'a Tensor) -> Result<Self> {
        let (storage, layout) = tensor.storage_and_layout();
        let (start, end) = contiguous(layout)?;
        match &*storage {
            Storage::Cpu(CpuStorage::F32(_)) => Ok(Self { storage, start, end }),
            Storage::Cpu(_) => Err(Error::UnexpectedDType {
                msg: "a native kernel takes another type",
                expected: DType::F32,
                got: tensor.dtype(),
            }
            .bt()),
            _ => Err(Error::DeviceMismatchBinaryOp {
                lhs: DeviceLocation::Cpu,
                rhs: tensor.device().location(),
                op: "native kernel",
            }
            .bt()),
        }
    }
}

impl Deref for Host<'_> {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        match &*self.storage {
            Storage::Cpu(CpuStorage::F32(data)) => &data[self.start..self.end],
            // `new` has seen the variant, and a storage never changes it.
            _ => &[],
        }
    }
}

/// The elements of an argument of a custom op, which must be contiguous.
pub(crate) fn elements<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let (start, end) = contiguous(layout)?;
    Ok(&storage.as_slice::<f32>()?[start..end])
}

fn contiguous(layout: &Layout) -> Result<(usize, usize)> {
    layout.contiguous_offsets().ok_or_else(|| Error::RequiresContiguous { op: "fmam-ops kernel" }.bt())
}

/// A custom op's result.
pub(crate) fn output(data: Vec<f32>, shape: impl Into<Shape>) -> Result<(CpuStorage, Shape)> {
    Ok((CpuStorage::F32(data), shape.into()))
}

/// Runs `kernel` compiled for the widest vector instructions of this machine. To profit, `kernel`
/// must be written `#[inline(always)] || ...`, and what it calls must be `#[inline(always)]` too:
/// what is called, not inlined, is code for the oldest machine.
#[inline(always)]
pub(crate) fn vectorized<R>(kernel: impl FnOnce() -> R) -> R {
    pulp::Arch::new().dispatch(kernel)
}
