//! What can go wrong in weaving, as changes of a [`Cloth`](super::weave::Cloth).

use rand::Rng;
use rand_chacha::ChaCha8Rng;

use super::noise::{bump, hash, noise2, smoothstep};

/// The kinds of defect, each a test type of the demo set.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum DefectType {
    /// A part of the weave is shifted sideways, its threads crowded on one side.
    Distortion,
    /// A contrasting thread lies on the cloth.
    ForeignFibre,
    /// Threads of both directions are gone.
    Hole,
    /// One warp or weft thread is missing over a length.
    MissingThread,
    /// Threads interlace in the wrong order within a patch.
    Misweave,
    /// A soft-edged discoloration.
    Stain,
}

impl DefectType {
    /// All, sorted by name.
    pub(super) const ALL: [Self; 6] =
        [Self::Distortion, Self::ForeignFibre, Self::Hole, Self::MissingThread, Self::Misweave, Self::Stain];

    /// Name of the defect type's folder.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Distortion => "distortion",
            Self::ForeignFibre => "foreign-fibre",
            Self::Hole => "hole",
            Self::MissingThread => "missing-thread",
            Self::Misweave => "misweave",
            Self::Stain => "stain",
        }
    }
}

/// One defect at one place, in cloth coordinates (threads).
pub(super) struct Defect {
    shape: Shape,
    /// Middle and radius of a circle outside of which the defect changes nothing.
    centre: [f32; 2],
    reach: f32,
}

/// Colours of foreign fibres.
const FIBRES: [[f32; 3]; 4] =
    [[0.97, 0.96, 0.92], [0.22, 0.20, 0.20], [0.66, 0.24, 0.22], [0.90, 0.78, 0.42]];
/// What the strongest stains leave of each channel: rust, grease, dye.
const TINTS: [[f32; 3]; 3] = [[0.78, 0.66, 0.46], [0.62, 0.61, 0.60], [0.80, 0.62, 0.60]];

enum Shape {
    Distortion { at: [f32; 2], radius: f32, shift: [f32; 2] },
    ForeignFibre { points: Vec<[f32; 2]>, half_width: f32, colour: [f32; 3] },
    Hole { at: [f32; 2], radius: f32, seed: u32 },
    MissingThread { warp: bool, index: i32, from: f32, to: f32 },
    Misweave { first: [i32; 2], last: [i32; 2], warp_on_top: bool },
    Stain { at: [f32; 2], radius: [f32; 2], tint: [f32; 3], seed: u32 },
}

impl Defect {
    /// Draws a defect of `kind` around the point `at`; its size and contrast go from subtle to clear.
    pub(super) fn draw(kind: DefectType, at: [f32; 2], rng: &mut ChaCha8Rng) -> Self {
        let (shape, reach) = match kind {
            DefectType::Distortion => {
                let direction = unit(rng);
                let amount = rng.random_range(0.9..1.7);
                let radius = rng.random_range(3.5..7.0);
                (Shape::Distortion { at, radius, shift: direction.map(|d| d * amount) }, radius)
            }
            DefectType::ForeignFibre => {
                let colour = FIBRES[rng.random_range(0..FIBRES.len())];
                let points = curve(at, rng);
                let reach = points.iter().map(|p| distance_squared(at, *p)).fold(0.0, f32::max).sqrt();
                (
                    Shape::ForeignFibre { points, half_width: rng.random_range(0.22..0.42), colour },
                    reach + 1.0,
                )
            }
            DefectType::Hole => {
                let radius = rng.random_range(1.2..3.2);
                (Shape::Hole { at, radius, seed: rng.random() }, 1.3 * radius + 1.0)
            }
            DefectType::MissingThread => {
                let warp = rng.random();
                let half_length = rng.random_range(4.0..14.0);
                let [across, along] = if warp { at } else { [at[1], at[0]] };
                let (index, from, to) = (across.floor() as i32, along - half_length, along + half_length);
                (Shape::MissingThread { warp, index, from, to }, half_length + 2.0)
            }
            DefectType::Misweave => {
                let long = rng.random_range(4..9);
                let short = rng.random_range(2..4);
                let warp_on_top = rng.random();
                // Floats run along the threads that lie on top.
                let extent = if warp_on_top { [short, long] } else { [long, short] };
                let first: [i32; 2] = std::array::from_fn(|k| at[k].floor() as i32 - extent[k] / 2);
                let last = [first[0] + extent[0] - 1, first[1] + extent[1] - 1];
                (Shape::Misweave { first, last, warp_on_top }, long as f32 + 2.0)
            }
            DefectType::Stain => {
                let tint = TINTS[rng.random_range(0..TINTS.len())];
                let strength = rng.random_range(0.45..1.0);
                let radius: [f32; 2] = [rng.random_range(2.5..6.0), rng.random_range(2.5..6.0)];
                let tint = tint.map(|channel| 1.0 - strength * (1.0 - channel));
                (Shape::Stain { at, radius, tint, seed: rng.random() }, 1.3 * radius[0].max(radius[1]))
            }
        };
        Self { shape, centre: at, reach }
    }

    /// Whether (u, v) lies in the circle outside of which the defect changes nothing.
    pub(super) fn reaches(&self, u: f32, v: f32) -> bool {
        distance_squared(self.centre, [u, v]) < self.reach * self.reach
    }

    /// Where in the faultless cloth that lies which the defect brought to (u, v).
    pub(super) fn displace(&self, u: f32, v: f32) -> (f32, f32) {
        match &self.shape {
            Shape::Distortion { at, radius, shift } => {
                let weight = bump(distance_squared(*at, [u, v]) / (radius * radius));
                (u - weight * shift[0], v - weight * shift[1])
            }
            _ => (u, v),
        }
    }

    /// Whether warp thread `i` lies over weft thread `j`, where `normal` says how it should be.
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

    /// Whether the thread at (u, v), warp thread `i` or else weft thread `j`, is gone there.
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
            Shape::Stain { at, radius, tint, seed } => {
                let (du, dv) = ((u - at[0]) / radius[0], (v - at[1]) / radius[1]);
                let distance = (du * du + dv * dv).sqrt() + 0.22 * noise2(*seed, u * 0.35, v * 0.35);
                let amount = 1.0 - smoothstep(0.65, 1.05, distance);
                std::array::from_fn(|c| colour[c] * (1.0 - amount * (1.0 - tint[c])))
            }
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

fn distance_squared(a: [f32; 2], b: [f32; 2]) -> f32 {
    let (du, dv) = (a[0] - b[0], a[1] - b[1]);
    du * du + dv * dv
}

/// A direction. Points of the square are drawn until one lies in the ring; no trigonometry, see the noise
/// module.
fn unit(rng: &mut ChaCha8Rng) -> [f32; 2] {
    loop {
        let (u, v) = (rng.random_range(-1.0_f32..1.0), rng.random_range(-1.0_f32..1.0));
        let squared = u * u + v * v;
        if (0.1..1.0).contains(&squared) {
            let length = squared.sqrt();
            return [u / length, v / length];
        }
    }
}

/// A line of points half a thread apart that wanders around `at`.
fn curve(at: [f32; 2], rng: &mut ChaCha8Rng) -> Vec<[f32; 2]> {
    let n = rng.random_range(10..32);
    let mut heading = unit(rng);
    let mut bend = rng.random_range(-0.12_f32..0.12);
    let mut points = vec![[0.0_f32, 0.0]];
    for _ in 0..n {
        bend = (bend + rng.random_range(-0.06..0.06)).clamp(-0.2, 0.2);
        // The rotation whose half angle has the tangent `bend`.
        let (cos, sin) = ((1.0 - bend * bend) / (1.0 + bend * bend), 2.0 * bend / (1.0 + bend * bend));
        heading = [cos * heading[0] - sin * heading[1], sin * heading[0] + cos * heading[1]];
        let last = points[points.len() - 1];
        points.push([last[0] + 0.5 * heading[0], last[1] + 0.5 * heading[1]]);
    }
    let middle = points[points.len() / 2];
    points.iter().map(|p| [p[0] - middle[0] + at[0], p[1] - middle[1] + at[1]]).collect()
}

/// Distance of `p` from the line through `points` as a fraction of `half_width`, where it is below 1.
fn across_curve(points: &[[f32; 2]], p: [f32; 2], half_width: f32) -> Option<f32> {
    let nearest = points
        .windows(2)
        .map(|ends| {
            let (a, b) = (ends[0], ends[1]);
            let (du, dv) = (b[0] - a[0], b[1] - a[1]);
            let t = ((p[0] - a[0]) * du + (p[1] - a[1]) * dv) / (du * du + dv * dv);
            let t = t.clamp(0.0, 1.0);
            distance_squared(p, [a[0] + t * du, a[1] + t * dv])
        })
        .fold(f32::INFINITY, f32::min);
    (nearest < half_width * half_width).then(|| nearest.sqrt() / half_width)
}
