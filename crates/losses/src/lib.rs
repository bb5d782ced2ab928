//! Distillation and contrastive losses.
