//! The operators as kernels for f32 in host memory, over images that lie channels last.
//!
//! In reading order: [`layout`] brings images to that order. [`conv`] chooses among [`dense`],
//! [`depthwise`] and [`input_gradient`]; dense 3x3 kernels of stride 1 are [`winograd`]'s, with
//! [`winograd_gradient`]; dense kernels multiply with [`panels`] and [`outer`]. [`norm`] is
//! [`normalizer`] as an operator. [`update`] is a step of an optimizer. Memory is in [`host`],
//! [`target`] and [`buffer`], the cut of work in [`parallel`].

pub(crate) mod buffer;
pub(crate) mod dense;
pub(crate) mod depthwise;
pub(crate) mod host;
pub(crate) mod input_gradient;
pub(crate) mod normalizer;
pub(crate) mod outer;
pub(crate) mod panels;
pub(crate) mod parallel;
pub(crate) mod pointwise;
pub(crate) mod target;
pub(crate) mod winograd;

mod blur;
mod conv;
mod cosine;
mod layout;
mod norm;
mod pool;
mod resample;
mod update;
mod winograd_gradient;

pub(crate) use blur::gaussian_blur;
pub(crate) use conv::{Convolution, by_groups, conv_transpose2d, conv2d};
pub(crate) use cosine::cosine_distance;
pub(crate) use layout::channels_last;
pub(crate) use norm::batch_norm_train;
pub(crate) use pointwise::{add_nonlinearity, channel_affine, nonlinearity};
pub(crate) use pool::max_pool2d;
pub(crate) use resample::upsample_bilinear;
pub(crate) use update::update;
