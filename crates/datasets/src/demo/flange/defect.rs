//! The defects of a machined part, as changes of a [`Flange`].

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::{BEVEL, BOLT_HOLE, BORE, Flange, SHADOW};
use crate::demo::metal::{Edge, Scratch, line};
use crate::demo::noise::{bump, noise2};
use crate::demo::shapes::{Blot, Circle, across_curve, direction, distance_squared, turn, turned, unit};

/// Draws a defect of a disc; its size and contrast go from subtle to clear.
type Draw = fn(&Flange, &mut ChaCha8Rng) -> Defect;

/// Every type, sorted by name.
pub(super) const DEFECT_TYPES: [(&str, Draw); 6] = [
    ("chipped-edge", Defect::chipped_edge),
    ("contamination", Defect::contamination),
    ("crack", Defect::crack),
    ("dent", Defect::dent),
    ("missing-hole", Defect::missing_hole),
    ("scratch", Defect::scratch),
];

/// Factors of the channels under the strongest contaminations: oil, rust, marking ink.
const TINTS: [[f32; 3]; 3] = [[0.42, 0.38, 0.30], [0.66, 0.42, 0.28], [0.42, 0.52, 0.74]];

/// One defect, in the disc's coordinates.
pub(super) struct Defect {
    shape: Shape,
    pub(super) reach: Circle,
}

enum Shape {
    ChippedEdge { at: [f32; 2], radius: f32, seed: u32 },
    Contamination(Blot),
    Crack { points: Vec<[f32; 2]>, half_width: f32 },
    Dent { at: [f32; 2], radius: f32, slope: f32 },
    MissingHole { index: usize },
    Scratch(Scratch),
}

impl Defect {
    /// A piece has broken out of the rim or of the bore's edge.
    fn chipped_edge(_: &Flange, rng: &mut ChaCha8Rng) -> Self {
        let radius = rng.random_range(0.06..0.15);
        let inwards = 0.25 * radius;
        let from_middle = if rng.random_bool(0.7) { 1.0 + inwards } else { BORE - inwards };
        let at = unit(rng).map(|x| x * from_middle);
        let reach = Circle { centre: at, radius: 1.3 * radius + BEVEL + SHADOW };
        Self { shape: Shape::ChippedEdge { at, radius, seed: rng.random() }, reach }
    }

    /// A spot of oil, rust or ink.
    fn contamination(flange: &Flange, rng: &mut ChaCha8Rng) -> Self {
        let at = flange.metal_point(0.03, rng);
        let blot = Blot::draw(at, 0.06..0.15, &TINTS, 0.4..1.0, 14.0, rng);
        let reach = blot.reach();
        Self { shape: Shape::Contamination(blot), reach }
    }

    /// A jagged dark line that starts at a bolt hole.
    fn crack(flange: &Flange, rng: &mut ChaCha8Rng) -> Self {
        let hole = flange.holes[rng.random_range(0..flange.holes.len())];
        let mut heading = unit(rng);
        let mut points = vec![[hole[0] + BOLT_HOLE * heading[0], hole[1] + BOLT_HOLE * heading[1]]];
        for k in 0..rng.random_range(5..12) {
            // To one side and the other in turn, so that it goes on in one direction.
            let side = if k % 2 == 0 { 1.0 } else { -1.0 };
            heading = turned(turn(side * rng.random_range(0.0..0.35)), heading);
            let last = points[points.len() - 1];
            points.push([last[0] + 0.03 * heading[0], last[1] + 0.03 * heading[1]]);
        }
        let half_width = line(0.010..0.016, flange.pixel, rng);
        let reach = Circle::around(points[0], &points, half_width);
        Self { shape: Shape::Crack { points, half_width }, reach }
    }

    /// A shallow hollow from a blow.
    fn dent(flange: &Flange, rng: &mut ChaCha8Rng) -> Self {
        let at = flange.metal_point(0.06, rng);
        let radius = rng.random_range(0.10..0.17);
        let shape = Shape::Dent { at, radius, slope: rng.random_range(0.4..0.8) };
        Self { shape, reach: Circle { centre: at, radius } }
    }

    /// A bolt hole has not been drilled.
    fn missing_hole(flange: &Flange, rng: &mut ChaCha8Rng) -> Self {
        let index = rng.random_range(0..flange.holes.len());
        let reach = Circle { centre: flange.holes[index], radius: BOLT_HOLE + BEVEL + SHADOW };
        Self { shape: Shape::MissingHole { index }, reach }
    }

    /// A groove across the machining marks.
    fn scratch(flange: &Flange, rng: &mut ChaCha8Rng) -> Self {
        let at = flange.metal_point(0.08, rng);
        let half_width = line(0.007..0.014, flange.pixel, rng);
        let scratch = Scratch::draw(at, 0.03, 12..28, half_width, rng);
        let reach = scratch.reach(at);
        Self { shape: Shape::Scratch(scratch), reach }
    }

    /// True if bolt hole `k` is missing.
    pub(super) fn omits(&self, k: usize) -> bool {
        matches!(self.shape, Shape::MissingHole { index } if index == k)
    }

    /// The position of `p` relative to the edge of the chip, if there is a chip.
    pub(super) fn chip(&self, p: [f32; 2]) -> Option<Edge> {
        let Shape::ChippedEdge { at, radius, seed } = &self.shape else { return None };
        let ragged = 1.0 + 0.3 * noise2(*seed, 18.0 * p[0], 18.0 * p[1]);
        Some(Edge::of_hole(*at, radius * ragged, p))
    }

    /// The slope that the defect gives the metal at `p`.
    pub(super) fn lean(&self, p: [f32; 2]) -> [f32; 2] {
        let Shape::Dent { at, radius, slope } = &self.shape else { return [0.0, 0.0] };
        let (outwards, distance) = direction([p[0] - at[0], p[1] - at[1]]);
        let t = distance / radius;
        // The slope of (1 - t²)², at most one.
        let fall = 2.6 * t * (1.0 - t * t).max(0.0);
        outwards.map(|x| -slope * fall * x)
    }

    /// `colour` as the defect leaves it at `p`, a point in the metal.
    pub(super) fn paint(&self, p: [f32; 2], colour: [f32; 3]) -> [f32; 3] {
        match &self.shape {
            Shape::Contamination(blot) => blot.paint(p, colour),
            Shape::Crack { points, half_width } => {
                // It closes towards its end.
                let (start, end) = (points[0], points[points.len() - 1]);
                let left = (distance_squared(end, p) / distance_squared(end, start)).sqrt();
                match across_curve(points, p, half_width * left.clamp(0.5, 1.0)) {
                    Some(across) => colour.map(|channel| channel * (0.2 + 0.4 * across * across)),
                    None => colour,
                }
            }
            Shape::Dent { at, radius, slope } => {
                // The blow has dulled the marks.
                let dull = 0.3 * slope * bump(distance_squared(*at, p) / (radius * radius));
                colour.map(|channel| channel * (1.0 - dull))
            }
            Shape::Scratch(scratch) => scratch.paint(p, colour),
            _ => colour,
        }
    }
}
