use candle_core::{Result, Tensor};

use crate::flattened_cosine_distillation;

/// The mean of `values` over positions, each with its weight: losses over a part of the positions,
/// those within a region of interest, are means of this kind.
///
/// # Shapes and units
/// `values`: `[N, H, W]`, say [`crate::squared_difference`]; `weights`: the same, 0 or more and not
/// all 0. Gives a scalar. No gradient flows to the weights.
///
/// # Errors
/// Fails if the shapes differ.
pub fn weighted_mean(values: &Tensor, weights: &Tensor) -> Result<Tensor> {
    let weights = weights.detach().to_dtype(values.dtype())?;
    values.mul(&weights)?.sum_all()?.div(&weights.sum_all()?)
}

/// [`crate::cosine_distillation`] over weighted positions.
///
/// # Shapes and units
/// `teacher`, `student`: `[N, C, H, W]` of one scale; `weights`: `[N, H, W]` as for
/// [`weighted_mean`]. Gives a scalar in 0..=2.
///
/// # Errors
/// Fails if the shapes differ.
pub fn cosine_distillation_within(teacher: &Tensor, student: &Tensor, weights: &Tensor) -> Result<Tensor> {
    weighted_mean(&fmam_ops::cosine_distance(student, teacher)?, weights)
}

/// [`crate::flattened_cosine_distillation`] of the positions inside alone.
///
/// # Shapes and units
/// `teacher`, `student`: `[N, C, H, W]` of one scale; `inside`: `[N, H, W]`, 1 for the positions
/// that count and 0 for the others. Gives a scalar in 0..=2.
///
/// # Errors
/// Fails if the shapes differ.
pub fn flattened_cosine_distillation_within(
    teacher: &Tensor,
    student: &Tensor,
    inside: &Tensor,
) -> Result<Tensor> {
    // Features of 0 add nothing to a product or a length.
    let inside = inside.detach().to_dtype(student.dtype())?.unsqueeze(1)?;
    flattened_cosine_distillation(&teacher.broadcast_mul(&inside)?, &student.broadcast_mul(&inside)?)
}

/// [`crate::multiresolution_distillation`] of the positions inside alone.
///
/// # Shapes and units
/// `teacher`, `cloner` and `inside` as for [`flattened_cosine_distillation_within`]. Gives a scalar
/// of 0 or more.
///
/// # Errors
/// Fails if the shapes differ.
pub fn multiresolution_distillation_within(
    teacher: &Tensor,
    cloner: &Tensor,
    direction_weight: f64,
    inside: &Tensor,
) -> Result<Tensor> {
    let value = weighted_mean(&crate::squared_difference(teacher, cloner)?, inside)?;
    let directions = flattened_cosine_distillation_within(teacher, cloner, inside)?;
    value + (directions * direction_weight)?
}

/// [`crate::keep`] over weighted positions.
///
/// # Shapes and units
/// `mapped`, `original`: `[N, C, H, W]` of one scale; `weights`: `[N, H, W]` as for
/// [`weighted_mean`]. Gives a scalar.
///
/// # Errors
/// Fails if the shapes differ.
pub fn keep_within(mapped: &Tensor, original: &Tensor, weight: f64, weights: &Tensor) -> Result<Tensor> {
    weighted_mean(&fmam_ops::cosine_distance(mapped, original)?, weights)? * weight
}
