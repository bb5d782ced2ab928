//! The operators as compositions of candle's, for any device and type, channels first.

pub(crate) mod half;

mod blur;
mod conv;
mod cosine;
mod norm;
mod pointwise;
mod pool;
mod resample;

pub(crate) use blur::{blur_matrix, gaussian_blur};
pub(crate) use conv::{conv_transpose2d, conv2d};
pub(crate) use cosine::cosine_distance;
pub(crate) use norm::batch_norm_train;
pub(crate) use pointwise::{add_nonlinearity, channel_affine, nonlinearity};
pub(crate) use pool::max_pool2d;
pub(crate) use resample::{interpolation_matrix, upsample_bilinear};
