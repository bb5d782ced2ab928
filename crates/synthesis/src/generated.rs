//! Procedural textures, for use without a texture data set.

use std::f32::consts::TAU;

use noise::{NoiseFn, Perlin};
use rand::Rng;

/// A pattern with values in 0..=1, coloured by a ramp of three colours and roughened by grain. Its
/// coordinates are turned by a random angle and bent by low-frequency noise, so that straight
/// patterns look woven or grown.
pub(crate) struct GeneratedTexture {
    family: Family,
    noise: Perlin,
    key: u32,
    /// Pattern cells per pixel along its two axes.
    frequency: [f32; 2],
    sin: f32,
    cos: f32,
    /// Amplitude of the bending, in pattern cells.
    warp: f32,
    /// Exponent of the contrast curve; above 1 the pattern has hard edges.
    contrast: f32,
    ramp: [[f32; 3]; 3],
    /// Amplitude of the pixel grain, of 255.
    grain: f32,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Family {
    /// Parallel waves.
    Stripes,
    /// A chequered board.
    Checks,
    /// Stripes over and under each other.
    Weave,
    /// Discs at jittered places.
    Dots,
    /// Worley noise: cells with walls.
    Cells,
    /// Waves bent by turbulence.
    Marble,
    /// Turbulence: Perlin octaves in absolute value.
    Turbulence,
    /// Large soft patches: Perlin octaves.
    Blotches,
    /// White noise in small squares.
    Squares,
}

const FAMILIES: [Family; 9] = [
    Family::Stripes,
    Family::Checks,
    Family::Weave,
    Family::Dots,
    Family::Cells,
    Family::Marble,
    Family::Turbulence,
    Family::Blotches,
    Family::Squares,
];

impl GeneratedTexture {
    pub(crate) fn draw(rng: &mut impl Rng) -> Self {
        let family = FAMILIES[rng.random_range(0..FAMILIES.len())];
        let (finest, coarsest): (f32, f32) = match family {
            Family::Squares => (1.5, 6.0),
            Family::Turbulence | Family::Blotches | Family::Marble => (12.0, 64.0),
            _ => (5.0, 40.0),
        };
        let period = rng.random_range(finest.ln()..coarsest.ln()).exp();
        let stretch = rng.random_range(-0.7_f32..0.7).exp();
        let (sin, cos) = rng.random_range(0.0..TAU).sin_cos();
        Self {
            family,
            noise: Perlin::new(rng.random()),
            key: rng.random(),
            frequency: [stretch / period, 1.0 / (stretch * period)],
            sin,
            cos,
            warp: rng.random_range(0.0_f32..1.0).powi(2),
            contrast: rng.random_range(-0.5_f32..2.0).exp(),
            ramp: [0; 3].map(|_| [0; 3].map(|_| rng.random_range(0.0..=255.0))),
            grain: rng.random_range(0.0_f32..1.0).powi(2) * 40.0,
        }
    }

    /// The colour at row `y`, column `x`; channels in 0..=255.
    pub(crate) fn at(&self, y: usize, x: usize) -> [f32; 3] {
        let (py, px) = (y as f32, x as f32);
        let mut u = (self.cos * px - self.sin * py) * self.frequency[0];
        let mut v = (self.sin * px + self.cos * py) * self.frequency[1];
        if self.warp > 0.05 {
            let (bent_u, bent_v) =
                (self.perlin(u * 0.4 + 37.3, v * 0.4), self.perlin(u * 0.4, v * 0.4 + 91.7));
            u += self.warp * bent_u;
            v += self.warp * bent_v;
        }
        let value = contrasted(self.pattern(u, v), self.contrast);
        let grain = self.grain * (2.0 * hash(self.key ^ 0x5bd1, y as i32, x as i32) - 1.0);
        let [low, middle, high] = &self.ramp;
        let (from, to, t) =
            if value < 0.5 { (low, middle, 2.0 * value) } else { (middle, high, 2.0 * value - 1.0) };
        [0, 1, 2].map(|c| (from[c] + t * (to[c] - from[c]) + grain).clamp(0.0, 255.0))
    }

    fn pattern(&self, u: f32, v: f32) -> f32 {
        let wave = |t: f32| 0.5 + 0.5 * (TAU * t).sin();
        match self.family {
            Family::Stripes => wave(u),
            Family::Checks => 0.5 + 0.5 * (TAU * u).sin() * (TAU * v).sin(),
            Family::Weave => {
                let over = (u.floor() as i64 + v.floor() as i64).rem_euclid(2) == 0;
                let thread = |t: f32| (0.5 * TAU * (t - t.floor())).sin();
                if over { 0.4 + 0.6 * thread(u) } else { 0.4 * thread(v) }
            }
            Family::Dots => 1.0 - (1.6 * self.nearest(u, v).0).min(1.0),
            Family::Cells => {
                let (first, second) = self.nearest(u, v);
                (second - first).min(1.0)
            }
            Family::Marble => wave(u + 1.5 * self.octaves(u, v, f32::abs)),
            Family::Turbulence => (1.4 * self.octaves(u, v, f32::abs)).min(1.0),
            Family::Blotches => (0.5 + 0.7 * self.octaves(u, v, |n| n)).clamp(0.0, 1.0),
            Family::Squares => hash(self.key, v.floor() as i32, u.floor() as i32),
        }
    }

    /// Distances to the nearest and the second nearest of the points that lie at random, one in
    /// each cell (Worley 1996); in cells.
    fn nearest(&self, u: f32, v: f32) -> (f32, f32) {
        let (cell_u, cell_v) = (u.floor() as i32, v.floor() as i32);
        let (mut first, mut second) = (f32::MAX, f32::MAX);
        for row in cell_v - 1..=cell_v + 1 {
            for column in cell_u - 1..=cell_u + 1 {
                let point_u = column as f32 + hash(self.key, row, column);
                let point_v = row as f32 + hash(!self.key, row, column);
                let distance = (point_u - u).hypot(point_v - v);
                if distance < first {
                    (first, second) = (distance, first);
                } else {
                    second = second.min(distance);
                }
            }
        }
        (first, second)
    }

    /// Four octaves of Perlin noise, each half as strong as the one before; `fold` is applied to
    /// each.
    fn octaves(&self, u: f32, v: f32, fold: impl Fn(f32) -> f32) -> f32 {
        let octave = |k: i32| {
            let scale = 2.0_f32.powi(k);
            fold(self.perlin(u * scale, v * scale)) / scale
        };
        (0..4).map(octave).sum()
    }

    fn perlin(&self, u: f32, v: f32) -> f32 {
        // The offset keeps the lattice point at the origin, where the noise is always 0, out of the
        // corner.
        self.noise.get([f64::from(u) + 11.31, f64::from(v) + 5.77]) as f32
    }
}

/// Pushes values of 0..=1 away from the middle for a strength above 1, towards it below.
fn contrasted(value: f32, strength: f32) -> f32 {
    (0.5 + strength * (value - 0.5)).clamp(0.0, 1.0)
}

/// A number in 0..1 that depends on its arguments alone (the finaliser of MurmurHash3).
fn hash(key: u32, y: i32, x: i32) -> f32 {
    let mut h = key ^ (y as u32).wrapping_mul(0x9e37_79b1) ^ (x as u32).wrapping_mul(0x85eb_ca77);
    h = (h ^ (h >> 16)).wrapping_mul(0x85eb_ca6b);
    h = (h ^ (h >> 13)).wrapping_mul(0xc2b2_ae35);
    ((h ^ (h >> 16)) >> 8) as f32 / (1 << 24) as f32
}

#[cfg(test)]
mod tests {
    use fmam_core::Seed;

    use super::*;

    #[test]
    fn every_family_varies_and_stays_in_range() {
        for family in FAMILIES {
            for seed in 0..20 {
                let texture =
                    GeneratedTexture { family, ..GeneratedTexture::draw(&mut Seed::new(seed).rng()) };
                let colours: Vec<[f32; 3]> = (0..4096).map(|i| texture.at(i / 64, i % 64)).collect();
                assert!(colours.iter().flatten().all(|v| (0.0..=255.0).contains(v)), "{family:?}");
                let distinct: std::collections::HashSet<[u8; 3]> =
                    colours.iter().map(|c| c.map(|v| v as u8)).collect();
                assert!(distinct.len() > 8, "{family:?}, seed {seed}: {} colours", distinct.len());
            }
        }
    }

    #[test]
    fn the_hash_is_about_uniform() {
        let values: Vec<f32> = (0..10_000).map(|i| hash(7, i / 100, i % 100)).collect();
        let mean = values.iter().sum::<f32>() / 1e4;
        assert!((mean - 0.5).abs() < 0.02, "{mean}");
        for decile in 0..10 {
            let n = values.iter().filter(|&&v| (v * 10.0) as i32 == decile).count();
            assert!((850..1150).contains(&n), "decile {decile}: {n}");
        }
    }
}
