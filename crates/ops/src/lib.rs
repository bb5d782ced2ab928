//! Operators for convolutional networks in candle, with gradients that are right and a CPU path that is fast.
//!
//! Every function here takes and gives candle tensors, records itself for `backward`, and picks its path by what it
//! is given: f32 on a CPU runs kernels of this crate; any other device or dtype runs candle's own operators where
//! those are right, and a composed form where their gradient is wrong or missing. `FMAM_OPS=candle` in the
//! environment forces the second path everywhere, for comparison.
//!
//! An activation may be bf16 while parameters are f32: convolutions round copies of their weights, normalisations compute
//! in f32, and each result is rounded to the type of the activation. Gradients have the type of what they belong to.
//!
//! Inside a network, activations are [`Activation`]s: channels last on the CPU path, channels first elsewhere.
//! Outside, tensors are `[N, C, H, W]` as everyone expects; [`Activation::from_nchw`] and [`Activation::to_nchw`]
//! convert once at each end.
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
mod conv;
mod cosine;
mod cpu;
mod fused;
mod geometry;
mod half;
mod norm;
mod optim;
mod pointwise;
mod pool;
mod process;
mod resample;

pub use activation::Activation;
pub use blur::gaussian_blur;
pub use conv::{LayerKind, conv_transpose2d, conv2d};
pub use cosine::cosine_distance;
pub use fused::{FrozenConv2d, TrainLayer, frozen_layers, train_layers};
pub use geometry::{Conv2dConfig, Padding};
pub use norm::{BatchStatistics, batch_norm, batch_norm_train};
pub use optim::{Adam, AdamConfig, Optimizer, OptimizerState, Sgd, SgdConfig};
pub use pointwise::{Nonlinearity, add_nonlinearity, channel_affine, nonlinearity};
pub use pool::max_pool2d;
pub use process::{on_workers, tune_process};
pub use resample::{upsample_bilinear, upsample_nearest};
