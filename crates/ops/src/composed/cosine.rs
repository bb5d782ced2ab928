//! Cosine distance of candle's operators.

use candle_core::{Result, Tensor};

/// Cosine distance of `a` and `b`, `[N, C, H, W]`, at each position.
pub(crate) fn cosine_distance(a: &Tensor, b: &Tensor, smallest_norm: f64) -> Result<Tensor> {
    let norm =
        |x: &Tensor| -> Result<Tensor> { x.sqr()?.sum(1)?.maximum(smallest_norm * smallest_norm)?.sqrt() };
    let cosine = a.mul(b)?.sum(1)?.div(&norm(a)?.mul(&norm(b)?)?)?;
    1.0 - cosine
}
