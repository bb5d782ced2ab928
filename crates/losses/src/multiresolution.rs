use candle_core::{Result, Tensor};

use crate::flattened_cosine_distillation;

/// Distance of a cloner's activations to its teacher's at one critical layer: the mean squared
/// difference of the values plus `direction_weight` times the cosine distance of the whole layers,
/// each flattened to one vector an image.
///
/// # Shapes and units
/// `teacher`, `cloner`: `[N, C, H, W]` of one scale. Gives a scalar of 0 or more.
///
/// # Errors
/// Fails if the shapes differ.
///
/// # Source
/// Salehi et al., CVPR 2021, equations 1 to 3.
pub fn multiresolution_distillation(
    teacher: &Tensor,
    cloner: &Tensor,
    direction_weight: f64,
) -> Result<Tensor> {
    let value = (cloner - teacher)?.sqr()?.mean_all()?;
    value + (flattened_cosine_distillation(teacher, cloner)? * direction_weight)?
}
