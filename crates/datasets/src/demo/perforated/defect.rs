//! The defects of a perforated sheet, as changes of a [`Sheet`].

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::{BEVEL, Index, RADIUS, SHADOW, Sheet};
use crate::demo::metal::{Edge, Scratch, line};
use crate::demo::noise::{noise2, smoothstep};
use crate::demo::shapes::{Blot, Circle, dot, nearest, unit};

/// Draws a defect at or near a point of a sheet; its size and contrast go from subtle to clear.
type Draw = fn(&Sheet, [f32; 2], &mut ChaCha8Rng) -> Defect;

/// Every type, sorted by name.
pub(super) const DEFECT_TYPES: [(&str, Draw); 6] = [
    ("blocked-hole", Defect::blocked_hole),
    ("burst-bridge", Defect::burst_bridge),
    ("deformed-hole", Defect::deformed_hole),
    ("displaced-hole", Defect::displaced_hole),
    ("scratch", Defect::scratch),
    ("stain", Defect::stain),
];

/// Colours of the contents of a blocked hole: the punched-out slug, dirt, paint.
const FILLS: [[f32; 3]; 3] = [[0.56, 0.57, 0.58], [0.48, 0.38, 0.28], [0.62, 0.60, 0.52]];
/// Factors of the channels under the strongest stains: oil, tempering colours, water.
const TINTS: [[f32; 3]; 4] = [[0.62, 0.58, 0.50], [0.92, 0.76, 0.50], [0.62, 0.70, 0.92], [0.68, 0.70, 0.70]];

/// One defect, in the sheet's coordinates.
pub(super) struct Defect {
    shape: Shape,
    pub(super) reach: Circle,
}

enum Shape {
    /// The part of the hole on the side of `side` from `from` on is filled.
    BlockedHole {
        at: [f32; 2],
        side: [f32; 2],
        from: f32,
        fill: [f32; 3],
        seed: u32,
    },
    BurstBridge {
        ends: [[f32; 2]; 2],
        half_width: f32,
        seed: u32,
    },
    /// A hole of another shape or at another place; `stretch` is along `axis` and across it.
    WrongHole {
        index: Index,
        at: [f32; 2],
        axis: [f32; 2],
        stretch: [f32; 2],
    },
    Scratch(Scratch),
    Stain(Blot),
}

impl Defect {
    /// Something sits in a hole and closes it, at least for the greater part.
    fn blocked_hole(sheet: &Sheet, at: [f32; 2], rng: &mut ChaCha8Rng) -> Self {
        let at = sheet.hole(sheet.nearest(at));
        let brightness = rng.random_range(0.85..1.15);
        let fill = FILLS[rng.random_range(0..FILLS.len())].map(|channel| channel * brightness);
        let from = rng.random_range(-1.6..-0.1_f32).max(-1.0) * RADIUS;
        let shape = Shape::BlockedHole { at, side: unit(rng), from, fill, seed: rng.random() };
        Self { shape, reach: Circle { centre: at, radius: 1.1 * RADIUS } }
    }

    /// The metal between two neighbouring holes is gone.
    fn burst_bridge(sheet: &Sheet, at: [f32; 2], rng: &mut ChaCha8Rng) -> Self {
        let index = sheet.nearest(at);
        let stagger = index[1].rem_euclid(2);
        let neighbours = [
            [index[0] + 1, index[1]],
            [index[0] + stagger, index[1] + 1],
            [index[0] + stagger - 1, index[1] + 1],
        ];
        let other = neighbours[rng.random_range(0..neighbours.len())];
        let ends = [sheet.hole(index), sheet.hole(other)];
        let centre = [0.5 * (ends[0][0] + ends[1][0]), 0.5 * (ends[0][1] + ends[1][1])];
        let half_width = rng.random_range(0.10..0.24);
        let reach = Circle { centre, radius: 0.5 + 1.3 * half_width + BEVEL + SHADOW };
        Self { shape: Shape::BurstBridge { ends, half_width, seed: rng.random() }, reach }
    }

    /// A hole is oval.
    fn deformed_hole(sheet: &Sheet, at: [f32; 2], rng: &mut ChaCha8Rng) -> Self {
        let index = sheet.nearest(at);
        let longer = rng.random_range(1.16..1.34);
        let stretch = [longer, 1.0 / longer];
        Self::wrong_hole(index, sheet.hole(index), unit(rng), stretch)
    }

    /// A hole is not where it should be.
    fn displaced_hole(sheet: &Sheet, at: [f32; 2], rng: &mut ChaCha8Rng) -> Self {
        let index = sheet.nearest(at);
        let (middle, axis) = (sheet.hole(index), unit(rng));
        let shift = rng.random_range(0.10..0.24);
        let at = [middle[0] + shift * axis[0], middle[1] + shift * axis[1]];
        Self::wrong_hole(index, at, axis, [1.0, 1.0])
    }

    fn wrong_hole(index: Index, at: [f32; 2], axis: [f32; 2], stretch: [f32; 2]) -> Self {
        let reach = Circle { centre: at, radius: 1.5 * RADIUS + 0.24 + BEVEL + SHADOW };
        Self { shape: Shape::WrongHole { index, at, axis, stretch }, reach }
    }

    /// A groove in the metal.
    fn scratch(sheet: &Sheet, at: [f32; 2], rng: &mut ChaCha8Rng) -> Self {
        let half_width = line(0.045..0.09, sheet.pixel, rng);
        let scratch = Scratch::draw(at, 0.25, 10..28, half_width, rng);
        let reach = scratch.reach(at);
        Self { shape: Shape::Scratch(scratch), reach }
    }

    /// A soft-edged discoloration.
    fn stain(_: &Sheet, at: [f32; 2], rng: &mut ChaCha8Rng) -> Self {
        let blot = Blot::draw(at, 0.9..2.4, &TINTS, 0.6..1.0, 0.9, rng);
        let reach = blot.reach();
        Self { shape: Shape::Stain(blot), reach }
    }

    /// True if hole `index` is elsewhere or of another shape.
    pub(super) fn moves(&self, index: Index) -> bool {
        matches!(self.shape, Shape::WrongHole { index: own, .. } if own == index)
    }

    /// The position of `p` relative to the edge of the opening that the defect makes, if there is
    /// one.
    pub(super) fn opening(&self, p: [f32; 2]) -> Option<Edge> {
        match &self.shape {
            Shape::BurstBridge { ends, half_width, seed } => {
                let ragged = 1.0 + 0.35 * noise2(*seed, 7.0 * p[0], 7.0 * p[1]);
                Some(Edge::of_hole(nearest(ends[0], ends[1], p), half_width * ragged, p))
            }
            Shape::WrongHole { at, axis, stretch, .. } => {
                let [x, y] = [p[0] - at[0], p[1] - at[1]];
                let along = dot(*axis, [x, y]) / stretch[0];
                let across = (axis[0] * y - axis[1] * x) / stretch[1];
                let distance = (along * along + across * across).sqrt();
                // To first order of the stretch, which is all that the rounded edge needs.
                Some(Edge { depth: RADIUS - distance, ..Edge::of_hole(*at, RADIUS, p) })
            }
            _ => None,
        }
    }

    /// The colour at `p`, a point in an opening, in front of the colour `behind`; `shadow` is the
    /// shadow of the sheet there.
    pub(super) fn fill(&self, p: [f32; 2], shadow: f32, behind: [f32; 3]) -> [f32; 3] {
        let Shape::BlockedHole { at, side, from, fill, seed } = &self.shape else { return behind };
        let rough = noise2(*seed, 8.0 * p[0], 8.0 * p[1]);
        let inside = dot(*side, [p[0] - at[0], p[1] - at[1]]) - from + 0.06 * rough;
        let amount = smoothstep(-0.03, 0.03, inside);
        let level = (1.0 + 0.16 * rough) * (1.0 - 0.35 * shadow);
        std::array::from_fn(|c| behind[c] + amount * (fill[c] * level - behind[c]))
    }

    /// `colour` as the defect leaves it at `p`, a point in the metal.
    pub(super) fn paint(&self, p: [f32; 2], colour: [f32; 3]) -> [f32; 3] {
        match &self.shape {
            Shape::Scratch(scratch) => scratch.paint(p, colour),
            Shape::Stain(blot) => blot.paint(p, colour),
            _ => colour,
        }
    }
}
