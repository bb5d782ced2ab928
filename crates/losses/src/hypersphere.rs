use candle_core::{DType, Error, Result, Tensor};
use fmam_ops::traced;

/// Lower bound of the mean pseudo-Huber norm of an anomalous image: the gradient of the loss is
/// unbounded at 0.
const SMALLEST_NORM: f64 = 1e-9;

/// `sqrt(x² + 1) - 1`, element by element: half the square near 0, the absolute value minus 1 far
/// from 0. The formula avoids the difference, which would cancel for a small `x` in f32.
///
/// # Errors
/// None in practice; candle's signature.
pub fn pseudo_huber(x: &Tensor) -> Result<Tensor> {
    let square = traced::sqr(x)?;
    let root = traced::sqrt(&traced::affine(&square, 1.0, 1.0)?)?;
    traced::div(&square, &traced::affine(&root, 1.0, 1.0)?)
}

/// The loss of a fully convolutional data description: the outputs of normal images are drawn to 0,
/// the outputs of anomalous images away from 0. With `a` the mean of [`pseudo_huber`] over an
/// image's positions the loss is `a` for a normal and `-log(1 - e^-a)` for an anomalous image,
/// averaged over the batch.
///
/// # Shapes and units
/// `outputs`: `[N, H, W]`; `anomalous`: one value an image. Gives a scalar.
///
/// # Errors
/// Fails if `anomalous` has another length than the batch.
///
/// # Source
/// Liznerski et al., ICLR 2021, equation 3, after the hypersphere classifier of Ruff et al. 2020.
pub fn hypersphere_classifier(outputs: &Tensor, anomalous: &[bool]) -> Result<Tensor> {
    classified(outputs, anomalous, |norms| norms.mean((1, 2)))
}

/// [`hypersphere_classifier`] with the mean over the weighted positions of each image.
///
/// # Shapes and units
/// `outputs`: `[N, H, W]`; `anomalous`: one value an image; `weights`: `[N, H, W]`, 0 or more, and
/// for each image not all 0. Gives a scalar. No gradient flows to the weights.
///
/// # Errors
/// Fails if `anomalous` has another length than the batch, or the shapes differ.
pub fn hypersphere_classifier_within(
    outputs: &Tensor,
    anomalous: &[bool],
    weights: &Tensor,
) -> Result<Tensor> {
    let weights = weights.detach().to_dtype(DType::F64)?;
    classified(outputs, anomalous, |norms| norms.mul(&weights)?.sum((1, 2))?.div(&weights.sum((1, 2))?))
}

/// The loss with `mean` from the norms of all positions, `[N, H, W]`, to one value an image.
fn classified(
    outputs: &Tensor,
    anomalous: &[bool],
    mean: impl Fn(Tensor) -> Result<Tensor>,
) -> Result<Tensor> {
    let (n, _, _) = outputs.dims3()?;
    if anomalous.len() != n {
        let (msg, expected, got) = ("labels of the batch".to_owned(), n.into(), anomalous.len().into());
        return Err(Error::UnexpectedShape { msg, expected, got }.bt());
    }
    let labels: Vec<f64> = anomalous.iter().map(|&anomalous| f64::from(u8::from(anomalous))).collect();
    let labels = Tensor::from_vec(labels, n, outputs.device())?;
    // f64, because 1 - e^-a of a small a has few digits left in f32.
    let norms = mean(pseudo_huber(&outputs.to_dtype(DType::F64)?)?)?;
    let away = (1.0 - norms.clamp(SMALLEST_NORM, f64::INFINITY)?.neg()?.exp()?)?.log()?.neg()?;
    let normal = norms.mul(&(1.0 - &labels)?)?;
    (normal + away.mul(&labels)?)?.mean_all()?.to_dtype(outputs.dtype())
}
