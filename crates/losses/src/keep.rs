use candle_core::{Result, Tensor};

/// Keeps mapped features of normal images close to the teacher's: `weight` times the mean cosine
/// distance.
///
/// # Shapes and units
/// `mapped`, `original`: `[N, C, H, W]` of one scale. Gives a scalar.
///
/// # Errors
/// Fails if the shapes differ.
///
/// # Source
/// Our decision: the poster states that the variance of normal features stays low, and gives no
/// formula.
pub fn keep(mapped: &Tensor, original: &Tensor, weight: f64) -> Result<Tensor> {
    fmam_ops::cosine_distance(mapped, original)?.mean_all()? * weight
}
