use candle_core::{D, DType, Error, Result, Tensor};

/// Distance from ±1 within which a cosine's angle is not resolved: the gradient of the angle is
/// unbounded there.
const ANGLE_EPSILON: f64 = 1e-6;

/// The positions of a scale that show normal content, and those that show a synthetic defect:
/// `[N, H, W]` each, 1 for a member and 0 for none, in any float type.
#[derive(Debug, Clone)]
pub struct PairMasks {
    /// Normal content: the two features of the pair should agree.
    pub positives: Tensor,
    /// A visible defect: the two features should differ.
    pub negatives: Tensor,
}

/// The angular margin loss: a contrastive loss on the cosine between mapped features and their
/// reference, the features of a student or of the image without its defect. Mapped features should
/// equal the reference where the image is normal. Positives must be closer in angle than negatives
/// by a margin.
///
/// `(1/s) softplus(log mean_N e^(s cos θ) + log mean_P e^(-s cos(θ + m)))`, with θ + m at most π.
///
/// # Source
/// The poster names the loss ("angular margin, based on cosine similarity, for contrastive
/// learning"). This form is ours, after the additive angular margin of Deng et al., CVPR 2019.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AngularMargin {
    /// Inverse temperature s, above 0.
    pub scale: f64,
    /// Margin m in radians, in 0..=π.
    pub margin: f64,
}

impl AngularMargin {
    /// # Shapes and units
    /// `compared`, `reference`: `[N, C, H, W]`, mapped features at one scale. Gives a scalar, 0
    /// without a positive or without a negative.
    ///
    /// # Errors
    /// Fails if shapes differ.
    pub fn loss(&self, compared: &Tensor, reference: &Tensor, masks: &PairMasks) -> Result<Tensor> {
        self.loss_of_distances(&fmam_ops::cosine_distance(compared, reference)?, masks)
    }

    /// [`AngularMargin::loss`] from cosine distances `1 - cos θ`, `[N, H, W]`.
    ///
    /// # Errors
    /// Fails if shapes differ.
    pub fn loss_of_distances(&self, distances: &Tensor, masks: &PairMasks) -> Result<Tensor> {
        for mask in [&masks.positives, &masks.negatives] {
            if mask.dims() != distances.dims() {
                return Err(Error::ShapeMismatchBinaryOp {
                    lhs: distances.shape().clone(),
                    rhs: mask.shape().clone(),
                    op: "angular_margin",
                }
                .bt());
            }
        }
        // f64, because near θ = 0 the sine is the root of a difference that f32 resolves to a few
        // per cent.
        let distance = distances.to_dtype(DType::F64)?.flatten_all()?;
        let mask = |m: &Tensor| m.detach().to_dtype(DType::F64)?.flatten_all();
        let (positives, negatives) = (mask(&masks.positives)?, mask(&masks.negatives)?);
        let (n_positives, n_negatives) = (positives.sum_all()?, negatives.sum_all()?);
        let present = n_positives.mul(&n_negatives)?.gt(0.0)?;
        // On a GPU the host would wait for the number. There the product below is 0, as is its
        // gradient.
        if present.device().is_cpu() && present.to_scalar::<u8>()? == 0 {
            return Tensor::zeros((), distances.dtype(), distances.device());
        }
        self.of_members(&distance, [(&positives, &n_positives), (&negatives, &n_negatives)], &present)?
            .to_dtype(distances.dtype())
    }

    /// The loss of f64 distances and masks, each with its sum, times `present`, which is 1 where
    /// both have a member, else 0.
    fn of_members(
        &self,
        distance: &Tensor,
        [(positives, n_positives), (negatives, n_negatives)]: [(&Tensor, &Tensor); 2],
        present: &Tensor,
    ) -> Result<Tensor> {
        let cosine = (1.0 - distance)?;
        let far = log_mean_exp(&(&cosine * self.scale)?, negatives, n_negatives)?;
        let near = log_mean_exp(&(self.with_margin(distance)? * -self.scale)?, positives, n_positives)?;
        (softplus(&(far + near)?)? / self.scale)?.mul(&present.to_dtype(DType::F64)?)
    }

    /// `cos(θ + m)`, or -1 where θ + m exceeds π. The gradient is 0 there, and where θ is too close
    /// to 0 or π for a finite gradient.
    fn with_margin(&self, distance: &Tensor) -> Result<Tensor> {
        let distance = distance.clamp(ANGLE_EPSILON, 2.0 - ANGLE_EPSILON)?;
        let sine = (&distance * (2.0 - &distance)?)?.sqrt()?;
        let turned = ((1.0 - &distance)? * self.margin.cos())?.sub(&(sine * self.margin.sin())?)?;
        // θ + m > π exactly where cos θ < -cos m.
        let beyond = distance.detach().gt(1.0 + self.margin.cos())?.to_dtype(DType::F64)?;
        turned.mul(&(1.0 - &beyond)?)?.sub(&beyond)
    }
}

/// `log` of the mean of `e^x` over the `count` members of `mask`; finite without a member.
fn log_mean_exp(x: &Tensor, mask: &Tensor, count: &Tensor) -> Result<Tensor> {
    // Members of the other class get a value far below every exponent, yet finite: infinity times
    // zero would be undefined in the gradient.
    let masked = x.mul(mask)?.add(&((mask - 1.0)? * 1e9)?)?;
    let largest = masked.detach().max_keepdim(D::Minus1)?;
    let sum = masked.broadcast_sub(&largest)?.exp()?.sum_all()?;
    (sum.log()? + largest.squeeze(0)?)? - count.maximum(1.0)?.log()?
}

fn softplus(x: &Tensor) -> Result<Tensor> {
    let tail = (x.abs()?.neg()?.exp()? + 1.0)?.log()?;
    x.relu()? + tail
}

#[cfg(test)]
mod tests {
    use candle_core::{Device, Var};

    use super::*;

    /// A GPU computes on where a CPU returns early.
    #[test]
    fn without_a_pair_the_loss_and_its_gradient_are_0() {
        let vector = |values: [f64; 3]| Tensor::new(&values, &Device::Cpu).unwrap();
        let distance = Var::from_tensor(&vector([0.0, 0.5, 2.0])).unwrap();
        let (all, none) = (vector([1.0; 3]), vector([0.0; 3]));
        let angular = AngularMargin { scale: 16.0, margin: 0.3 };
        for (positives, negatives) in [(&all, &none), (&none, &all), (&none, &none)] {
            let sums = [positives, negatives].map(|mask| mask.sum_all().unwrap());
            let present = sums[0].mul(&sums[1]).unwrap().gt(0.0).unwrap();
            let masks = [(positives, &sums[0]), (negatives, &sums[1])];
            let loss = angular.of_members(&distance, masks, &present).unwrap();
            assert_eq!(loss.to_scalar::<f64>().unwrap(), 0.0);
            let grads = loss.backward().unwrap();
            let grad: Vec<f64> = grads.get(&distance).unwrap().to_vec1().unwrap();
            assert!(grad.iter().all(|&value| value == 0.0), "{grad:?}");
        }
    }
}
