//! Features of normal images brought to mean zero and unit covariance, which is what a cosine needs
//! to see small changes.

use candle_core::{DType, Tensor, Var};
use faer::{Mat, Side};
use fmam_ops::{Activation, Conv2dConfig, FrozenConv2d, Nonlinearity};

use crate::{FeaturePyramid, Init, ModelError, Params};

/// Mean and covariance of features over all positions, at each scale of a pyramid, gathered batch
/// by batch in f64. Memory does not grow with the number of images.
///
/// # Example
/// ```
/// use candle_core::{Device, Tensor};
/// use fmam_models::{FeatureMoments, FeaturePyramid};
///
/// let scale = Tensor::new(&[1.0_f32, 3.0, 0.0, 2.0], &Device::Cpu)?.reshape((1, 2, 1, 2))?;
/// let mut moments = FeatureMoments::default();
/// moments.add(&FeaturePyramid { scales: vec![scale] })?;
/// assert_eq!(moments.mean(0), [2.0, 1.0]);
/// assert_eq!(moments.covariance(0), [1.0, 1.0, 1.0, 1.0]);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Default)]
pub struct FeatureMoments {
    scales: Vec<Moments>,
}

/// Sums about a fixed point, so that a mean which is large beside the deviation costs no digits.
#[derive(Debug)]
struct Moments {
    count: f64,
    /// Mean of the first batch.
    centre: Vec<f64>,
    sum: Vec<f64>,
    /// Sum of the outer products, row by row.
    products: Vec<f64>,
}

impl FeatureMoments {
    /// Takes in a batch; every batch has the scales and channels of the first.
    ///
    /// # Errors
    /// [`ModelError::PyramidShape`] for other scales or channels, [`ModelError::EmptyBatch`] for no
    /// position.
    pub fn add(&mut self, features: &FeaturePyramid) -> Result<(), ModelError> {
        let rows = features.scales.iter().map(rows).collect::<Result<Vec<_>, _>>()?;
        if self.scales.is_empty() {
            self.scales = rows.iter().map(Moments::about_mean).collect::<Result<_, _>>()?;
        }
        let channels = |scale: &Tensor| scale.dim(1).ok();
        let fits =
            self.scales.iter().map(|scale| Some(scale.sum.len())).eq(features.scales.iter().map(channels));
        if !fits {
            let expected =
                format!("{:?} channels", self.scales.iter().map(|s| s.sum.len()).collect::<Vec<_>>());
            return Err(ModelError::PyramidShape { expected, actual: features.shapes() });
        }
        self.scales.iter_mut().zip(&rows).try_for_each(|(scale, rows)| scale.add(rows))
    }

    /// Mean feature of scale `k`, one value a channel.
    ///
    /// # Panics
    /// Panics if no batch had a scale `k`.
    pub fn mean(&self, k: usize) -> Vec<f64> {
        let Moments { count, centre, sum, .. } = &self.scales[k];
        centre.iter().zip(sum).map(|(centre, sum)| centre + sum / count).collect()
    }

    /// Population covariance of the channels of scale `k`, row by row.
    ///
    /// # Panics
    /// Panics if no batch had a scale `k`.
    pub fn covariance(&self, k: usize) -> Vec<f64> {
        let Moments { count, sum, products, .. } = &self.scales[k];
        let c = sum.len();
        (0..c * c).map(|at| products[at] / count - sum[at / c] / count * (sum[at % c] / count)).collect()
    }
}

impl FeatureMoments {
    /// Variances of scale `k` along its principal axes, the largest first, and those axes as unit
    /// vectors, one after the other.
    ///
    /// # Errors
    /// [`ModelError::Covariance`] when the covariance is not finite.
    ///
    /// # Panics
    /// Panics if no batch had a scale `k`.
    pub fn principal_axes(&self, k: usize) -> Result<(Vec<f64>, Vec<Vec<f64>>), ModelError> {
        let c = self.mean(k).len();
        let (mut variances, vectors) = eigen(&self.covariance(k), c)?;
        variances.reverse();
        let axis = |j| (0..c).map(|i| vectors[(i, j)]).collect();
        Ok((variances, (0..c).rev().map(axis).collect()))
    }
}

/// `[N, C, H, W]` to one row a position, f64.
fn rows(scale: &Tensor) -> Result<Tensor, ModelError> {
    let (n, c, h, w) = scale.dims4()?;
    if n * h * w == 0 {
        return Err(ModelError::EmptyBatch);
    }
    Ok(scale.detach().to_dtype(DType::F64)?.permute((0, 2, 3, 1))?.reshape((n * h * w, c))?)
}

impl Moments {
    fn about_mean(rows: &Tensor) -> Result<Self, ModelError> {
        let centre = rows.mean(0)?.to_vec1()?;
        let c = centre.len();
        Ok(Self { count: 0.0, centre, sum: vec![0.0; c], products: vec![0.0; c * c] })
    }

    fn add(&mut self, rows: &Tensor) -> Result<(), ModelError> {
        let c = self.centre.len();
        let centre = Tensor::from_slice(&self.centre, (1, c), rows.device())?;
        let rows = rows.broadcast_sub(&centre)?;
        let products = rows.t()?.contiguous()?.matmul(&rows)?.flatten_all()?.to_vec1::<f64>()?;
        self.count += rows.dim(0)? as f64;
        for (total, value) in self.sum.iter_mut().zip(rows.sum(0)?.to_vec1::<f64>()?) {
            *total += value;
        }
        for (total, value) in self.products.iter_mut().zip(products) {
            *total += value;
        }
        Ok(())
    }
}

/// At each scale `f -> S^(-1/2) (f - mean) + offset`, with the mean and the covariance `S` of
/// normal features: the whitening that changes features least, and one constant in every channel,
/// against which the length of a feature still shows in its direction.
#[derive(Debug)]
pub(crate) struct Whitening {
    scales: Vec<Scale>,
}

#[derive(Debug)]
struct Scale {
    weight: Var,
    bias: Var,
    conv: FrozenConv2d,
}

impl Scale {
    fn new(weight: Var, bias: Var) -> Result<Self, ModelError> {
        let (w, b) = (weight.as_detached_tensor(), bias.as_detached_tensor());
        let conv = FrozenConv2d::new(&w, Some(&b), Conv2dConfig::same(1), Nonlinearity::Identity)?;
        Ok(Self { weight, bias, conv })
    }

    /// Takes other values, in the variables that the parameters hold.
    fn set(&mut self, weight: &Tensor, bias: &Tensor) -> Result<(), ModelError> {
        self.weight.set(weight)?;
        self.bias.set(bias)?;
        *self = Self::new(self.weight.clone(), self.bias.clone())?;
        Ok(())
    }
}

impl Whitening {
    /// The saved statistics under frozen `params`. Under trainable ones [`Whitening::measure`] must
    /// come before the first use.
    pub(crate) fn new(channels: &[usize], params: &Params) -> Result<Self, ModelError> {
        let scales = channels.iter().enumerate().map(|(k, &c)| {
            let params = params.pp(k);
            let weight = params.buffer("weight", (c, c, 1, 1), Init::Const(0.0))?;
            Scale::new(weight, params.buffer("bias", c, Init::Const(0.0))?)
        });
        Ok(Self { scales: scales.collect::<Result<_, ModelError>>()? })
    }

    /// Takes the statistics of normal features over. `shrinkage` times the mean variance is added
    /// to each variance, so that directions in which normal features hardly vary are not blown up
    /// without limit.
    pub(crate) fn measure(
        &mut self,
        moments: &FeatureMoments,
        shrinkage: f64,
        offset: f64,
    ) -> Result<(), ModelError> {
        for (k, scale) in self.scales.iter_mut().enumerate() {
            let mean = moments.mean(k);
            let c = mean.len();
            let inverse = inverse_root(&moments.covariance(k), c, shrinkage)?;
            let bias: Vec<f64> =
                (0..c).map(|i| offset - (0..c).map(|j| inverse[i * c + j] * mean[j]).sum::<f64>()).collect();
            let device = scale.weight.device().clone();
            let single = |values: Vec<f64>| values.into_iter().map(|v| v as f32).collect::<Vec<_>>();
            let weight = Tensor::from_vec(single(inverse), (c, c, 1, 1), &device)?;
            scale.set(&weight, &Tensor::from_vec(single(bias), c, &device)?)?;
        }
        Ok(())
    }

    /// Takes over what `other`, of the same channels, has measured.
    pub(crate) fn copy_from(&mut self, other: &Self) -> Result<(), ModelError> {
        for (scale, other) in self.scales.iter_mut().zip(&other.scales) {
            scale.set(&other.weight.as_detached_tensor(), &other.bias.as_detached_tensor())?;
        }
        Ok(())
    }

    pub(crate) fn forward(&self, k: usize, x: &Activation) -> Result<Activation, ModelError> {
        Ok(self.scales[k].conv.forward(x)?)
    }
}

/// Eigenvalues of a symmetric matrix of side `c`, in rising order, and its orthonormal eigenvectors
/// in columns.
fn eigen(covariance: &[f64], c: usize) -> Result<(Vec<f64>, Mat<f64>), ModelError> {
    if covariance.iter().any(|value| !value.is_finite()) {
        return Err(ModelError::Covariance);
    }
    let matrix = Mat::from_fn(c, c, |i, j| covariance[i * c + j]);
    let eigen = matrix.self_adjoint_eigen(Side::Lower).map_err(|_| ModelError::Covariance)?;
    let values = eigen.S().column_vector();
    Ok(((0..c).map(|k| values[k]).collect(), eigen.U().to_owned()))
}

/// `(S + shrinkage · mean variance · I)^(-1/2)` of a symmetric `S`, row by row.
fn inverse_root(covariance: &[f64], c: usize, shrinkage: f64) -> Result<Vec<f64>, ModelError> {
    let (values, vectors) = eigen(covariance, c)?;
    let mean_variance = (0..c).map(|k| covariance[k * c + k]).sum::<f64>() / c as f64;
    // A scale without any variance is left as it is but for its mean.
    let floor = if mean_variance > 0.0 { shrinkage * mean_variance } else { 1.0 };
    let roots: Vec<f64> = (0..c).map(|k| (values[k].max(0.0) + floor).sqrt().recip()).collect();
    let entry = |i: usize, j: usize| (0..c).map(|k| vectors[(i, k)] * roots[k] * vectors[(j, k)]).sum();
    Ok((0..c * c).map(|at| entry(at / c, at % c)).collect())
}

#[cfg(test)]
mod tests {
    use candle_core::Device;
    use fmam_core::Seed;

    use super::*;

    /// Correlated channels of different sizes about a large mean.
    fn features(seed: u64) -> FeaturePyramid {
        let (n, c, side) = (4, 5, 9);
        let draw = Init::Normal { std: 1.0 }.draw(Seed::new(seed), n * c * side * side);
        let plane = side * side;
        let value = |n: usize, c: usize, p: usize| draw[(n * 5 + c) * plane + p];
        let mut data = Vec::new();
        for image in 0..n {
            for channel in 0..c {
                for p in 0..plane {
                    let common = value(image, 0, p);
                    data.push(100.0 + (channel + 1) as f32 * (value(image, channel, p) + 0.7 * common));
                }
            }
        }
        FeaturePyramid { scales: vec![Tensor::from_vec(data, (n, c, side, side), &Device::Cpu).unwrap()] }
    }

    #[test]
    fn batches_add_up_to_the_moments_of_all() {
        let mut apart = FeatureMoments::default();
        apart.add(&features(1)).unwrap();
        apart.add(&features(2)).unwrap();
        let both = Tensor::cat(&[&features(1).scales[0], &features(2).scales[0]], 0).unwrap();
        // By the definition, in two passes.
        let rows = rows(&both).unwrap().to_vec2::<f64>().unwrap();
        let n = rows.len() as f64;
        let mean: Vec<f64> = (0..5).map(|i| rows.iter().map(|row| row[i]).sum::<f64>() / n).collect();
        for (a, b) in apart.mean(0).iter().zip(&mean) {
            assert!((a - b).abs() < 1e-9, "{a} {b}");
        }
        for (at, value) in apart.covariance(0).iter().enumerate() {
            let (i, j) = (at / 5, at % 5);
            let expected = rows.iter().map(|row| (row[i] - mean[i]) * (row[j] - mean[j])).sum::<f64>() / n;
            assert!((value - expected).abs() < 1e-9 * expected.abs().max(1.0), "{value} {expected}");
        }
    }

    #[test]
    fn whitened_features_have_the_offset_as_mean_and_unit_covariance() {
        let mut moments = FeatureMoments::default();
        moments.add(&features(3)).unwrap();
        let mut whitening = Whitening::new(&[5], &Params::trainable(Seed::new(0), &Device::Cpu)).unwrap();
        whitening.measure(&moments, 1e-9, 0.5).unwrap();
        let x = Activation::from_nchw(&features(3).scales[0]).unwrap();
        let mut after = FeatureMoments::default();
        let white = whitening.forward(0, &x).unwrap().to_nchw().unwrap();
        after.add(&FeaturePyramid { scales: vec![white] }).unwrap();
        assert!(after.mean(0).iter().all(|mean| (mean - 0.5).abs() < 1e-3), "{:?}", after.mean(0));
        for (at, value) in after.covariance(0).iter().enumerate() {
            let expected = f64::from(u8::from(at / 5 == at % 5));
            assert!((value - expected).abs() < 1e-3, "{at}: {value}");
        }
    }

    #[test]
    fn shrinkage_bounds_the_gain_and_no_variance_is_no_error() {
        // Variances 4 and 0: the mean is 2, so that the gains are the roots of 4 + 0.2 and 0.2.
        let root = inverse_root(&[4.0, 0.0, 0.0, 0.0], 2, 0.1).unwrap();
        assert!((root[0] - 4.2_f64.sqrt().recip()).abs() < 1e-12);
        assert!((root[3] - 0.2_f64.sqrt().recip()).abs() < 1e-12);
        assert_eq!(inverse_root(&[0.0], 1, 0.1).unwrap(), [1.0]);
        assert!(matches!(inverse_root(&[f64::NAN], 1, 0.1), Err(ModelError::Covariance)));
    }

    #[test]
    fn other_shapes_are_refused() {
        let mut moments = FeatureMoments::default();
        moments.add(&features(1)).unwrap();
        let other =
            FeaturePyramid { scales: vec![Tensor::zeros((1, 4, 2, 2), DType::F32, &Device::Cpu).unwrap()] };
        assert!(matches!(moments.add(&other), Err(ModelError::PyramidShape { .. })));
        let empty =
            FeaturePyramid { scales: vec![Tensor::zeros((0, 5, 2, 2), DType::F32, &Device::Cpu).unwrap()] };
        assert!(matches!(moments.add(&empty), Err(ModelError::EmptyBatch)));
    }
}
