//! The device of a tensor, as launches see it.

use std::sync::atomic::{AtomicBool, Ordering};

use candle_core::{DType, Device, Error, Result, Tensor};

use super::array::Array;
#[cfg(feature = "cuda")]
use super::driver::Driver;
use super::gpu::{Argument, Element, Gpu, Real};
#[cfg(test)]
use super::simulated::Simulated;

/// True where convolutions of f32 multiply in TF32.
static TF32: AtomicBool = AtomicBool::new(false);

/// Lets the convolutions of f32 on a GPU multiply on its tensor cores, in TF32: the factors keep 10
/// of their 23 bits, sums stay f32. A process begins without. Convolutions of bf16 run on tensor
/// cores in any case, those on a CPU never.
pub fn set_tf32(allowed: bool) {
    TF32.store(allowed, Ordering::Relaxed);
}

/// True if [`set_tf32`] allowed TF32 last.
pub fn tf32() -> bool {
    TF32.load(Ordering::Relaxed)
}

/// A device that runs kernels on tensors. A build without CUDA has none.
#[derive(Clone)]
pub(crate) enum Runner {
    #[cfg(feature = "cuda")]
    Cuda(Driver),
    #[cfg(test)]
    Simulated(Simulated),
}

impl Runner {
    /// The device of `tensor`, for activations of its type.
    pub(crate) fn of(tensor: &Tensor) -> Result<Self> {
        let real = match tensor.dtype() {
            DType::BF16 => Real::Bf16,
            _ if tf32() => Real::Tf32,
            _ => Real::F32,
        };
        Self::on(tensor.device(), real)
    }

    fn on(device: &Device, real: Real) -> Result<Self> {
        match device {
            #[cfg(feature = "cuda")]
            Device::Cuda(device) => Ok(Self::Cuda(Driver::new(device, real))),
            #[cfg(test)]
            Device::Cpu => Simulated::of(real).map(Self::Simulated),
            _ => {
                let _ = real;
                Err(Error::NotCompiledWithCudaSupport.bt())
            }
        }
    }
}

impl Gpu for Runner {
    type Memory = Array;

    fn reals(&self, length: usize) -> Result<Array> {
        let _ = length;
        match *self {
            #[cfg(feature = "cuda")]
            Self::Cuda(ref driver) => driver.reals(length),
            #[cfg(test)]
            Self::Simulated(ref simulated) => simulated.reals(length),
        }
    }

    fn array(&self, length: usize, element: Element) -> Result<Array> {
        let _ = (length, element);
        match *self {
            #[cfg(feature = "cuda")]
            Self::Cuda(ref driver) => driver.array(length, element),
            #[cfg(test)]
            Self::Simulated(ref simulated) => simulated.array(length, element),
        }
    }

    fn table(&self, values: &[u32]) -> Result<Array> {
        let _ = values;
        match *self {
            #[cfg(feature = "cuda")]
            Self::Cuda(ref driver) => driver.table(values),
            #[cfg(test)]
            Self::Simulated(ref simulated) => simulated.table(values),
        }
    }

    fn upload(&self, bytes: &[u8]) -> Result<Array> {
        let _ = bytes;
        match *self {
            #[cfg(feature = "cuda")]
            Self::Cuda(ref driver) => driver.upload(bytes),
            #[cfg(test)]
            Self::Simulated(ref simulated) => simulated.upload(bytes),
        }
    }

    fn launch(
        &self,
        kernel: &'static str,
        grid: [usize; 3],
        threads: usize,
        arguments: &[Argument<'_, Array>],
    ) -> Result<()> {
        let _ = (kernel, grid, threads, arguments);
        match *self {
            #[cfg(feature = "cuda")]
            Self::Cuda(ref driver) => driver.launch(kernel, grid, threads, arguments),
            #[cfg(test)]
            Self::Simulated(ref simulated) => simulated.launch(kernel, grid, threads, arguments),
        }
    }
}
