//! A series of images, none of which may be outside, but most of which lie on one side of the
//! training images.

use std::fmt;

use serde::ser::SerializeStruct;
use serde::{Serialize, Serializer};

use crate::limits::usual_rank;
use crate::{Look, Profile, Trait};

/// Probability that a series of good images shows a shift on one side of one trait: 1/1000 for all
/// 15 sides together.
const RATE: f64 = 0.001 / 15.0;

/// Images that are compared with the training images as a whole.
///
/// A small change of the light leaves every image within the limits of [`Profile::warnings`], but
/// moves all of them to one side. A series counts the images that are beyond the limit that a tenth
/// of the training images reach. Where the images are exchangeable with the training images, the
/// count has a beta-binomial distribution (the limit is an order statistic), whatever the
/// distribution of the trait. A [`Shift`] is reported where most images are beyond the limit and so
/// large a count has a probability of at most 1/1000, over all traits together.
///
/// The memory does not depend on the number of images, and the order of the images does not matter.
#[derive(Debug, Clone)]
pub struct Series<'a> {
    profile: &'a Profile,
    n_images: usize,
    sides: Vec<Side>,
}

/// Counts on one side of a trait.
#[derive(Debug, Clone)]
struct Side {
    of: Trait,
    is_above: bool,
    limit: f32,
    beyond: usize,
}

impl<'a> Series<'a> {
    /// An empty series.
    pub fn new(profile: &'a Profile) -> Self {
        let side = |of, is_above, limit| Side { of, is_above, limit, beyond: 0 };
        let sides = profile.limits().flat_map(|(of, limits)| {
            let [low, high] = limits.usual;
            [side(of, false, low), side(of, true, high)]
        });
        Self { profile, n_images: 0, sides: sides.collect() }
    }

    /// Takes one more image.
    pub fn add(&mut self, look: &Look) {
        self.n_images += 1;
        for side in &mut self.sides {
            let value = self.profile.value(side.of, look);
            let is_beyond = |value| if side.is_above { value > side.limit } else { value < side.limit };
            side.beyond += usize::from(value.is_some_and(is_beyond));
        }
    }

    /// The traits in which the images as a whole differ from the training images.
    pub fn shifts(&self) -> Vec<Shift> {
        let n_images = self.n_images;
        let is_shift = |side: &&Side| {
            2 * side.beyond > n_images && tail(side.beyond, n_images, self.profile.n_images()) <= RATE
        };
        let shift = |side: &Side| {
            let &Side { of, is_above, limit, beyond } = side;
            Shift { of, is_above, limit, beyond, n_images }
        };
        self.sides.iter().filter(is_shift).map(shift).collect()
    }
}

/// Probability that at least `beyond` of `m` images are beyond the usual limit of `n` training
/// images: the tail of a beta-binomial distribution of `m` draws with the
/// parameters j and n + 1 - j, where j is the rank of the limit.
fn tail(beyond: usize, m: usize, n: usize) -> f64 {
    let (j, others) = (usual_rank(n) as f64, (n + 1 - usual_rank(n)) as f64);
    // Logarithms, since a term of a long series is below the least number.
    let mut term: f64 =
        (0..m).map(|drawn| ((others + drawn as f64) / ((n + 1) as f64 + drawn as f64)).ln()).sum();
    let mut sum = 0.0;
    for count in 0..=m {
        if count >= beyond {
            sum += term.exp();
        }
        if count < m {
            let (count, left) = (count as f64, (m - count) as f64);
            term += ((count + j) * left / ((count + 1.0) * (others + left - 1.0))).ln();
        }
    }
    sum.min(1.0)
}

/// A series of images lies on one side of the training images. [`Display`](fmt::Display) says in
/// words how, and what the likely cause is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shift {
    /// The trait.
    pub of: Trait,
    /// True if the images are above the limit.
    pub is_above: bool,
    /// The limit that a tenth of the training images reach.
    pub limit: f32,
    /// Images of the series beyond it.
    pub beyond: usize,
    /// Images of the series.
    pub n_images: usize,
}

impl fmt::Display for Shift {
    /// `41 of 41 images are darker than nine in ten training images: below 174 (…)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [below, above, causes] = self.of.words();
        let (comparison, side) = if self.is_above { (above, "above") } else { (below, "below") };
        let (beyond, n_images, quantity) = (self.beyond, self.n_images, self.of.quantity());
        write!(f, "{beyond} of {n_images} images are {comparison} than nine in ten training images: ")?;
        write!(f, "{quantity}{side} {} ({causes}?)", self.of.shown(self.limit, 0))
    }
}

impl Serialize for Shift {
    /// `{"trait": …, "side": "below" or "above", "limit": …, "beyond": …, "images": …, "text": …}`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut shift = serializer.serialize_struct("Shift", 6)?;
        shift.serialize_field("trait", &self.of)?;
        shift.serialize_field("side", if self.is_above { "above" } else { "below" })?;
        shift.serialize_field("limit", &self.limit)?;
        shift.serialize_field("beyond", &self.beyond)?;
        shift.serialize_field("images", &self.n_images)?;
        shift.serialize_field("text", &self.to_string())?;
        shift.end()
    }
}

#[cfg(test)]
mod tests {
    use fmam_core::{ImageSize, RgbImage};

    use super::*;

    fn grey(value: u8) -> Look {
        Look::of(&RgbImage::filled(ImageSize::square(8), [value; 3]), Some(ImageSize::square(8)))
    }

    fn training() -> Profile {
        Profile::of(&(0..100).map(|k| grey(100 + k)).collect::<Vec<_>>()).unwrap()
    }

    fn shifts(values: impl Iterator<Item = u8>) -> Vec<Shift> {
        let profile = training();
        let mut series = Series::new(&profile);
        values.for_each(|value| series.add(&grey(value)));
        series.shifts()
    }

    #[test]
    fn images_within_the_limits_are_a_shift_together() {
        assert!(training().warnings(&grey(102)).is_empty());
        let found = shifts([102_u8; 20].into_iter());
        // A tenth of the training images is at 100 to 109, and the floor is 3.
        let expected =
            Shift { of: Trait::Brightness, is_above: false, limit: 106.0, beyond: 20, n_images: 20 };
        assert_eq!(found, [expected]);
        assert_eq!(
            found[0].to_string(),
            "20 of 20 images are darker than nine in ten training images: below 106 (the exposure or \
             the light?)"
        );
        let json = serde_json::to_value(found[0]).unwrap();
        assert_eq!((&json["side"], &json["images"]), (&"below".into(), &20.into()));
        assert_eq!(shifts([196_u8; 20].into_iter()).len(), 1);
    }

    #[test]
    fn the_training_images_themselves_and_few_images_are_no_shift() {
        assert_eq!(shifts((0..100).map(|k| 100 + k)), []);
        assert_eq!(shifts([102_u8; 3].into_iter()), []);
        assert_eq!(shifts([].into_iter()), []);
        // Eleven of 25 images beyond the limit are rare enough, but they are not most of them.
        assert_eq!(shifts((0..25).map(|k| if k < 11 { 102 } else { 150 })), []);
    }

    #[test]
    fn the_tail_is_that_of_draws_without_replacement() {
        // The new image is the least of ten with a probability of 1/10.
        assert!((tail(1, 1, 9) - 0.1).abs() < 1e-12);
        // Both of two are below the least of nine: 2! 9! / 11!.
        assert!((tail(2, 2, 9) - 1.0 / 55.0).abs() < 1e-12);
        // Below the second of 20, two of two: (2 * 3) / (21 * 22).
        assert!((tail(2, 2, 20) - 6.0 / 462.0).abs() < 1e-12);
        for (m, n) in [(7, 1), (40, 320), (100_000, 5000)] {
            assert!((tail(0, m, n) - 1.0).abs() < 1e-6, "{m} {n}: {}", tail(0, m, n));
        }
    }
}
