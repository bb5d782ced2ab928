//! The launches of each operator: kernels with their blocks and arguments.

mod maps;
mod network;
mod rows;
mod update;

pub(crate) use maps::{Combine, Grid, blur, upsample_bilinear, upsample_bilinear_gradient};
pub(crate) use network::{
    Affine, Norm, conv, conv_frozen, conv_input_gradient, conv_weight_gradient, cosine_distance,
    cosine_gradient, depthwise, depthwise_frozen, depthwise_input_gradient, depthwise_weight_gradient,
    max_pool, max_pool_gradient, normalized_pixels, packed, pointwise, sum_masked,
};
pub(crate) use rows::{add_products, k_centres, nearest_rows};
pub(crate) use update::{AdamStep, Pieces, SgdStep, adam, sgd};
