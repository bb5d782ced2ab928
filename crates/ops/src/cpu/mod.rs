//! Kernels for f32 in host memory, over images that lie channels last.

pub(crate) mod buffer;
pub(crate) mod dense;
pub(crate) mod depthwise;
pub(crate) mod gemm;
pub(crate) mod host;
pub(crate) mod input_gradient;
pub(crate) mod normalizer;
pub(crate) mod panels;
pub(crate) mod parallel;
pub(crate) mod winograd;
pub(crate) mod winograd_gradient;
