//! Errors with facts that no variant of candle's error has room for. candle carries them as
//! [`candle_core::Error::Wrapped`].

use crate::conv2d_config::Conv2dConfig;

/// An operator's refusal.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub(crate) enum OpsError {
    #[error("conv2d: weight {weight:?} does not fit input {input:?} with {config:?}")]
    Convolution { weight: Vec<usize>, input: [usize; 4], config: Conv2dConfig },
    #[error("conv_transpose2d: weight {weight:?} does not fit input {input:?} with stride {stride}")]
    TransposedConvolution { weight: Vec<usize>, input: [usize; 4], stride: usize },
    #[error(
        "conv_transpose2d: padding {padding} leaves nothing of input {input:?} with weight {weight:?} and \
         stride {stride}"
    )]
    NothingLeft { weight: Vec<usize>, input: [usize; 4], stride: usize, padding: usize },
    #[error("batch_norm_train: a variance needs two values per channel, there are {count}")]
    NoVariance { count: usize },
    #[error("max_pool2d: kernel {kernel}, stride {stride}, padding {padding} do not fit {size:?}")]
    Pooling { kernel: usize, stride: usize, padding: usize, size: [usize; 2] },
    #[error("upsample_bilinear: {from:?} to {to:?}: a side is zero")]
    EmptyImage { from: [usize; 2], to: [usize; 2] },
    #[error(
        "backward of a tensor that was made inside of `gradients`, after its end: the gradients of parameters \
         are there no more"
    )]
    ClosedStep,
    #[error("combined_maps: no map")]
    NoMap,
    #[error("{op}: {rows:?} do not fit {other:?}")]
    Rows { op: &'static str, rows: Vec<usize>, other: Vec<usize> },
    #[error("{op}: no layer")]
    NoLayer { op: &'static str },
    #[error("{op}: one activation is for native kernels, another for composed ones")]
    MixedKernels { op: &'static str },
    #[error(
        "CUDA device {index}: its driver is older than the CUDA toolkit that this program was built with; \
         update the driver, or build with a toolkit that the driver supports ({reason})"
    )]
    OldDriver { index: usize, reason: String },
    #[error("the first kernels of the device gave {found} instead of {expected}")]
    WrongSum { found: f32, expected: f32 },
    #[error(
        "{op}: {elements} elements are more than the kernels of a GPU count with 32 bits; take a smaller \
         batch or image size"
    )]
    TooManyElements { op: &'static str, elements: u64 },
    #[error("a tensor of {dims:?} was made by an operator that no trace writes down")]
    NotTraced { dims: Vec<usize> },
    #[error("an operator on tensors of two traces")]
    TwoTraces,
    #[error("optimizer state of {actual} tensors, expected {expected}")]
    OptimizerState { expected: usize, actual: usize },
}

impl From<OpsError> for candle_core::Error {
    fn from(error: OpsError) -> Self {
        Self::wrap(error)
    }
}
