//! Feature maps between the layers of a network.

use candle_core::{DType, Device, Result, Tensor};

use crate::cpu;
use crate::error::OpsError;
use crate::kernels::{Kernels, Path, default_kernels};
use crate::trace::traced;

/// A batch of feature maps inside a network, and the [`Kernels`] that its operators run. The layout
/// follows from the kernels: channels last for native ones, channels first for composed ones.
#[derive(Debug, Clone)]
pub struct Activation {
    tensor: Tensor,
    kernels: Kernels,
}

impl Activation {
    /// Takes `[N, C, H, W]` for the default kernels; see [`Activation::from_nchw_with`].
    ///
    /// # Errors
    /// Fails if the rank is not 4.
    pub fn from_nchw(tensor: &Tensor) -> Result<Self> {
        Self::from_nchw_with(tensor, default_kernels())
    }

    /// Takes `[N, C, H, W]` for `kernels`, or for [`Kernels::Composed`] where the native ones do
    /// not take the tensor's type or device. Copies nothing when the tensor is a view that
    /// [`Activation::to_nchw`] gave.
    ///
    /// # Errors
    /// Fails if the rank is not 4.
    pub fn from_nchw_with(tensor: &Tensor, kernels: Kernels) -> Result<Self> {
        tensor.dims4()?;
        let kernels = kernels.on(tensor);
        let tensor = match kernels {
            Kernels::Native if kernels.path(tensor) == Path::Cpu => cpu::channels_last(tensor)?,
            Kernels::Native => tensor.permute((0, 2, 3, 1))?.contiguous()?,
            Kernels::Composed => traced::contiguous(tensor)?,
        };
        Ok(Self { tensor, kernels })
    }

    /// Gives `[N, C, H, W]`: a view, in memory possibly channels last; `contiguous()` makes it
    /// channels first.
    ///
    /// # Errors
    /// None in practice; candle's signature.
    pub fn to_nchw(&self) -> Result<Tensor> {
        match self.kernels {
            Kernels::Native => self.tensor.permute((0, 3, 1, 2)),
            Kernels::Composed => Ok(self.tensor.clone()),
        }
    }

    /// The implementation that operators run on this activation.
    pub fn kernels(&self) -> Kernels {
        self.kernels
    }

    /// `(N, C, H, W)`.
    ///
    /// # Errors
    /// None in practice; candle's signature.
    pub fn dims(&self) -> Result<(usize, usize, usize, usize)> {
        let (a, b, c, d) = self.tensor.dims4()?;
        Ok(match self.kernels {
            Kernels::Native => (a, d, b, c),
            Kernels::Composed => (a, b, c, d),
        })
    }

    /// The device of the elements.
    pub fn device(&self) -> &Device {
        self.tensor.device()
    }

    /// Type of the elements.
    pub fn dtype(&self) -> DType {
        self.tensor.dtype()
    }

    /// The same values, cut from the graph of gradients.
    #[must_use]
    pub fn detach(&self) -> Self {
        Self { tensor: traced::detach(&self.tensor), kernels: self.kernels }
    }

    /// Joins along the channels.
    ///
    /// # Errors
    /// Fails if `parts` is empty, when N, H or W differ, or when the kernels differ.
    pub fn cat(parts: &[&Self]) -> Result<Self> {
        let tensors: Vec<&Tensor> = parts.iter().map(|part| &part.tensor).collect();
        let kernels = parts.first().map_or(Kernels::Composed, |part| part.kernels);
        let axis = match kernels {
            Kernels::Native => 3,
            Kernels::Composed => 1,
        };
        for part in parts {
            part.check_kernels(kernels, "cat")?;
        }
        Ok(Self { tensor: traced::contiguous(&traced::cat(&tensors, axis)?)?, kernels })
    }

    /// The module that computes an operator on this activation.
    pub(crate) fn path(&self) -> Path {
        self.kernels.path(&self.tensor)
    }

    /// # Errors
    /// Fails if this activation is not for `kernels`.
    pub(crate) fn check_kernels(&self, kernels: Kernels, op: &'static str) -> Result<()> {
        if self.kernels == kernels { Ok(()) } else { Err(OpsError::MixedKernels { op }.into()) }
    }

    /// `values`, `[C]`, in a shape that broadcasts over this activation's tensor.
    pub(crate) fn per_channel(&self, values: &Tensor) -> Result<Tensor> {
        match self.kernels {
            Kernels::Native => Ok(values.clone()),
            Kernels::Composed => values.reshape((1, (), 1, 1)),
        }
    }

    /// The tensor in this activation's own layout.
    pub(crate) fn tensor(&self) -> &Tensor {
        &self.tensor
    }

    /// Another tensor in the same layout.
    pub(crate) fn with(&self, tensor: Tensor) -> Self {
        Self { tensor, kernels: self.kernels }
    }
}
