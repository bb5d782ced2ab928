//! A perforated sheet: round holes in staggered rows through brushed metal, filling the image.

mod defect;

use fmam_core::ImageSize;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use self::defect::{DEFECT_TYPES, Defect};
use super::metal::{Edge, LIGHT, caster, diffuse};
use super::noise::{hash, noise1, noise2, smoothstep};
use super::shapes::distance_squared;
use super::subject::{CategoryEntry, Subject};
use super::view::View;

pub(super) static ENTRY: CategoryEntry = CategoryEntry {
    name: "perforated",
    defect_types: || DEFECT_TYPES.map(|(name, _)| name).to_vec(),
    set_up: Sheet::set_up,
};

/// Holes along the shorter side of an image, where the pitch this gives is above [`MIN_PITCH`].
const HOLES: f32 = 13.0;
/// Pixels from hole to hole below which a hole would be a dark pixel and no more.
const MIN_PITCH: f32 = 9.0;
/// All else is in units of the pitch: a row is this far from the next, which makes all neighbours
/// equally far.
const ROW: f32 = 0.866_025_4;
const RADIUS: f32 = 0.33;
/// Breadth of the rounded edges.
const BEVEL: f32 = 0.07;
/// Length of the shadow that the sheet casts on what lies behind it.
const SHADOW: f32 = 0.20;

/// Of the metal, and of what lies behind it, in full light.
const METAL: [f32; 3] = [0.70, 0.71, 0.72];
const BEHIND: [f32; 3] = [0.30, 0.28, 0.27];

/// A hole's place in the lattice: column and row. Odd rows are shifted by half the pitch.
type Index = [i32; 2];

/// A sheet in its own coordinates: holes from left to right along `u`, which is also how it is
/// brushed.
struct Sheet {
    tint: [f32; 3],
    /// Breadth of a pixel.
    pixel: f32,
    seed: u32,
    defect: Option<Defect>,
}

impl Subject for Sheet {
    fn damage(&mut self, kind: usize, view: &View, rng: &mut ChaCha8Rng) {
        let at = view.somewhere(rng);
        self.defect = Some(DEFECT_TYPES[kind].1(self, at, rng));
    }

    fn reaches(&self, point: [f32; 2]) -> bool {
        self.defect.as_ref().is_some_and(|defect| defect.reach.holds(point))
    }

    fn colours(&self, _centre: [f32; 2], points: [[f32; 2]; 4], damaged: bool) -> [[f32; 3]; 4] {
        let defect = self.defect.as_ref().filter(|_| damaged);
        points.map(|p| {
            let defect = defect.filter(|defect| defect.reach.holds(p));
            let edge = self.edge(p, defect);
            if edge.depth > 0.0 { self.opening(p, defect) } else { self.metal(p, &edge, defect) }
        })
    }
}

impl Sheet {
    fn set_up(size: ImageSize, rng: &mut ChaCha8Rng) -> (View, Box<dyn Subject>) {
        let shorter = size.height.min(size.width) as f32;
        let pitch = (shorter / HOLES).max(MIN_PITCH) * rng.random_range(0.96_f32..1.04);
        // A rotation by up to three degrees either way.
        let half = rng.random_range(-0.026_f32..0.026);
        let origin = [rng.random_range(-8.0_f32..8.0), rng.random_range(-8.0_f32..8.0)];
        let warmth = rng.random_range(-0.015_f32..0.015);
        let sheet = Self {
            tint: [METAL[0] + warmth, METAL[1], METAL[2] - warmth],
            pixel: 1.0 / pitch,
            seed: rng.random(),
            defect: None,
        };
        (View::new(size, pitch, half, origin, pitch / 4.0), Box::new(sheet))
    }

    /// Middle of a hole; punches are not quite exact.
    fn hole(&self, [column, row]: Index) -> [f32; 2] {
        let jitter = |salt| 0.012 * hash(self.seed ^ salt, column, row);
        [column as f32 + Self::stagger(row) + jitter(21), row as f32 * ROW + jitter(22)]
    }

    fn stagger(row: i32) -> f32 {
        if row.rem_euclid(2) == 1 { 0.5 } else { 0.0 }
    }

    /// The nearest hole of the row `row`.
    fn in_row(row: i32, u: f32) -> Index {
        [(u - Self::stagger(row)).round() as i32, row]
    }

    /// The nearest holes of the rows above and below `p`, one of which is the nearest of all.
    fn around([u, v]: [f32; 2]) -> [Index; 2] {
        let row = (v / ROW).floor() as i32;
        [Self::in_row(row, u), Self::in_row(row + 1, u)]
    }

    /// The hole nearest to `p`.
    fn nearest(&self, p: [f32; 2]) -> Index {
        let [a, b] = Self::around(p);
        let distance = |index| distance_squared(self.hole(index), p);
        if distance(a) < distance(b) { a } else { b }
    }

    /// The position of `p` relative to the edge of the nearest hole.
    fn edge(&self, p: [f32; 2], defect: Option<&Defect>) -> Edge {
        let [a, b] = Self::around(p).map(|index| {
            let radius = RADIUS * (1.0 + 0.02 * hash(self.seed ^ 23, index[0], index[1]));
            match defect {
                // Its own hole, which may be nearest where another one would be, comes below.
                Some(defect) if defect.moves(index) => Edge { depth: -1.0, towards: [0.0, 0.0] },
                _ => Edge::of_hole(self.hole(index), radius, p),
            }
        });
        let sound = a.or(b);
        match defect.and_then(|defect| defect.opening(p)) {
            Some(own) => sound.or(own),
            None => sound,
        }
    }

    /// The colour in a hole: the background, mostly in the shadow of the sheet, or the object that
    /// blocks the hole.
    fn opening(&self, p: [f32; 2], defect: Option<&Defect>) -> [f32; 3] {
        let caster = caster(p, SHADOW, LIGHT);
        let shadow = smoothstep(-0.10, 0.08, -self.edge(caster, defect).depth);
        let cloud = noise2(self.seed ^ 1, 0.3 * p[0], 0.3 * p[1]);
        let level = (1.0 + 0.10 * cloud) * (1.0 - 0.75 * shadow);
        let behind = BEHIND.map(|channel| channel * level);
        defect.map_or(behind, |defect| defect.fill(p, shadow, behind))
    }

    fn metal(&self, p: [f32; 2], edge: &Edge, defect: Option<&Defect>) -> [f32; 3] {
        let lean = edge.lean(BEVEL);
        // Brush marks: long along `u`, of two breadths, none finer than two pixels, which would
        // only be noise; and a sheen that changes slowly across them.
        let [u, v] = p;
        let fine = noise2(self.seed ^ 2, 0.35 * u, 0.5 / self.pixel * v);
        let coarse = noise2(self.seed ^ 3, 0.12 * u, 2.3 * v);
        let sheen =
            noise1(self.seed ^ 4, 0.17 * v + 0.03 * u) + 0.5 * noise2(self.seed ^ 5, 0.1 * u, 0.1 * v);
        let light = 0.30 + 0.78 * diffuse(lean, LIGHT);
        let level = light * (1.0 + 0.065 * fine + 0.05 * coarse + 0.07 * sheen);
        let colour = self.tint.map(|channel| channel * level);
        defect.map_or(colour, |defect| defect.paint(p, colour))
    }
}
