//! Sorting scores without comparing floats: a u32 key that orders as the score does, and a radix
//! sort of keys.

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

    proptest! {
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
