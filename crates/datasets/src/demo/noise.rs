//! Hash-based value noise and polynomial shapes. Only addition, multiplication, division and square
//! roots are used, all exact in IEEE 754, so the same seed gives the same bytes on every platform.

/// 0 up to `from`, 1 from `to` on, a smooth cubic between.
pub(super) fn smoothstep(from: f32, to: f32, x: f32) -> f32 {
    let t = ((x - from) / (to - from)).clamp(0.0, 1.0);
    t * t * (3.0 - 2.0 * t)
}

/// A smooth bump: 1 at `distance_squared` 0, 0 from 1 on.
pub(super) fn bump(distance_squared: f32) -> f32 {
    let rest = (1.0 - distance_squared).max(0.0);
    rest * rest
}

/// A number that is a function of the arguments only, uniform in -1..1.
pub(super) fn hash(seed: u32, x: i32, y: i32) -> f32 {
    // The finaliser of MurmurHash3 (Appleby 2008) over the mixed arguments.
    let mut h =
        seed ^ (x as u32).wrapping_mul(0x9e37_79b1) ^ (y as u32).wrapping_mul(0x85eb_ca77).rotate_left(13);
    h = (h ^ (h >> 16)).wrapping_mul(0x85eb_ca6b);
    h = (h ^ (h >> 13)).wrapping_mul(0xc2b2_ae35);
    h ^= h >> 16;
    (h >> 8) as f32 / (1 << 23) as f32 - 1.0
}

/// Value noise along a line, in -1..1, with features one unit long.
pub(super) fn noise1(seed: u32, x: f32) -> f32 {
    let cell = x.floor();
    let t = smoothstep(0.0, 1.0, x - cell);
    let (a, b) = (hash(seed, cell as i32, 0), hash(seed, cell as i32 + 1, 0));
    a + (b - a) * t
}

/// Value noise in the plane, in -1..1, with features one unit wide.
pub(super) fn noise2(seed: u32, x: f32, y: f32) -> f32 {
    let (cell_x, cell_y) = (x.floor(), y.floor());
    let (tx, ty) = (smoothstep(0.0, 1.0, x - cell_x), smoothstep(0.0, 1.0, y - cell_y));
    let (ix, iy) = (cell_x as i32, cell_y as i32);
    let row = |iy| {
        let (a, b) = (hash(seed, ix, iy), hash(seed, ix + 1, iy));
        a + (b - a) * tx
    };
    let (a, b) = (row(iy), row(iy + 1));
    a + (b - a) * ty
}

/// Four hashes' mean, scaled to variance one: close enough to a Gaussian for sensor noise.
pub(super) fn gaussian(seed: u32, x: i32, y: i32) -> f32 {
    let sum: f32 = (0..4_u32).map(|k| hash(seed ^ k.wrapping_mul(0x68bc_21eb), x, y)).sum();
    // A uniform number in -1..1 has variance 1/3.
    sum * (3.0_f32 / 4.0).sqrt()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_is_uniform_and_the_noise_gaussian_enough() {
        let n = 40_000;
        let moments = |f: fn(u32, i32, i32) -> f32| {
            let values: Vec<f64> = (0..n).map(|k| f64::from(f(7, k % 200, k / 200))).collect();
            let mean = values.iter().sum::<f64>() / f64::from(n);
            (mean, values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / f64::from(n))
        };
        let (mean, variance) = moments(hash);
        assert!(mean.abs() < 0.01 && (variance - 1.0 / 3.0).abs() < 0.01, "{mean} {variance}");
        let (mean, variance) = moments(gaussian);
        assert!(mean.abs() < 0.02 && (variance - 1.0).abs() < 0.03, "{mean} {variance}");
    }

    #[test]
    fn noise_is_continuous_and_meets_the_hash_at_the_lattice() {
        assert_eq!(noise2(3, 4.0, -2.0), hash(3, 4, -2));
        for step in 0..1000 {
            let x = step as f32 * 0.01 - 5.0;
            assert!((noise2(1, x + 0.01, 2.3) - noise2(1, x, 2.3)).abs() < 0.04);
            assert!((noise1(1, x + 0.01) - noise1(1, x)).abs() < 0.04);
        }
    }
}
