//! The shared parts of the metal categories: edges, the light on them, and scratches.

use std::ops::Range;

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::shapes::{Circle, across_curve, curve, direction};

/// Direction to the light, of length one: from the upper left.
pub(super) const LIGHT: [f32; 3] = [-0.48, -0.60, 0.64];

/// Light that metal gets which falls by `lean` along each axis.
pub(super) fn diffuse(lean: [f32; 2], light: [f32; 3]) -> f32 {
    let length = (lean[0] * lean[0] + lean[1] * lean[1] + 1.0).sqrt();
    ((lean[0] * light[0] + lean[1] * light[1] + light[2]) / length).max(0.0)
}

/// The point of the metal whose shadow falls on `p` where shadows are `length` long.
pub(super) fn caster(p: [f32; 2], length: f32, light: [f32; 3]) -> [f32; 2] {
    let (to_light, _) = direction([light[0], light[1]]);
    [p[0] + length * to_light[0], p[1] + length * to_light[1]]
}

/// A point's place beside the nearest opening.
#[derive(Clone, Copy)]
pub(super) struct Edge {
    /// Distance from the edge into the opening; negative in the metal.
    pub(super) depth: f32,
    /// Direction to the opening's middle.
    pub(super) towards: [f32; 2],
}

impl Edge {
    /// Beside a round opening.
    pub(super) fn of_hole(centre: [f32; 2], radius: f32, p: [f32; 2]) -> Self {
        let (towards, distance) = direction([centre[0] - p[0], centre[1] - p[1]]);
        Self { depth: radius - distance, towards }
    }

    /// The nearer one.
    pub(super) fn or(self, other: Self) -> Self {
        if other.depth > self.depth { other } else { self }
    }

    /// The slope of the metal into the opening, at an edge that is rounded over a breadth of
    /// `width`.
    pub(super) fn lean(&self, width: f32) -> [f32; 2] {
        let amount = (1.0 + self.depth / width).max(0.0);
        self.towards.map(|t| 1.1 * amount * t)
    }
}

/// Half the width of a line, never so thin that it would not show where a pixel is `pixel` wide.
pub(super) fn line(half_width: Range<f32>, pixel: f32, rng: &mut ChaCha8Rng) -> f32 {
    rng.random_range(half_width).max(0.7 * pixel)
}

/// A groove of bright torn metal, shadowed on the side to the light.
pub(super) struct Scratch {
    points: Vec<[f32; 2]>,
    half_width: f32,
    gain: f32,
}

impl Scratch {
    /// Around `at`, of `n` steps of length `step`; `half_width` comes from [`line()`].
    pub(super) fn draw(
        at: [f32; 2],
        step: f32,
        n: Range<i32>,
        half_width: f32,
        rng: &mut ChaCha8Rng,
    ) -> Self {
        Self { points: curve(at, step, n, 0.03, rng), half_width, gain: rng.random_range(0.4..0.7) }
    }

    pub(super) fn reach(&self, centre: [f32; 2]) -> Circle {
        Circle::around(centre, &self.points, 4.0 * self.half_width)
    }

    /// `colour` as the scratch leaves it at `p`.
    pub(super) fn paint(&self, p: [f32; 2], colour: [f32; 3]) -> [f32; 3] {
        let line =
            |p| across_curve(&self.points, p, self.half_width).map_or(0.0, |across| 1.0 - across * across);
        let shift = 1.6 * self.half_width;
        let torn = line(p);
        let shadow = line([p[0] - shift * LIGHT[0], p[1] - shift * LIGHT[1]]) * (1.0 - torn);
        colour.map(|channel| channel * (1.0 + self.gain * (torn - 0.5 * shadow)))
    }
}
