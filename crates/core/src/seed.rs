use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// The origin of all randomness of a run. Named streams are derived from it, so that no draw
/// depends on the order in which other parts drew, nor on the thread that draws.
///
/// ```
/// use fmam_core::Seed;
/// use rand::Rng;
///
/// let run = Seed::new(7);
/// let a: u64 = run.derive("synthesis").derive_index(3).rng().random();
/// let b: u64 = run.derive("synthesis").derive_index(3).rng().random();
/// assert_eq!(a, b);
/// assert_ne!(run.derive("synthesis"), run.derive("weights"));
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Seed(u64);

impl Seed {
    /// A seed from the number that the user gave.
    pub const fn new(value: u64) -> Self {
        Self(value)
    }

    /// The number itself.
    pub const fn value(self) -> u64 {
        self.0
    }

    /// The seed of the stream called `name`.
    #[must_use]
    pub fn derive(self, name: &str) -> Self {
        // FNV-1a over the name, then mixed with the parent: short, stable, and the same on every
        // platform.
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        for byte in name.bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Self(mix(self.0 ^ mix(hash)))
    }

    /// The seed of element `index` of this stream.
    #[must_use]
    pub fn derive_index(self, index: u64) -> Self {
        Self(mix(self.0.wrapping_add(mix(index.wrapping_add(0x5851_f42d_4c95_7f2d)))))
    }

    /// The generator of this stream.
    pub fn rng(self) -> ChaCha8Rng {
        ChaCha8Rng::seed_from_u64(self.0)
    }
}

/// The finaliser of SplitMix64 (Steele, Lea and Flood 2014): a bijection that spreads every input
/// bit.
fn mix(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

#[cfg(test)]
mod tests {
    use rand::Rng;

    use super::*;

    #[test]
    fn streams_differ_by_name_index_and_parent() {
        let root = Seed::new(0);
        let mut seen = std::collections::HashSet::new();
        for name in ["a", "b", "weights", "synthesis"] {
            assert!(seen.insert(root.derive(name)));
            assert!(seen.insert(Seed::new(1).derive(name)));
            for index in 0..100 {
                assert!(seen.insert(root.derive(name).derive_index(index)));
            }
        }
    }

    #[test]
    fn the_same_seed_draws_the_same_numbers() {
        let draw = || -> Vec<u32> {
            let mut rng = Seed::new(42).derive("x").rng();
            (0..4).map(|_| rng.random()).collect()
        };
        assert_eq!(draw(), draw());
    }
}
