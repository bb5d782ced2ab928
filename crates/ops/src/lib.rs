//! Operators for convolutional networks in candle, with gradients that are right and a CPU path
//! that is fast.
//!
//! Every function here takes and gives candle tensors and records itself for `backward`. Each
//! operator has three implementations with equal signatures: `cpu` holds kernels for f32 on a CPU,
//! `cuda` kernels for f32 and bf16 on a GPU, and `composed` compositions of candle's operators for
//! every other device and type. A [`Kernels`] value chooses. An [`Activation`] carries the value
//! through a network; an operator on plain tensors takes it in the form that ends in `_with`.
//! Without a value an operator runs the default of the process, [`Kernels::Native`] unless the
//! program calls [`set_default_kernels`]. This crate reads no environment variable.
//!
//! Inside a network, activations are [`Activation`]s: channels last for native kernels, channels
//! first for composed ones. Outside, tensors are `[N, C, H, W]` as everyone expects;
//! [`Activation::from_nchw`] and [`Activation::to_nchw`] convert once at each end.
//!
//! An activation may be bf16 while parameters are f32: convolutions round copies of their weights
//! (to bf16, and to TF32 on a GPU), normalisations compute in f32, and each result is rounded to
//! the type of the activation. A gradient has the type of its tensor.
//!
//! Modules in reading order:
//!
//! - `kernels`, `activation`: the choice of the implementation, and the value that carries it.
//! - `conv2d_config`, `geometry`, `nonlinearity`, `separable`: the settings of operators and the
//!   numbers that follow from them.
//! - `conv`, `norm`, `pointwise`, `pool`: operators on activations. `resample`, `blur`, `cosine`:
//!   operators on maps. `rows`: operators on feature vectors. `pixels`: from images to the input of
//!   a network. Each checks its arguments and calls `cpu`, `cuda` or `composed`.
//! - `fused`: several layers, in training and frozen, as one operator of native kernels; composed
//!   kernels run the layers one by one.
//! - `trace`: a network, or any computation of these operators, written down as a graph.
//! - `gradients`: the gradients of a training step. `recorded`: results as operators of candle.
//! - `optim`: optimizers. `process`: settings of the process, and its threads. `device`: CUDA
//!   devices.
//!
//! This crate knows nothing of anomalies and depends on no other crate of the workspace.
//!
//! ```
//! use candle_core::{Device, Tensor, Var};
//! use fmam_ops::{Activation, Conv2dConfig, conv2d};
//!
//! # fn main() -> candle_core::Result<()> {
//! let image = Tensor::ones((1, 3, 9, 8), candle_core::DType::F32, &Device::Cpu)?;
//! let weight = Var::ones((16, 3, 3, 3), candle_core::DType::F32, &Device::Cpu)?;
//! let config = Conv2dConfig { stride: 2, ..Conv2dConfig::same(3) };
//! let y = conv2d(&Activation::from_nchw(&image)?, &weight, &config)?.to_nchw()?;
//! assert_eq!(y.dims(), [1, 16, 5, 4]);
//! let grads = y.sum_all()?.backward()?;
//! assert_eq!(grads.get(&weight).map(|g| g.dims().to_vec()), Some(vec![16, 3, 3, 3]));
//! # Ok(())
//! # }
//! ```

mod activation;
mod blur;
mod composed;
mod conv;
mod conv2d_config;
mod cosine;
mod cpu;
#[cfg_attr(not(any(feature = "cuda", test)), allow(dead_code, reason = "without CUDA nothing runs a launch"))]
mod cuda;
mod device;
mod error;
mod fused;
mod geometry;
mod gradients;
mod kernels;
mod nonlinearity;
mod norm;
mod optim;
mod pixels;
mod pointwise;
mod pool;
mod process;
mod recorded;
mod resample;
mod rows;
mod separable;
mod trace;

pub use activation::Activation;
pub use blur::{gaussian_blur, gaussian_blur_with};
pub use conv::{LayerKind, conv_transpose2d, conv2d};
pub use conv2d_config::{Conv2dConfig, Padding};
pub use cosine::{cosine_distance, cosine_distance_with};
pub use cuda::{set_tf32, tf32};
pub use device::{Gpu, cuda_device, free_memory, gpu};
pub use fused::{FrozenConv2d, TrainLayer, frozen_layers, train_layers};
pub use gradients::gradients;
pub use kernels::{Kernels, default_kernels, set_default_kernels};
pub use nonlinearity::Nonlinearity;
pub use norm::{BatchStatistics, Running, batch_norm, batch_norm_train};
pub use optim::{Adam, AdamConfig, Optimizer, OptimizerState, Sgd, SgdConfig};
pub use pixels::normalized_pixels;
pub use pointwise::{add_nonlinearity, channel_affine, nonlinearity};
pub use pool::max_pool2d;
#[cfg(unix)]
pub use process::ignores_signal;
pub use process::{on_workers, side_by_side, tune_process};
pub use resample::{Combination, combined_maps, upsample_bilinear, upsample_bilinear_with, upsample_nearest};
pub use rows::{PositionSums, k_centres, nearest_rows};
pub use trace::{Attribute, Constant, Elements, Graph, Node, Trace, ValueId, traced};
