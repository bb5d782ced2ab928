//! Losses of distillation and of feature mapping: tensors in, a scalar tensor out, one loss a file.
//!
//! This crate knows no networks and no training loop. Every loss is checked against PyTorch, values and
//! gradients.

mod angular_margin;
mod cosine;
mod keep;

pub use angular_margin::{AngularMargin, PairMasks};
pub use cosine::{cosine_distillation, flattened_cosine_distillation};
pub use keep::keep;
