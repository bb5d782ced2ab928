//! The blocks that networks are made of, in the trainable and the frozen form that `Params` decide between.
//!
//! Modules in reading order: `conv_bn` (a convolution with its normalisation and nonlinearity).

mod conv_bn;

pub(crate) use conv_bn::{Conv, ConvBn, ConvShape, Norm};
