use candle_core::{DType, Device, Result, Tensor};

use crate::cpu::host::is_native;

/// A batch of feature maps inside a network. The layout is this crate's business: channels last where its own
/// kernels run, channels first elsewhere.
#[derive(Debug, Clone)]
pub struct Activation {
    tensor: Tensor,
    channels_last: bool,
}

impl Activation {
    /// Takes `[N, C, H, W]`. Free of copies when the tensor is a view that [`Activation::to_nchw`] gave.
    ///
    /// # Errors
    /// When the rank is not 4.
    pub fn from_nchw(tensor: &Tensor) -> Result<Self> {
        tensor.dims4()?;
        let channels_last = is_native(tensor);
        let tensor =
            if channels_last { tensor.permute((0, 2, 3, 1))?.contiguous()? } else { tensor.contiguous()? };
        Ok(Self { tensor, channels_last })
    }

    /// Gives `[N, C, H, W]`: a view, in memory possibly channels last; `contiguous()` makes it channels first.
    ///
    /// # Errors
    /// None in practice; candle's signature.
    pub fn to_nchw(&self) -> Result<Tensor> {
        if self.channels_last { self.tensor.permute((0, 3, 1, 2)) } else { Ok(self.tensor.clone()) }
    }

    /// `(N, C, H, W)`.
    ///
    /// # Errors
    /// None in practice; candle's signature.
    pub fn dims(&self) -> Result<(usize, usize, usize, usize)> {
        let (a, b, c, d) = self.tensor.dims4()?;
        Ok(if self.channels_last { (a, d, b, c) } else { (a, b, c, d) })
    }

    /// Where the elements live.
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
        Self { tensor: self.tensor.detach(), channels_last: self.channels_last }
    }

    /// Element by element sum of two activations of one shape.
    ///
    /// # Errors
    /// When the shapes differ.
    pub fn add(&self, other: &Self) -> Result<Self> {
        crate::add_nonlinearity(self, other, crate::Nonlinearity::Identity)
    }

    /// Joins along the channels.
    ///
    /// # Errors
    /// When `parts` is empty or N, H or W differ.
    pub fn cat(parts: &[&Self]) -> Result<Self> {
        let tensors: Vec<&Tensor> = parts.iter().map(|part| &part.tensor).collect();
        let channels_last = parts.first().is_some_and(|part| part.channels_last);
        let tensor = Tensor::cat(&tensors, if channels_last { 3 } else { 1 })?;
        Ok(Self { tensor: tensor.contiguous()?, channels_last })
    }

    /// `count` of the batch's items from `start` on.
    ///
    /// # Errors
    /// When the range exceeds the batch.
    pub fn narrow_batch(&self, start: usize, count: usize) -> Result<Self> {
        self.with(self.tensor.narrow(0, start, count)?)
    }

    pub(crate) fn channels_last(&self) -> bool {
        self.channels_last
    }

    /// The tensor in this activation's own layout.
    pub(crate) fn tensor(&self) -> &Tensor {
        &self.tensor
    }

    /// Another tensor in the same layout.
    pub(crate) fn with(&self, tensor: Tensor) -> Result<Self> {
        Ok(Self { tensor, channels_last: self.channels_last })
    }
}
