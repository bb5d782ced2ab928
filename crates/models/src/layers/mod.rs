//! The blocks that networks are made of, in the trainable and the frozen form that `Params` decide
//! between.
//!
//! Modules in reading order: `conv_bn` (a convolution with its normalisation and nonlinearity),
//! `block` (what a network is a chain of), `inverted_residual`, `encoder` (a chain with taps),
//! `reverse_path` (the decoder of every backbone).

mod block;
mod conv_bn;
mod encoder;
mod inverted_residual;
mod reverse_path;

pub(crate) use block::{Block, Chain, MaxPool, chain, run};
pub(crate) use conv_bn::{Conv, ConvBn, ConvShape, Norm};
pub(crate) use encoder::{Encoder, TappedChain};
pub(crate) use inverted_residual::{InvertedResidual, InvertedShape, Part};
pub(crate) use reverse_path::{Fusion, ReversePath, Stage};
