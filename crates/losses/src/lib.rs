//! Losses of distillation, feature mapping and one-class description: tensors in, a scalar tensor
//! out, one loss a file.
//!
//! This crate knows no networks and no training loop. Every loss is checked against PyTorch, values
//! and gradients.
//!
//! Modules in reading order:
//!
//! - `cosine`, `difference`, `multiresolution`: distillation, from a teacher to a student.
//! - `angular_margin`, `keep`: feature mapping.
//! - `hypersphere`: one-class description.
//! - `within`: the same losses over a part of the positions.
//!
//! ```
//! use candle_core::{Device, Tensor, Var};
//! use fmam_losses::cosine_distillation;
//!
//! # fn main() -> candle_core::Result<()> {
//! let teacher = Tensor::randn(0.0_f32, 1.0, (2, 8, 4, 4), &Device::Cpu)?;
//! let student = Var::from_tensor(&teacher.neg()?)?;
//! let loss = cosine_distillation(&teacher, &student)?;
//! // Opposite features are as far apart as can be.
//! assert!((loss.to_scalar::<f32>()? - 2.0).abs() < 1e-4);
//! let gradients = loss.backward()?;
//! assert!(gradients.get(&student).is_some());
//! # Ok(())
//! # }
//! ```

mod angular_margin;
mod cosine;
mod difference;
mod hypersphere;
mod keep;
mod multiresolution;
mod within;

pub use angular_margin::{AngularMargin, PairMasks};
pub use cosine::{cosine_distillation, flattened_cosine_distillation};
pub use difference::{smooth_l1_difference, squared_difference};
pub use hypersphere::{hypersphere_classifier, hypersphere_classifier_within, pseudo_huber};
pub use keep::keep;
pub use multiresolution::multiresolution_distillation;
pub use within::{
    cosine_distillation_within, flattened_cosine_distillation_within, keep_within,
    multiresolution_distillation_within, weighted_mean,
};
