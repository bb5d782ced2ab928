//! Several layers as one operator: of a network in training, and of a frozen one.

mod frozen;
mod frozen_chain;
mod inference;
mod inverted_residual;
mod stage;
mod train;

pub use frozen::FrozenConv2d;
pub use frozen_chain::frozen_layers;
pub use train::{TrainLayer, train_layers};
