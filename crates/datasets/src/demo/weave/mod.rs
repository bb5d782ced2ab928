//! Woven fabrics: which thread is on top, how thick it is, how the light falls on it.

mod defect;

use fmam_core::ImageSize;
use rand::Rng;
use rand_chacha::ChaCha8Rng;

use self::defect::{DEFECT_TYPES, Defect};
use super::noise::{hash, noise1, noise2};
use super::subject::{CategoryEntry, Subject};
use super::view::View;

pub(super) static PLAIN: CategoryEntry = CategoryEntry {
    name: "plain",
    defect_types: || DEFECT_TYPES.map(|(name, _)| name).to_vec(),
    set_up: |size, rng| Cloth::set_up(Weave::Plain, size, rng),
};

pub(super) static TWILL: CategoryEntry = CategoryEntry {
    name: "twill",
    defect_types: || DEFECT_TYPES.map(|(name, _)| name).to_vec(),
    set_up: |size, rng| Cloth::set_up(Weave::Twill, size, rng),
};

/// Threads along the shorter side of an image, where the pitch this gives is above [`MIN_PITCH`].
const THREADS: f32 = 34.0;
/// Pixels from thread to thread below which a weave could not be told from noise.
const MIN_PITCH: f32 = 4.0;

/// The pattern in which warp and weft interlace.
#[derive(Clone, Copy)]
enum Weave {
    /// Each thread goes over one and under one.
    Plain,
    /// Each thread goes over two and under two, one further in every row.
    Twill,
}

impl Weave {
    /// True if warp thread `i` lies over weft thread `j`.
    fn warp_on_top(self, i: i32, j: i32) -> bool {
        match self {
            Weave::Plain => (i + j).rem_euclid(2) == 0,
            Weave::Twill => (i + j).rem_euclid(4) < 2,
        }
    }

    /// Colours of warp and weft under full light, each channel in 0..1.
    fn colours(self) -> [[f32; 3]; 2] {
        match self {
            Weave::Plain => [[0.86, 0.80, 0.68], [0.80, 0.74, 0.62]],
            Weave::Twill => [[0.34, 0.43, 0.60], [0.82, 0.82, 0.78]],
        }
    }
}

/// The colour between the threads.
const BACKGROUND: [f32; 3] = [0.10, 0.09, 0.09];
/// Direction to the light, of length one: from the upper left.
const LIGHT: [f32; 3] = [-0.48, -0.60, 0.64];

/// One thread's own irregularities, in units of the thread pitch.
struct Thread {
    /// Sideways displacement.
    offset: f32,
    /// Half its thickness.
    half_width: f32,
    /// Factor of its colour.
    shade: f32,
    /// Of its noise along the length.
    seed: u32,
}

impl Thread {
    fn of(seed: u32, index: i32) -> Self {
        Self {
            offset: 0.045 * hash(seed, index, 1),
            half_width: 0.44 + 0.03 * hash(seed, index, 2),
            shade: 1.0 + 0.05 * hash(seed, index, 3),
            seed: seed ^ (index as u32).wrapping_mul(0x27d4_eb2f),
        }
    }
}

/// A run of neighbouring threads of one direction.
struct Threads {
    first: i32,
    threads: Vec<Thread>,
}

impl Threads {
    fn new(seed: u32, first: i32, last: i32) -> Self {
        Self { first, threads: (first..=last).map(|index| Thread::of(seed, index)).collect() }
    }

    fn get(&self, index: i32) -> &Thread {
        let last = self.threads.len() as i32 - 1;
        &self.threads[(index - self.first).clamp(0, last) as usize]
    }
}

/// A cloth in its own coordinates: `u` counts warp threads from left to right, `v` weft threads
/// from top to bottom.
struct Cloth {
    weave: Weave,
    warp: Threads,
    weft: Threads,
    waviness: u32,
    fibres: u32,
    defect: Option<Defect>,
}

/// The position of one thread at a point.
struct Crossing {
    /// Height above the middle plane.
    height: f32,
    /// Distance from the thread's axis as a fraction of its half width, in -1..1.
    across: f32,
    /// Rise of the axis along the thread.
    slope: f32,
    /// Position along the thread.
    along: f32,
}

impl Subject for Cloth {
    fn damage(&mut self, kind: usize, view: &View, rng: &mut ChaCha8Rng) {
        let at = view.somewhere(rng);
        self.defect = Some(DEFECT_TYPES[kind].1(at, rng));
    }

    fn reaches(&self, point: [f32; 2]) -> bool {
        self.defect.as_ref().is_some_and(|defect| defect.reach.holds(point))
    }

    fn colours(&self, centre: [f32; 2], points: [[f32; 2]; 4], damaged: bool) -> [[f32; 3]; 4] {
        let wave = self.waviness(centre[0], centre[1]);
        let defect = self.defect.as_ref().filter(|_| damaged);
        points.map(|[u, v]| self.colour(u, v, wave, defect.filter(|defect| defect.reach.holds([u, v]))))
    }
}

impl Cloth {
    fn set_up(weave: Weave, size: ImageSize, rng: &mut ChaCha8Rng) -> (View, Box<dyn Subject>) {
        let shorter = size.height.min(size.width) as f32;
        let pitch = (shorter / THREADS).max(MIN_PITCH) * rng.random_range(0.97_f32..1.03);
        // A rotation by up to two degrees either way.
        let half = rng.random_range(-0.0175_f32..0.0175);
        let origin = [rng.random_range(-8.0_f32..8.0), rng.random_range(-8.0_f32..8.0)];
        let reach = (size.height + size.width) as f32 / (2.0 * pitch) + 10.0;
        let last = reach.ceil() as i32 + 2;
        let cloth = Self {
            weave,
            warp: Threads::new(rng.random(), -last, last),
            weft: Threads::new(rng.random(), -last, last),
            waviness: rng.random(),
            fibres: rng.random(),
            defect: None,
        };
        (View::new(size, pitch, half, origin, pitch), Box::new(cloth))
    }

    /// The displacement of the threads around (u, v) from straight ones; it changes slowly.
    fn waviness(&self, u: f32, v: f32) -> [f32; 2] {
        let wave = |seed, u, v| 0.12 * noise2(seed, u, v);
        [wave(self.waviness, u * 0.11, v * 0.06), wave(self.waviness ^ 1, u * 0.06, v * 0.11)]
    }

    /// The colour at (u, v) with a `defect` that reaches there; `wave` is the [`Cloth::waviness`].
    fn colour(&self, u: f32, v: f32, wave: [f32; 2], defect: Option<&Defect>) -> [f32; 3] {
        let (flat_u, flat_v) = (u, v);
        let (u, v) = defect.map_or((u, v), |defect| defect.displace(u, v));
        let (u, v) = (u + wave[0], v + wave[1]);
        let (i, j) = (u.floor() as i32, v.floor() as i32);

        let over = |i, j| {
            let normal = self.weave.warp_on_top(i, j);
            defect.map_or(normal, |defect| defect.warp_on_top(i, j, normal))
        };
        let cut = |warp| defect.is_some_and(|defect| defect.cuts(warp, i, j, flat_u, flat_v));
        let (warp, weft) = (self.warp.get(i), self.weft.get(j));
        let warp_at = crossing(warp, u - i as f32, v, |j| over(i, j)).filter(|_| !cut(true));
        let weft_at = crossing(weft, v - j as f32, u, |i| !over(i, j)).filter(|_| !cut(false));

        let [warp_colour, weft_colour] = self.weave.colours();
        let lit = match (warp_at, weft_at) {
            (Some(a), Some(b)) if a.height < b.height => self.shade(weft, &b, weft_colour, false),
            (Some(a), _) => self.shade(warp, &a, warp_colour, true),
            (None, Some(b)) => self.shade(weft, &b, weft_colour, false),
            (None, None) => BACKGROUND,
        };
        defect.map_or(lit, |defect| defect.paint(flat_u, flat_v, lit))
    }

    fn shade(&self, thread: &Thread, at: &Crossing, colour: [f32; 3], is_warp: bool) -> [f32; 3] {
        // The normal of a round thread that rises and falls; `across` is x for the warp, y for the
        // weft.
        let (lateral, axial) = (0.8 * at.across, -0.45 * at.slope);
        let (x, y) = if is_warp { (lateral, axial) } else { (axial, lateral) };
        let z = (1.0 - lateral * lateral).max(0.05).sqrt();
        let length = (x * x + y * y + z * z).sqrt();
        let diffuse = ((x * LIGHT[0] + y * LIGHT[1] + z * LIGHT[2]) / length).max(0.0);
        // A deep thread gets less of the ambient light.
        let ambient = 0.30 + 0.22 * at.height.clamp(-1.0, 1.0);
        // Twisted fibres: streaks that run obliquely to the thread.
        let twist = noise2(self.fibres ^ thread.seed, 1.6 * at.along + 1.2 * at.across, 1.5 * at.across);
        let light = (ambient + 0.72 * diffuse) * thread.shade * (1.0 + 0.09 * twist);
        colour.map(|channel| channel * light)
    }
}

/// The position of `thread` at the point `sideways` (0..1 across its cell) and `along`; `None`
/// beside the thread. `on_top(k)` is true if the thread lies over its `k`th crossing thread.
fn crossing(thread: &Thread, sideways: f32, along: f32, on_top: impl Fn(i32) -> bool) -> Option<Crossing> {
    let half_width = thread.half_width * (1.0 + 0.10 * noise1(thread.seed, along * 0.35));
    let across = (sideways - 0.5 - thread.offset) / half_width;
    if across.abs() >= 1.0 {
        return None;
    }
    // The axis goes smoothly from one crossing's level to the next one's.
    let k = (along - 0.5).floor();
    let t = along - 0.5 - k;
    let level = |over: bool| if over { 1.0 } else { -1.0 };
    let (from, to) = (level(on_top(k as i32)), level(on_top(k as i32 + 1)));
    let axis = from + (to - from) * t * t * (3.0 - 2.0 * t);
    let slope = (to - from) * 6.0 * t * (1.0 - t) * 0.5;
    let height = 0.45 * axis + 0.5 * (1.0 - across * across).sqrt();
    Some(Crossing { height, across, slope, along })
}
