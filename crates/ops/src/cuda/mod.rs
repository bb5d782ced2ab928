//! The operators as kernels for CUDA, in f32 and bf16, over images that lie channels last.
//!
//! In reading order: [`source`] is the text that NVRTC compiles on the machine with the GPU.
//! [`launch`] says which kernels an operator runs, with which blocks and arguments, on any
//! [`gpu`]. [`runner`] is the GPU of a tensor, whose memory are [`array`]s; [`driver`] runs its
//! launches where the build has CUDA. The rest are the operators: [`conv`], [`norm`],
//! [`pointwise`], [`pool`], [`cosine`], [`layers`], [`frozen`], [`maps`], [`optimizer`],
//! [`pixels`] and [`rows`].
//!
//! Tests run the same launches and operators on a CPU: `shim/shim.hpp` makes g++ compile the same
//! text, and [`simulated`] runs it on the memory of CPU tensors.

mod array;
mod conv;
mod cosine;
#[cfg(feature = "cuda")]
mod driver;
mod frozen;
mod gpu;
mod launch;
mod layers;
mod maps;
mod norm;
mod optimizer;
mod pixels;
mod pointwise;
mod pool;
mod rows;
mod runner;
#[cfg(any(feature = "cuda", test))]
mod source;

#[cfg(test)]
mod agreement;
#[cfg(test)]
mod counted;
#[cfg(test)]
mod operators;
#[cfg(test)]
mod shim;
#[cfg(test)]
mod simulated;

pub(crate) use conv::{conv_transpose2d, conv2d};
pub(crate) use cosine::cosine_distance;
pub(crate) use frozen::FrozenWeight;
pub(crate) use launch::{AdamStep, SgdStep};
pub(crate) use layers::train_layers;
pub(crate) use maps::{combined_maps, gaussian_blur, upsample_bilinear};
pub(crate) use norm::batch_norm_train;
pub(crate) use optimizer::{FlatAverages, adam, sgd};
pub(crate) use pixels::normalized_pixels;
pub(crate) use pointwise::{add_nonlinearity, channel_affine, nonlinearity};
pub(crate) use pool::max_pool2d;
pub(crate) use rows::{add_products, k_centres, nearest_rows};
pub use runner::{set_tf32, tf32};
#[cfg(test)]
pub(crate) use simulated::is_simulated;
