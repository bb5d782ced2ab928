//! The choice between the two implementations of the operators.

use std::sync::OnceLock;

use candle_core::{DType, Device, Tensor};

use crate::trace::is_traced;

/// The implementation of the operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kernels {
    /// The kernels of this crate for f32 on a CPU, and for f32 and bf16 on a CUDA device;
    /// [`Kernels::Composed`] for everything else.
    Native,
    /// candle's operators, composed where the gradient of one of them is wrong or missing.
    Composed,
}

static DEFAULT: OnceLock<Kernels> = OnceLock::new();

/// Makes `kernels` the default of this process, unless the process has a default already: an
/// earlier one, or [`Kernels::Native`] from the first operator that asked. Gives the default.
///
/// A program calls this first in `main`, where it wants another default.
pub fn set_default_kernels(kernels: Kernels) -> Kernels {
    *DEFAULT.get_or_init(|| kernels)
}

/// The kernels of every operator to which the caller gives none.
pub fn default_kernels() -> Kernels {
    set_default_kernels(Kernels::Native)
}

impl Kernels {
    /// The implementation that runs on `tensor`.
    pub(crate) fn on(self, tensor: &Tensor) -> Self {
        match self.path(tensor) {
            Path::Cpu | Path::Cuda => Self::Native,
            Path::Composed | Path::Traced => Self::Composed,
        }
    }

    /// The module that computes an operator on `tensor`.
    pub(crate) fn path(self, tensor: &Tensor) -> Path {
        if is_traced(tensor) { Path::Traced } else { self.path_of(tensor.dtype(), tensor.device()) }
    }

    /// The module that computes an operator on tensors of `dtype` on `device`.
    pub(crate) fn path_of(self, dtype: DType, device: &Device) -> Path {
        match (self, dtype) {
            (Self::Native, DType::F32 | DType::BF16) if runs_launches(device) => Path::Cuda,
            (Self::Native, DType::F32) if device.is_cpu() => Path::Cpu,
            _ => Path::Composed,
        }
    }
}

/// The modules that compute operators.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Path {
    Cpu,
    Cuda,
    Composed,
    /// As composed, and written down.
    Traced,
}

/// True for a CUDA device, and in tests for what stands in its place.
fn runs_launches(device: &Device) -> bool {
    #[cfg(test)]
    if crate::cuda::is_simulated() {
        return device.is_cpu();
    }
    device.is_cuda()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn native_kernels_are_the_default_of_a_program_that_sets_none() {
        assert_eq!(default_kernels(), Kernels::Native);
        assert_eq!(set_default_kernels(Kernels::Composed), Kernels::Native);
    }
}
