//! Limits of a trait: the range of the training images, and a margin.
//!
//! # The margin
//!
//! A training set of `n` images has a least and a largest value of each trait. A new image of the
//! same source is beyond the largest with a probability of 1 / (n + 1), which is far too often for
//! a warning where `n` is 50. A range is therefore extended on each side by a margin, which is
//! such that the value of a good image is beyond it with a probability of about `r`. All sides of
//! the traits that vary among the training images share 0.5 % equally: `r` is 0.5 % / 15 where all
//! vary (two sides of seven traits, one of the position).
//!
//! The margin comes from peaks over a threshold (Pickands 1975) with an exponential tail. Where
//! the tail has the scale σ, a new value is beyond the largest one by more than δ with a
//! probability of exp(-δ/σ) / (n + 1), since an exponential has no memory. σ comes from the `k`
//! largest values: their excesses over the next smaller value add up to `S`, and are distributed
//! as `k` independent exponentials (Rényi 1953). `k` is n/4 rounded up, but at least 8, or n - 1
//! where there are fewer: a quarter of the values is the tail, and of a few images all are needed.
//! With an inverse gamma prior for σ, of the weight of one observation σ₀, the excess of a new
//! value has a Lomax distribution, and the margin is
//!
//! ```text
//! δ = (σ₀ + S) (p^(-1/(1 + k)) - 1)    with p = min(1, (n + 1) r)
//! ```
//!
//! It is for exponential tails what the prediction interval of Student's t is for a Gaussian, and
//! it follows the tail of each side. A Gaussian has lighter tails and warns less often; traits are
//! often skewed. With few images the margin is wide: for a Gaussian of the standard deviation s it
//! is 13 s at 5 images, 8.5 s at 10, 2.5 s at 50 and 1.2 s at 320 (means, with r = 1/2200). At 1 /
//! `r` images nothing is left of it. One image does not show any variation, and so warns of
//! another size, and of little else.
//!
//! A test below measures the approximations: the largest value is not independent of `S`, and σ₀
//! pretends to be an observation. Values with an exponential tail are beyond a side 50 times as
//! often as `r` at 2 images, 9 times at 5, 4 times at 10, twice at 50 and once at 320; values with
//! logistic tails 22 times, 0.4, 0.1, 1.3 and 0.8 times.
//!
//! σ₀ is a small variation of the trait in fixed conditions, and lets the margin of few images
//! reach further than their chance agreement. A `floor` below which no margin falls keeps nearly
//! equal training images, such as renders, from warnings at differences that nobody sees. Both are
//! chosen by reason, not on data:
//!
//! | trait | scale | σ₀ | floor |
//! | --- | --- | --- | --- |
//! | brightness | grey levels | 1 | 3: a hundredth of the range, about the flicker of lamps |
//! | contrast | grey levels | 1 | 2 |
//! | sharpness | logarithm | 3 % | 10 %: about another quality of JPEG or another resizer |
//! | size, aspect | logarithm | 0 | 0: training images of one size say that others are foreign |
//! | red-green, blue-green | of the brightness | 1 % | 2 % |
//! | position | logarithm of 1.05 - correlation | 10 % | a correlation of 0.05: a slight displacement |

use serde::{Deserialize, Serialize};

use crate::Trait;

/// Probability that a good image has a warning.
const RATE: f64 = 0.005;

/// The probability that a good image is beyond one side of one trait: [`RATE`] divided equally
/// among the sides of the traits that differ between training images. The others have no tail.
pub(crate) fn rate_of_a_side(values: &[(Trait, Vec<f32>)]) -> f64 {
    let varies = |values: &[f32]| values.iter().any(|value| *value != values[0]);
    let varying = values.iter().filter(|(_, values)| varies(values));
    let sides: u32 = varying.map(|&(of, _)| if of == Trait::Position { 1 } else { 2 }).sum();
    RATE / f64::from(sides.max(1))
}

/// Training images at or beyond a usual limit on one side, of `n`.
pub(crate) fn usual_rank(n: usize) -> usize {
    n.div_ceil(10)
}

/// Fewest values of the tail, where there are so many.
const TAIL: usize = 8;

/// Added to the distance of a correlation from 1: correlations above 0.95 hardly differ.
const CORRELATION_ROUNDING: f64 = 0.05;

/// Added to a sharpness: below it there are no edges.
const SHARPNESS_ROUNDING: f64 = 0.01;

/// Limits of a trait.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Limits {
    /// Least and largest value of the training images.
    pub(crate) shown: [f32; 2],
    /// Limits that a tenth of the training images reach on each side, moved out by the floor.
    pub(crate) usual: [f32; 2],
    /// Least and largest value without a warning.
    pub(crate) accepted: [f32; 2],
}

impl Limits {
    /// The limits of the trait `of` by its values in the training images; `None` without values.
    pub(crate) fn of(of: Trait, values: &[f32], rate: f64) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f32::total_cmp);
        let (&least, &largest) = (sorted.first()?, sorted.last()?);
        let scale = Scale::of(of);
        let up: Vec<f64> = sorted.iter().map(|&value| scale.coordinate(value)).collect();
        let down: Vec<f64> = up.iter().rev().map(|value| -value).collect();
        let lower = scale.value(up[0] - scale.margin(&down, rate)).min(scale.apart(least, -1.0));
        let upper = scale.value(up[up.len() - 1] + scale.margin(&up, rate)).max(scale.apart(largest, 1.0));
        let (first, last) = (usual_rank(up.len()) - 1, up.len() - usual_rank(up.len()));
        let usual = [scale.apart(sorted[first], -1.0), scale.apart(sorted[last], 1.0)];
        // No image is too much like the others.
        let bound = |[low, high]: [f32; 2]| [low, if of == Trait::Position { 1.0 } else { high }];
        let (usual, accepted) = (bound(usual), bound([lower, upper]));
        Some(Self { shown: [least, largest], usual, accepted })
    }

    /// True if the value of a trait needs a warning.
    pub(crate) fn exclude(&self, value: f32) -> bool {
        value < self.accepted[0] || value > self.accepted[1]
    }

    /// True if the limits are finite and enclose the range.
    pub(crate) fn are_valid(&self) -> bool {
        let [low, high] = self.accepted;
        let is_within = |[least, largest]: [f32; 2]| {
            let ordered = [low, least, largest, high];
            ordered.iter().all(|value| value.is_finite()) && ordered.is_sorted()
        };
        is_within(self.shown) && is_within(self.usual)
    }
}

/// The coordinate in which a trait has a margin, and the constants of the trait.
struct Scale {
    kind: Kind,
    typical: f64,
    floor: f64,
}

#[derive(Clone, Copy)]
enum Kind {
    /// The value itself.
    Linear,
    /// The logarithm of the value plus a constant.
    Logarithm(f64),
    /// The logarithm of the distance from 1, rising with the correlation.
    Correlation,
}

impl Scale {
    fn of(of: Trait) -> Self {
        let (kind, typical, floor) = match of {
            Trait::Brightness => (Kind::Linear, 1.0, 3.0),
            Trait::Contrast => (Kind::Linear, 1.0, 2.0),
            Trait::Sharpness => (Kind::Logarithm(SHARPNESS_ROUNDING), 0.03, 0.1),
            Trait::Size | Trait::Aspect => (Kind::Logarithm(0.0), 0.0, 0.0),
            Trait::RedGreen | Trait::BlueGreen => (Kind::Linear, 0.01, 0.02),
            Trait::Position => (Kind::Correlation, 0.1, 0.05),
        };
        Self { kind, typical, floor }
    }

    fn coordinate(&self, value: f32) -> f64 {
        let value = f64::from(value);
        match self.kind {
            Kind::Linear => value,
            Kind::Logarithm(rounding) => (value + rounding).ln(),
            Kind::Correlation => -(1.0 + CORRELATION_ROUNDING - value).ln(),
        }
    }

    /// The reverse of [`Scale::coordinate`], finite.
    fn value(&self, coordinate: f64) -> f32 {
        let value = match self.kind {
            Kind::Linear => coordinate,
            Kind::Logarithm(rounding) => coordinate.exp() - rounding,
            Kind::Correlation => (1.0 + CORRELATION_ROUNDING - (-coordinate).exp()).max(-1.0),
        };
        value.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32
    }

    /// The value that is apart from `value` by the floor, below it for the sign -1.
    fn apart(&self, value: f32, sign: f64) -> f32 {
        let value = f64::from(value);
        let apart = match self.kind {
            Kind::Linear | Kind::Correlation => value + sign * self.floor,
            Kind::Logarithm(rounding) => (value + rounding) * (sign * self.floor).exp() - rounding,
        };
        apart as f32
    }

    /// The margin beyond the last of the ascending coordinates, of which there is at least one.
    fn margin(&self, ascending: &[f64], rate: f64) -> f64 {
        let n = ascending.len();
        let k = n.div_ceil(4).max(TAIL).min(n - 1);
        let threshold = ascending[n - 1 - k];
        let excess: f64 = ascending[n - k..].iter().map(|value| value - threshold).sum();
        let p = ((n + 1) as f64 * rate).min(1.0);
        let width = p.powf(-1.0 / (1.0 + k as f64)) - 1.0;
        (self.typical + excess) * width
    }
}

#[cfg(test)]
mod tests {
    use fmam_core::Seed;
    use rand::Rng;

    use super::*;

    /// The rate of a side.
    const SIDE: f64 = 1.0 / 2000.0;

    #[test]
    fn the_margin_by_hand() {
        // Three values: k = 2, excesses 3 and 10 over the least, 7 and 10 below the largest.
        let limits = Limits::of(Trait::Brightness, &[100.0, 110.0, 103.0], SIDE).unwrap();
        let width = (4.0_f64 / 2000.0).powf(-1.0 / 3.0) - 1.0;
        assert_eq!(limits.shown, [100.0, 110.0]);
        let [low, high] = limits.accepted.map(f64::from);
        assert!((high - (110.0 + (1.0 + 13.0) * width)).abs() < 1e-4, "{limits:?}");
        assert!((low - (100.0 - (1.0 + 17.0) * width)).abs() < 1e-4, "{limits:?}");
        // Of 100 values the tail has 25: 99, 98, ... over 74.
        let values: Vec<f32> = (0..100).map(|value| value as f32).collect();
        let width = (101.0_f64 / 2000.0).powf(-1.0 / 26.0) - 1.0;
        let high = f64::from(Limits::of(Trait::Brightness, &values, SIDE).unwrap().accepted[1]);
        assert!((high - (99.0 + (1.0 + 325.0) * width)).abs() < 1e-4, "{high}");
    }

    #[test]
    fn equal_images_leave_the_floor() {
        let of = |of, value: f32| Limits::of(of, &[value; 400], SIDE).unwrap().accepted;
        assert_eq!(of(Trait::Brightness, 120.0), [117.0, 123.0]);
        let [low, high] = of(Trait::Position, 1.0);
        assert!((low - 0.95).abs() < 1e-6 && high == 1.0, "{low}");
        let [low, high] = of(Trait::Sharpness, 0.5);
        assert!(low < 0.47 && low > 0.44 && high > 0.54 && high < 0.58, "{low} {high}");
        // Another size is foreign, and the same is not, however few images there are.
        for n in [1, 2, 400] {
            let one = Limits::of(Trait::Size, &vec![1_048_576.0; n], SIDE).unwrap();
            assert!(!one.exclude(1_048_576.0) && one.exclude(1_048_575.0) && one.exclude(1_049_600.0));
        }
    }

    #[test]
    fn fewer_images_have_wider_margins() {
        let width = |n: usize| {
            let values: Vec<f32> = (0..n).map(|at| 100.0 + (at % 2) as f32).collect();
            let [low, high] = Limits::of(Trait::Brightness, &values, SIDE).unwrap().accepted;
            high - low
        };
        let widths = [1, 2, 3, 5, 10, 50, 300].map(width);
        assert!(widths.is_sorted_by(|a, b| a >= b), "{widths:?}");
        assert!(widths[0] > 255.0 && widths[4] > 10.0 && widths[6] == 7.0, "{widths:?}");
        assert_eq!(Limits::of(Trait::Brightness, &[], SIDE), None);
    }

    #[test]
    fn limits_are_finite_for_extreme_values() {
        let limits = Limits::of(Trait::Size, &[1.0, 1e15], SIDE).unwrap();
        assert!(limits.are_valid(), "{limits:?}");
        assert!(!Limits { shown: [0.0, 1.0], usual: [0.0, 1.0], accepted: [f32::NAN, 1.0] }.are_valid());
        assert!(!Limits { shown: [0.0, 2.0], usual: [0.0, 1.0], accepted: [0.0, 1.0] }.are_valid());
    }

    /// Share of new values beyond the upper limit of `n` values, over 4000 sets of `n`.
    fn beyond(n: usize, draw: impl Fn(f64) -> f64) -> f64 {
        let mut rng = Seed::new(0).derive("limits").derive_index(n as u64).rng();
        let sets = 4000;
        let mut share = 0.0;
        for _ in 0..sets {
            let mut next = || 1e3 * draw(rng.random::<f64>());
            let values: Vec<f32> = (0..n).map(|_| next() as f32).collect();
            let limits = Limits::of(Trait::Brightness, &values, SIDE).unwrap();
            let beyond = (0..100).filter(|_| next() as f32 > limits.accepted[1]).count();
            share += beyond as f64 / 100.0;
        }
        share / f64::from(sets)
    }

    #[test]
    fn good_images_are_rarely_beyond_a_side() {
        for (n, most) in [(2, 60.0), (5, 10.0), (10, 5.0), (20, 4.5), (50, 3.0), (320, 2.0)] {
            let exponential = beyond(n, |u| -(1.0 - u).ln()) / SIDE;
            assert!(exponential < most && exponential > 0.2, "{n}: {exponential}");
            let uniform = beyond(n, |u| u) / SIDE;
            assert!(uniform < most, "{n}: {uniform}");
            // The logistic distribution is Gaussian within, and exponential in its tails.
            let logistic = beyond(n, |u| (u / (1.0 - u)).ln()) / SIDE;
            assert!(logistic < most, "{n}: {logistic}");
        }
    }
}
