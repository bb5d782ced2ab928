//! The defects of weaving, as changes of a [`Cloth`](super::Cloth).

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use crate::demo::noise::{bump, hash, noise2};
use crate::demo::shapes::{Blot, Circle, across_curve, curve, distance_squared, unit};

/// Draws a defect around a point; its size and contrast go from subtle to clear.
type Draw = fn([f32; 2], &mut ChaCha8Rng) -> Defect;

/// Every type, sorted by name.
pub(super) const DEFECT_TYPES: [(&str, Draw); 6] = [
    ("distortion", Defect::distortion),
    ("foreign-fibre", Defect::foreign_fibre),
    ("hole", Defect::hole),
    ("missing-thread", Defect::missing_thread),
    ("misweave", Defect::misweave),
    ("stain", Defect::stain),
];

/// One defect at one place, in cloth coordinates (threads).
pub(super) struct Defect {
    shape: Shape,
    pub(super) reach: Circle,
}

/// Colours of foreign fibres.
const FIBRES: [[f32; 3]; 4] =
    [[0.97, 0.96, 0.92], [0.22, 0.20, 0.20], [0.66, 0.24, 0.22], [0.90, 0.78, 0.42]];
/// Factors of the channels under the strongest stains: rust, grease, dye.
const TINTS: [[f32; 3]; 3] = [[0.78, 0.66, 0.46], [0.62, 0.61, 0.60], [0.80, 0.62, 0.60]];

enum Shape {
    Distortion { at: [f32; 2], radius: f32, shift: [f32; 2] },
    ForeignFibre { points: Vec<[f32; 2]>, half_width: f32, colour: [f32; 3] },
    Hole { at: [f32; 2], radius: f32, seed: u32 },
    MissingThread { warp: bool, index: i32, from: f32, to: f32 },
    Misweave { first: [i32; 2], last: [i32; 2], warp_on_top: bool },
    Stain(Blot),
}

impl Defect {
    fn new(shape: Shape, centre: [f32; 2], reach: f32) -> Self {
        Self { shape, reach: Circle { centre, radius: reach } }
    }

    /// A part of the weave is shifted sideways, its threads crowded on one side.
    fn distortion(at: [f32; 2], rng: &mut ChaCha8Rng) -> Self {
        let direction = unit(rng);
        let amount = rng.random_range(0.9..1.7);
        let radius = rng.random_range(3.5..7.0);
        Self::new(Shape::Distortion { at, radius, shift: direction.map(|d| d * amount) }, at, radius)
    }

    /// A contrasting thread lies on the cloth.
    fn foreign_fibre(at: [f32; 2], rng: &mut ChaCha8Rng) -> Self {
        let colour = FIBRES[rng.random_range(0..FIBRES.len())];
        let points = curve(at, 0.5, 10..32, 0.12, rng);
        let reach = Circle::around(at, &points, 1.0);
        Self {
            shape: Shape::ForeignFibre { points, half_width: rng.random_range(0.22..0.42), colour },
            reach,
        }
    }

    /// Threads of both directions are gone.
    fn hole(at: [f32; 2], rng: &mut ChaCha8Rng) -> Self {
        let radius = rng.random_range(1.2..3.2);
        Self::new(Shape::Hole { at, radius, seed: rng.random() }, at, 1.3 * radius + 1.0)
    }

    /// One warp or weft thread is missing over a length.
    fn missing_thread(at: [f32; 2], rng: &mut ChaCha8Rng) -> Self {
        let warp = rng.random();
        let half_length = rng.random_range(4.0..14.0);
        let [across, along] = if warp { at } else { [at[1], at[0]] };
        let (index, from, to) = (across.floor() as i32, along - half_length, along + half_length);
        Self::new(Shape::MissingThread { warp, index, from, to }, at, half_length + 2.0)
    }

    /// Threads interlace in the wrong order within a patch.
    fn misweave(at: [f32; 2], rng: &mut ChaCha8Rng) -> Self {
        let long = rng.random_range(4..9);
        let short = rng.random_range(2..4);
        let warp_on_top = rng.random();
        // Floats run along the threads that lie on top.
        let extent = if warp_on_top { [short, long] } else { [long, short] };
        let first: [i32; 2] = std::array::from_fn(|k| at[k].floor() as i32 - extent[k] / 2);
        let last = [first[0] + extent[0] - 1, first[1] + extent[1] - 1];
        Self::new(Shape::Misweave { first, last, warp_on_top }, at, long as f32 + 2.0)
    }

    /// A soft-edged discoloration.
    fn stain(at: [f32; 2], rng: &mut ChaCha8Rng) -> Self {
        let blot = Blot::draw(at, 2.5..6.0, &TINTS, 0.45..1.0, 0.35, rng);
        let reach = blot.reach();
        Self { shape: Shape::Stain(blot), reach }
    }

    /// The point of the faultless cloth that the defect moved to (u, v).
    pub(super) fn displace(&self, u: f32, v: f32) -> (f32, f32) {
        match &self.shape {
            Shape::Distortion { at, radius, shift } => {
                let weight = bump(distance_squared(*at, [u, v]) / (radius * radius));
                (u - weight * shift[0], v - weight * shift[1])
            }
            _ => (u, v),
        }
    }

    /// True if warp thread `i` lies over weft thread `j`; `normal` is the value without the defect.
    pub(super) fn warp_on_top(&self, i: i32, j: i32, normal: bool) -> bool {
        match &self.shape {
            Shape::Misweave { first, last, warp_on_top }
                if (first[0]..=last[0]).contains(&i) && (first[1]..=last[1]).contains(&j) =>
            {
                *warp_on_top
            }
            _ => normal,
        }
    }

    /// True if the thread at (u, v), warp thread `i` or else weft thread `j`, is missing there.
    pub(super) fn cuts(&self, warp: bool, i: i32, j: i32, u: f32, v: f32) -> bool {
        match &self.shape {
            Shape::Hole { at, radius, seed } => {
                // A ragged outline, and each thread breaks at its own length.
                let ragged = 0.3 * radius * noise2(*seed, u * 0.6, v * 0.6);
                let index = if warp { i } else { j };
                let own = 0.8 * hash(*seed, index, i32::from(warp));
                let reach = radius + ragged + own;
                distance_squared(*at, [u, v]) < reach * reach
            }
            Shape::MissingThread { warp: missing_warp, index, from, to } => {
                let (thread, along) = if warp { (i, v) } else { (j, u) };
                warp == *missing_warp && thread == *index && (*from..*to).contains(&along)
            }
            _ => false,
        }
    }

    /// `colour` as the defect leaves it at (u, v).
    pub(super) fn paint(&self, u: f32, v: f32, colour: [f32; 3]) -> [f32; 3] {
        match &self.shape {
            Shape::Stain(blot) => blot.paint([u, v], colour),
            Shape::ForeignFibre { points, half_width, colour: fibre } => {
                let Some(across) = across_curve(points, [u, v], *half_width) else {
                    // A shadow to the lower right, away from the light.
                    let shadow = across_curve(points, [u - 0.22, v - 0.28], half_width * 1.2).is_some();
                    return if shadow { colour.map(|channel| channel * 0.72) } else { colour };
                };
                let light = 0.62 + 0.38 * (1.0 - across * across).sqrt();
                fibre.map(|channel| channel * light)
            }
            _ => colour,
        }
    }
}
