//! The device of a tensor, as launches see it.

use std::sync::Arc;
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
pub(crate) struct Runner(Arc<dyn Gpu<Memory = Array> + Send + Sync>);

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
            Device::Cuda(device) => Ok(Self(Arc::new(Driver::new(device, real)))),
            #[cfg(test)]
            Device::Cpu => Ok(Self(Arc::new(Simulated::of(real)?))),
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
        self.0.reals(length)
    }

    fn array(&self, length: usize, element: Element) -> Result<Array> {
        self.0.array(length, element)
    }

    fn table(&self, values: &[u32]) -> Result<Array> {
        self.0.table(values)
    }

    fn upload(&self, bytes: &[u8]) -> Result<Array> {
        self.0.upload(bytes)
    }

    fn launch(
        &self,
        kernel: &'static str,
        grid: [usize; 3],
        threads: usize,
        arguments: &[Argument<'_, Array>],
    ) -> Result<()> {
        self.0.launch(kernel, grid, threads, arguments)
    }
}
