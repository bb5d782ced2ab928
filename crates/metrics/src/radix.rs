//! Sorting scores without comparing floats: a key that orders as the score does, u32 for f32 and
//! u64 for f64, and a radix sort of keys.

use std::fmt::Debug;

/// A score type that maps are given in: f32 or f64.
pub trait Score: sealed::Sealed {}

impl Score for f32 {}
impl Score for f64 {}

/// The conversions behind [`Score`], which no other crate implements.
pub(crate) mod sealed {
    /// A score and its key.
    pub trait Sealed: Copy + 'static {
        /// The key, see [`Key`](super::Key).
        type Key: super::Key;

        /// The key of a score that is not NaN.
        fn key(self) -> Self::Key;

        /// The score as f64, exact.
        fn as_f64(self) -> f64;
    }
}

impl sealed::Sealed for f32 {
    type Key = u32;

    fn key(self) -> u32 {
        key(self)
    }

    fn as_f64(self) -> f64 {
        f64::from(self)
    }
}

impl sealed::Sealed for f64 {
    type Key = u64;

    fn key(self) -> u64 {
        // As `key` of f32.
        let bits = (self + 0.0).to_bits();
        if bits >> 63 == 1 { !bits } else { bits | 1 << 63 }
    }

    fn as_f64(self) -> f64 {
        self
    }
}

/// The key of a score that is not NaN: keys order as the scores do and are equal where they are.
pub trait Key: Copy + Ord + Default + Debug + Into<u64> + Send + Sync + 'static {
    /// True for a key so short that a range of keys can be counted key by key.
    const IS_SHORT: bool;
    /// The key of negative infinity. The key of a NaN is below it or above [`Key::HIGHEST`].
    const LOWEST: Self;
    /// The key of infinity.
    const HIGHEST: Self;

    /// The key of this value. Bits above those of the type are lost.
    fn from_u64(value: u64) -> Self;

    /// The score whose key this is.
    fn score(self) -> f64;

    /// Sorts by the key, rising; stable.
    fn sort<T: Copy + Default>(values: &mut Vec<T>, key: impl Fn(&T) -> Self);
}

impl Key for u32 {
    const IS_SHORT: bool = true;
    const LOWEST: Self = 0x007f_ffff;
    const HIGHEST: Self = 0xff80_0000;

    fn from_u64(value: u64) -> Self {
        value as u32
    }

    fn score(self) -> f64 {
        f64::from(score(self))
    }

    fn sort<T: Copy + Default>(values: &mut Vec<T>, key: impl Fn(&T) -> Self) {
        sort_by_key(values, key);
    }
}

impl Key for u64 {
    const IS_SHORT: bool = false;
    const LOWEST: Self = 0x000f_ffff_ffff_ffff;
    const HIGHEST: Self = 0xfff0_0000_0000_0000;

    fn from_u64(value: u64) -> Self {
        value
    }

    fn score(self) -> f64 {
        f64::from_bits(if self >> 63 == 1 { self & !(1 << 63) } else { !self })
    }

    fn sort<T: Copy + Default>(values: &mut Vec<T>, key: impl Fn(&T) -> Self) {
        // The sort is stable: the second pass over the upper half keeps the order of the lower one.
        sort_by_key(values, |value| key(value) as u32);
        sort_by_key(values, |value| (key(value) >> 32) as u32);
    }
}

/// The key of a score that is not NaN: `key(a) < key(b)` exactly when `a < b`, and equal when the
/// scores are.
pub(crate) fn key(score: f32) -> u32 {
    // Adding +0.0 turns -0.0 into +0.0 and leaves every other value as it is.
    let bits = (score + 0.0).to_bits();
    // Among negative floats larger bits mean smaller values, so all bits flip; a positive one only
    // goes above.
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// The score whose [`key`] this is.
pub(crate) fn score(key: u32) -> f32 {
    f32::from_bits(if key >> 31 == 1 { key & !(1 << 31) } else { !key })
}

const DIGIT_BITS: u32 = 8;
const BUCKETS: usize = 1 << DIGIT_BITS;
const DIGITS: usize = (u32::BITS / DIGIT_BITS) as usize;

/// Sorts by `key`, rising; stable. Linear time, and a second buffer as large as `values` while it
/// runs.
pub(crate) fn sort_by_key<T: Copy + Default>(values: &mut Vec<T>, key: impl Fn(&T) -> u32) {
    let digit = |value: &T, place: usize| (key(value) >> (place as u32 * DIGIT_BITS)) as usize % BUCKETS;
    let mut counts = [[0_usize; BUCKETS]; DIGITS];
    for value in values.iter() {
        for (place, counts) in counts.iter_mut().enumerate() {
            counts[digit(value, place)] += 1;
        }
    }
    let mut buffer = vec![T::default(); values.len()];
    for (place, counts) in counts.iter_mut().enumerate() {
        // A digit that all keys share needs no pass: maps in a narrow range share the highest.
        if counts.contains(&values.len()) {
            continue;
        }
        let mut start = 0;
        for count in counts.iter_mut() {
            start += std::mem::replace(count, start);
        }
        for value in values.iter() {
            let next = &mut counts[digit(value, place)];
            buffer[*next] = *value;
            *next += 1;
        }
        std::mem::swap(values, &mut buffer);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn keys_order_as_scores_do() {
        let rising =
            [f32::NEG_INFINITY, f32::MIN, -1.5, -1e-45, 0.0, 1e-45, 0.5, 1.0, f32::MAX, f32::INFINITY];
        assert!(rising.windows(2).all(|pair| key(pair[0]) < key(pair[1])));
        assert_eq!(key(-0.0), key(0.0));
        assert!(rising.iter().all(|&value| score(key(value)).to_bits() == value.to_bits()));
    }

    #[test]
    fn the_keys_of_nan_lie_outside_of_the_infinities() {
        use sealed::Sealed;
        assert_eq!([f32::NEG_INFINITY, f32::INFINITY].map(Sealed::key), [u32::LOWEST, u32::HIGHEST]);
        assert_eq!([f64::NEG_INFINITY, f64::INFINITY].map(Sealed::key), [u64::LOWEST, u64::HIGHEST]);
        // From their bits: the sign of a NaN that is computed differs from machine to machine.
        let [above, below] = [0x7fc0_0000, 0xffc0_0000].map(f32::from_bits).map(Sealed::key);
        assert!(above > u32::HIGHEST && below < u32::LOWEST);
        let [above, below] = [0x7ff8 << 48, 0xfff8 << 48].map(f64::from_bits).map(Sealed::key);
        assert!(above > u64::HIGHEST && below < u64::LOWEST);
    }

    #[test]
    fn keys_of_f64_order_as_scores_do() {
        use sealed::Sealed;
        let rising = [f64::NEG_INFINITY, -1.0 - 1e-12, -1.0, -5e-324, 0.0, 5e-324, 1.0, 1.0 + 1e-12];
        assert!(rising.windows(2).all(|pair| pair[0].key() < pair[1].key()));
        assert_eq!((-0.0_f64).key(), 0.0_f64.key());
        assert!(rising.iter().all(|&value| value.key().score().to_bits() == value.to_bits()));
    }

    proptest! {
        #[test]
        fn the_sort_of_long_keys_is_the_stable_sort(
            keys in prop::collection::vec(prop_oneof![any::<u64>(), 0_u64..300, Just(1 << 40)], 0..400),
        ) {
            let mut fast: Vec<(u64, usize)> = keys.into_iter().zip(0..).collect();
            let mut slow = fast.clone();
            slow.sort_by_key(|pair| pair.0);
            Key::sort(&mut fast, |pair| pair.0);
            prop_assert_eq!(fast, slow);
        }

        #[test]
        fn the_sort_is_the_stable_sort(
            keys in prop::collection::vec(prop_oneof![any::<u32>(), 0_u32..300, Just(7)], 0..400),
        ) {
            let mut fast: Vec<(u32, usize)> = keys.into_iter().zip(0..).collect();
            let mut slow = fast.clone();
            slow.sort_by_key(|pair| pair.0);
            sort_by_key(&mut fast, |pair| pair.0);
            prop_assert_eq!(fast, slow);
        }
    }
}
