use fmam_core::Seed;
use rand::Rng;

/// The initial value of a parameter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Init {
    /// Every element has this value.
    Const(f64),
    /// Independent normal values of mean 0 and this standard deviation.
    Normal {
        /// The standard deviation.
        std: f64,
    },
}

impl Init {
    /// Normal values that keep the variance of gradients through a convolution and a ReLU (He et
    /// al. 2015, arXiv:1502.01852, the variant that counts outgoing connections).
    ///
    /// `weight`: `[C_out, C_in / groups, k_h, k_w]`.
    pub fn kaiming_fan_out([co, _, kh, kw]: [usize; 4], groups: usize) -> Self {
        let fan_out = (co * kh * kw / groups.max(1)).max(1);
        Self::Normal { std: (2.0 / fan_out as f64).sqrt() }
    }

    /// `count` values of the stream of `seed`.
    pub fn draw(self, seed: Seed, count: usize) -> Vec<f32> {
        let std = match self {
            Self::Const(value) => return vec![value as f32; count],
            Self::Normal { std } => std,
        };
        let mut rng = seed.rng();
        let mut values = Vec::with_capacity(count + 1);
        while values.len() < count {
            // Box and Muller 1958; 1 - u lies in (0, 1], so that the logarithm is finite.
            let radius = (-2.0 * (1.0 - rng.random::<f64>()).ln()).sqrt() * std;
            let angle = std::f64::consts::TAU * rng.random::<f64>();
            values.push((radius * angle.cos()) as f32);
            values.push((radius * angle.sin()) as f32);
        }
        values.truncate(count);
        values
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn normal_values_have_the_moments_asked_for() {
        let values = Init::Normal { std: 0.5 }.draw(Seed::new(3), 100_001);
        assert_eq!(values.len(), 100_001);
        let n = values.len() as f64;
        let moment = |p: i32| values.iter().map(|v| f64::from(*v).powi(p)).sum::<f64>() / n;
        assert!(moment(1).abs() < 0.01, "{}", moment(1));
        assert!((moment(2) - 0.25).abs() < 0.005, "{}", moment(2));
        // The fourth moment of a normal distribution is 3 std^4.
        assert!((moment(4) - 3.0 * 0.0625).abs() < 0.01, "{}", moment(4));
    }

    #[test]
    fn fan_out_counts_a_group_once() {
        assert_eq!(Init::kaiming_fan_out([8, 4, 3, 3], 1), Init::Normal { std: (2.0_f64 / 72.0).sqrt() });
        assert_eq!(Init::kaiming_fan_out([8, 1, 3, 3], 8), Init::Normal { std: (2.0_f64 / 9.0).sqrt() });
    }
}
