//! A machined part: a turned disc with a bore, a raised hub and six bolt holes, in any rotation on
//! a plain ground.

mod defect;

use fmam_core::ImageSize;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use self::defect::{DEFECT_TYPES, Defect};
use super::metal::{Edge, LIGHT, caster, diffuse};
use super::noise::{bump, hash, noise1, noise2, smoothstep};
use super::shapes::{direction, dot, turn, turned, unit};
use super::subject::{CategoryEntry, Subject};
use super::view::View;

pub(super) static ENTRY: CategoryEntry = CategoryEntry {
    name: "flange",
    defect_types: || DEFECT_TYPES.map(|(name, _)| name).to_vec(),
    set_up: Flange::set_up,
};

/// The disc's radius in units of half the image's shorter side.
const RADIUS: f32 = 0.80;
/// All else about the disc is in units of its radius.
const BORE: f32 = 0.34;
const HUB: f32 = 0.50;
const BOLT_CIRCLE: f32 = 0.70;
const BOLT_HOLE: f32 = 0.098;
const GROOVE: f32 = 0.90;
/// Breadth of the rounded edges.
const BEVEL: f32 = 0.03;
/// Length of the shadow that the disc casts.
const SHADOW: f32 = 0.07;

/// Of the ground and of the metal, in full light.
const GROUND: [f32; 3] = [0.36, 0.39, 0.42];
const METAL: [f32; 3] = [0.73, 0.735, 0.74];

/// A disc in its own coordinates: the origin its centre, the unit its radius, but not turned with
/// it, so that light comes from one side.
struct Flange {
    centre: [f32; 2],
    radius: f32,
    holes: [[f32; 2]; 6],
    light: [f32; 3],
    /// Shade of the metal.
    tint: [f32; 3],
    /// Breadth of a pixel.
    pixel: f32,
    seed: u32,
    defect: Option<Defect>,
}

impl Subject for Flange {
    fn damage(&mut self, kind: usize, _view: &View, rng: &mut ChaCha8Rng) {
        self.defect = Some(DEFECT_TYPES[kind].1(self, rng));
    }

    fn reaches(&self, point: [f32; 2]) -> bool {
        let p = self.own(point);
        self.defect.as_ref().is_some_and(|defect| defect.reach.holds(p))
    }

    fn colours(&self, _centre: [f32; 2], points: [[f32; 2]; 4], damaged: bool) -> [[f32; 3]; 4] {
        let defect = self.defect.as_ref().filter(|_| damaged);
        points.map(|point| {
            let p = self.own(point);
            let defect = defect.filter(|defect| defect.reach.holds(p));
            let edge = self.edge(p, defect);
            if edge.depth > 0.0 { self.ground(point, p, defect) } else { self.metal(p, &edge, defect) }
        })
    }
}

impl Flange {
    fn set_up(size: ImageSize, rng: &mut ChaCha8Rng) -> (View, Box<dyn Subject>) {
        let unit_pixels = size.height.min(size.width) as f32 / 2.0;
        let radius = RADIUS * rng.random_range(0.96_f32..1.04);
        let centre = [rng.random_range(-0.06_f32..0.06), rng.random_range(-0.06_f32..0.06)];
        let mut arm = unit(rng).map(|x| x * BOLT_CIRCLE);
        let sixth = [0.5, 0.75_f32.sqrt()];
        let holes = std::array::from_fn(|_| {
            arm = turned(sixth, arm);
            arm
        });
        let [x, y] = turned(turn(rng.random_range(-0.15..0.15)), [LIGHT[0], LIGHT[1]]);
        let warmth = rng.random_range(-0.012_f32..0.012);
        let flange = Self {
            centre,
            radius,
            holes,
            light: [x, y, LIGHT[2]],
            tint: [METAL[0] + warmth, METAL[1], METAL[2] - warmth],
            pixel: 1.0 / (radius * unit_pixels),
            seed: rng.random(),
            defect: None,
        };
        (View::new(size, unit_pixels, 0.0, [0.0, 0.0], unit_pixels / 32.0), Box::new(flange))
    }

    /// A point of the view in the disc's coordinates.
    fn own(&self, point: [f32; 2]) -> [f32; 2] {
        [(point[0] - self.centre[0]) / self.radius, (point[1] - self.centre[1]) / self.radius]
    }

    /// The position of `p` relative to the nearest edge: outline, bore or hole.
    fn edge(&self, p: [f32; 2], defect: Option<&Defect>) -> Edge {
        let (outwards, r) = direction(p);
        let rim = Edge { depth: r - 1.0, towards: outwards };
        let holes =
            self.holes.iter().enumerate().filter(|(k, _)| !defect.is_some_and(|defect| defect.omits(*k)));
        let sound = holes
            .map(|(_, hole)| Edge::of_hole(*hole, BOLT_HOLE, p))
            .fold(rim.or(Edge::of_hole([0.0, 0.0], BORE, p)), Edge::or);
        match defect.and_then(|defect| defect.chip(p)) {
            Some(chip) => sound.or(chip),
            None => sound,
        }
    }

    /// The ground, in the disc's shadow or beside it.
    fn ground(&self, point: [f32; 2], p: [f32; 2], defect: Option<&Defect>) -> [f32; 3] {
        let [u, v] = point;
        let cloud = noise2(self.seed ^ 1, 2.0 * u, 2.0 * v);
        let grains = 0.5 / self.pixel;
        let grain = noise2(self.seed ^ 2, u * grains, v * grains);
        let caster = caster(p, SHADOW, self.light);
        let shadow = smoothstep(-0.05, 0.04, -self.edge(caster, defect).depth);
        let level = (1.0 + 0.05 * cloud + 0.05 * grain + self.dust(point)) * (1.0 - 0.55 * shadow);
        GROUND.map(|channel| channel * level)
    }

    /// Specks that lie here and there on the ground, lighter or darker than it.
    fn dust(&self, [u, v]: [f32; 2]) -> f32 {
        let cell = [(5.0 * u).floor(), (5.0 * v).floor()];
        let own = |salt| hash(self.seed ^ salt, cell[0] as i32, cell[1] as i32);
        if own(11) < 0.7 {
            return 0.0;
        }
        let offset = [5.0 * u - cell[0] - 0.5 - 0.3 * own(12), 5.0 * v - cell[1] - 0.5 - 0.3 * own(13)];
        0.25 * own(14) * bump(dot(offset, offset) / (0.008 + 0.004 * own(15)))
    }

    /// The metal's upper side at `p`.
    fn metal(&self, p: [f32; 2], edge: &Edge, defect: Option<&Defect>) -> [f32; 3] {
        let (outwards, r) = direction(p);
        let profile = self.profile(r);
        let rounded = edge.lean(BEVEL);
        let dent = defect.map_or([0.0, 0.0], |defect| defect.lean(p));
        let lean: [f32; 2] = std::array::from_fn(|k| profile * outwards[k] + rounded[k] + dent[k]);

        // The tool leaves rings, uneven along the way round.
        let uneven = noise2(self.seed ^ 3, 3.0 * p[0], 3.0 * p[1]);
        // None finer than two pixels, which would only be noise.
        let fine = noise1(self.seed ^ 4, r * (0.5 / self.pixel).min(90.0) + 0.4 * uneven);
        let coarse = noise1(self.seed ^ 5, r * 17.0);
        // They mirror the light where they run across it: two bright sectors, as on every turned
        // part.
        let flat = 1.0 / (1.0 + 6.0 * dot(lean, lean));
        let (to_light, _) = direction([self.light[0], self.light[1]]);
        let facing = dot(outwards, to_light) + 0.05 * coarse;
        let gloss = facing * facing * facing * facing * flat;
        let beside_hub = (r - HUB - 0.05) / 0.07;
        let shadow = (-facing).max(0.0) * bump(beside_hub * beside_hub);
        let light = 0.28 + 0.62 * diffuse(lean, self.light) + gloss * (0.36 + 0.10 * fine) - 0.16 * shadow;
        let level = light * (1.0 + 0.045 * fine + 0.03 * coarse + 0.03 * uneven);
        let colour = self.tint.map(|channel| channel * level);
        defect.map_or(colour, |defect| defect.paint(p, colour))
    }

    /// The outward slope of the turned profile: from the hub to the flange, and into a groove and
    /// out of it.
    fn profile(&self, r: f32) -> f32 {
        let at = |radius: f32, half: f32| bump((r - radius) * (r - radius) / (half * half));
        0.9 * at(HUB, 0.03) + 0.6 * (at(GROOVE - 0.012, 0.014) - at(GROOVE + 0.012, 0.014))
    }

    /// A point in the metal, at least `margin` from every edge.
    fn metal_point(&self, margin: f32, rng: &mut ChaCha8Rng) -> [f32; 2] {
        loop {
            let p = [rng.random_range(-1.0_f32..1.0), rng.random_range(-1.0_f32..1.0)];
            if self.edge(p, None).depth < -margin {
                return p;
            }
        }
    }
}
