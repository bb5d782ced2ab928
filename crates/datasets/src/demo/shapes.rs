//! Points, lines and blots that several categories draw with; no trigonometry, see the noise
//! module.

use std::ops::Range;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::noise::{noise2, smoothstep};

pub(super) fn distance_squared(a: [f32; 2], b: [f32; 2]) -> f32 {
    let (du, dv) = (b[0] - a[0], b[1] - a[1]);
    du * du + dv * dv
}

pub(super) fn dot(a: [f32; 2], b: [f32; 2]) -> f32 {
    a[0] * b[0] + a[1] * b[1]
}

/// `p` divided by its length, and the length.
pub(super) fn direction(p: [f32; 2]) -> ([f32; 2], f32) {
    let length = dot(p, p).sqrt().max(1e-6);
    (p.map(|x| x / length), length)
}

/// Cosine and sine of the rotation whose half angle has the tangent `half`.
pub(super) fn turn(half: f32) -> [f32; 2] {
    [(1.0 - half * half) / (1.0 + half * half), 2.0 * half / (1.0 + half * half)]
}

/// `p` turned by the angle of that cosine and sine.
pub(super) fn turned([cos, sin]: [f32; 2], p: [f32; 2]) -> [f32; 2] {
    [cos * p[0] - sin * p[1], sin * p[0] + cos * p[1]]
}

/// A direction. Points of the square are drawn until one lies in the ring.
pub(super) fn unit(rng: &mut ChaCha8Rng) -> [f32; 2] {
    loop {
        let (u, v) = (rng.random_range(-1.0_f32..1.0), rng.random_range(-1.0_f32..1.0));
        let squared = u * u + v * v;
        if (0.1..1.0).contains(&squared) {
            let length = squared.sqrt();
            return [u / length, v / length];
        }
    }
}

/// Outside of it a defect changes nothing.
pub(super) struct Circle {
    pub(super) centre: [f32; 2],
    pub(super) radius: f32,
}

impl Circle {
    pub(super) fn holds(&self, p: [f32; 2]) -> bool {
        distance_squared(self.centre, p) < self.radius * self.radius
    }

    /// Around `points`, with room for half the width of a line.
    pub(super) fn around(centre: [f32; 2], points: &[[f32; 2]], room: f32) -> Self {
        let farthest = points.iter().map(|p| distance_squared(centre, *p)).fold(0.0, f32::max).sqrt();
        Self { centre, radius: farthest + room }
    }
}

/// A line of points `step` apart, `n` of them and one, that wanders around `at`; the larger `bend`,
/// up to 0.2, the more.
pub(super) fn curve(
    at: [f32; 2],
    step: f32,
    n: Range<i32>,
    bend: f32,
    rng: &mut ChaCha8Rng,
) -> Vec<[f32; 2]> {
    let n = rng.random_range(n);
    let change = 0.5 * bend;
    let mut heading = unit(rng);
    let mut bend = rng.random_range(-bend..bend);
    let mut points = vec![[0.0_f32, 0.0]];
    for _ in 0..n {
        bend = (bend + rng.random_range(-change..change)).clamp(-0.2, 0.2);
        heading = turned(turn(bend), heading);
        let last = points[points.len() - 1];
        points.push([last[0] + step * heading[0], last[1] + step * heading[1]]);
    }
    let middle = points[points.len() / 2];
    points.iter().map(|p| [p[0] - middle[0] + at[0], p[1] - middle[1] + at[1]]).collect()
}

/// The point of the line from `a` to `b` that is nearest to `p`.
pub(super) fn nearest(a: [f32; 2], b: [f32; 2], p: [f32; 2]) -> [f32; 2] {
    let (du, dv) = (b[0] - a[0], b[1] - a[1]);
    let t = ((p[0] - a[0]) * du + (p[1] - a[1]) * dv) / (du * du + dv * dv);
    let t = t.clamp(0.0, 1.0);
    [a[0] + t * du, a[1] + t * dv]
}

/// Distance of `p` from the line through `points` as a fraction of `half_width`, where it is below
/// 1.
pub(super) fn across_curve(points: &[[f32; 2]], p: [f32; 2], half_width: f32) -> Option<f32> {
    let nearest = points
        .windows(2)
        .map(|ends| distance_squared(p, nearest(ends[0], ends[1], p)))
        .fold(f32::INFINITY, f32::min);
    (nearest < half_width * half_width).then(|| nearest.sqrt() / half_width)
}

/// A soft-edged discoloration.
pub(super) struct Blot {
    pub(super) at: [f32; 2],
    pub(super) radius: [f32; 2],
    /// The factor of each channel under the stain.
    tint: [f32; 3],
    seed: u32,
    /// Bumps of its outline per unit.
    frequency: f32,
}

impl Blot {
    /// One of `tints`, of which `strength`, a fraction, is left.
    pub(super) fn draw(
        at: [f32; 2],
        radius: Range<f32>,
        tints: &[[f32; 3]],
        strength: Range<f32>,
        frequency: f32,
        rng: &mut ChaCha8Rng,
    ) -> Self {
        let tint = tints[rng.random_range(0..tints.len())];
        let strength = rng.random_range(strength);
        let radius = [rng.random_range(radius.clone()), rng.random_range(radius)];
        let tint = tint.map(|channel| 1.0 - strength * (1.0 - channel));
        Self { at, radius, tint, seed: rng.random(), frequency }
    }

    pub(super) fn reach(&self) -> Circle {
        Circle { centre: self.at, radius: 1.3 * self.radius[0].max(self.radius[1]) }
    }

    /// `colour` as the blot leaves it at (u, v).
    pub(super) fn paint(&self, [u, v]: [f32; 2], colour: [f32; 3]) -> [f32; 3] {
        let (du, dv) = ((u - self.at[0]) / self.radius[0], (v - self.at[1]) / self.radius[1]);
        let ragged = noise2(self.seed, u * self.frequency, v * self.frequency);
        let distance = (du * du + dv * dv).sqrt() + 0.22 * ragged;
        let amount = 1.0 - smoothstep(0.65, 1.05, distance);
        std::array::from_fn(|c| colour[c] * (1.0 - amount * (1.0 - self.tint[c])))
    }
}
