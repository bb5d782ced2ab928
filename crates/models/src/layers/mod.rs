//! The blocks that networks are made of, in the trainable and the frozen form that `Params` decide
//! between. A backbone outside of this crate is built from them as the built-in ones are.
//!
//! Modules in reading order: `conv_bn` (a convolution with its normalisation and nonlinearity),
//! `block` (what a network is a chain of), `inverted_residual`, `encoder` (a chain with taps),
//! `reverse_path` (the decoder of every backbone).

mod block;
mod conv_bn;
mod encoder;
mod inverted_residual;
mod reverse_path;

pub use block::{Block, Chain, MaxPool, chain, run};
pub(crate) use conv_bn::Conv;
pub use conv_bn::{ConvBn, ConvShape, Norm};
pub use encoder::{Encoder, TappedChain};
pub use inverted_residual::{InvertedResidual, InvertedShape, Part};
pub use reverse_path::{Fusion, ReversePath, Stage};
