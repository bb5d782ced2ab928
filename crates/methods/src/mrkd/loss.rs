//! The loss of MRKD over all scales, and the weight of its two parts.

use candle_core::Tensor;
use fmam_losses::{
    flattened_cosine_distillation, flattened_cosine_distillation_within, multiresolution_distillation,
    multiresolution_distillation_within,
};
use fmam_models::FeaturePyramid;

use crate::MethodError;
use crate::batch_inside::BatchInside;
use crate::training::sum_of_scales;

/// The largest weight of the directions.
pub(super) const MAX_WEIGHT: f64 = 1e6;

/// The loss of all scales, over the positions `inside`, or over all.
pub(super) fn loss(
    teacher: &FeaturePyramid,
    cloner: &FeaturePyramid,
    direction_weight: f64,
    inside: Option<&BatchInside>,
) -> Result<Tensor, MethodError> {
    let scales = teacher.scales.iter().zip(&cloner.scales);
    sum_of_scales(scales.map(|(t, c)| {
        Ok(match inside {
            None => multiresolution_distillation(t, c, direction_weight)?,
            Some(inside) => multiresolution_distillation_within(t, c, direction_weight, &inside.weights(t)?)?,
        })
    }))
}

/// The weight with which the directions' error is as large as the values'.
pub(super) fn balancing_weight(
    teacher: &FeaturePyramid,
    cloner: &FeaturePyramid,
    inside: Option<&BatchInside>,
) -> Result<f64, MethodError> {
    let values = loss(teacher, cloner, 0.0, inside)?.to_scalar::<f32>()?;
    let scales = teacher.scales.iter().zip(&cloner.scales);
    let directions = sum_of_scales(scales.map(|(t, c)| {
        Ok(match inside {
            None => flattened_cosine_distillation(t, c)?,
            Some(inside) => flattened_cosine_distillation_within(t, c, &inside.weights(t)?)?,
        })
    }))?;
    let ratio = f64::from(values) / f64::from(directions.to_scalar::<f32>()?);
    Ok(if ratio.is_finite() { ratio.min(MAX_WEIGHT) } else { 1.0 })
}
