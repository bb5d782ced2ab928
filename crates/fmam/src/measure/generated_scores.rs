//! Scores and anomaly maps by a formula: the same numbers on every machine.

use fmam_core::Seed;

/// Of as many scores, one is anomalous.
const SCORES_PER_ANOMALY: usize = 100;

/// Pixels between the knots of a map, as of features at a sixteenth of the resolution.
const KNOT_DISTANCE: usize = 16;

/// Numbers in 0..1, drawn one after the other.
struct Draws {
    seed: Seed,
    n_drawn: u64,
}

impl Draws {
    fn new(name: &str, index: usize) -> Self {
        Self { seed: Seed::new(0).derive(name).derive_index(index as u64), n_drawn: 0 }
    }

    fn next(&mut self) -> f32 {
        self.n_drawn += 1;
        unit(self.seed.derive_index(self.n_drawn).value() >> 40)
    }
}

/// A number in 0..1 of 24 bits.
fn unit(bits: u64) -> f32 {
    bits as f32 / (1 << 24) as f32
}

/// `n` image or pixel scores and their labels, two at least. The scores have few ties; every
/// hundredth one is anomalous, and anomalous scores are higher by 0.3.
pub(crate) fn scores(n: usize) -> (Vec<f32>, Vec<u8>) {
    let n = n.max(2);
    let seed = Seed::new(0).derive("scores");
    let labels: Vec<u8> = (0..n).map(|index| u8::from(index.is_multiple_of(SCORES_PER_ANOMALY))).collect();
    let score = |(index, &label): (usize, &u8)| {
        let bits = seed.derive_index(index as u64).value();
        // A product of two numbers of 24 bits: small scores are frequent and finely graded.
        unit(bits >> 40) * unit((bits >> 16) & 0xff_ffff) + 0.3 * f32::from(label)
    };
    (labels.iter().enumerate().map(score).collect(), labels)
}

/// `n` smooth anomaly maps of `side` by `side` pixels and their masks. Three of four maps have one
/// to three round defects, with a radius of a fortieth to an eighth of the side, where the scores
/// are higher by up to 0.4.
pub(crate) fn maps(n: usize, side: usize) -> (Vec<Vec<f32>>, Vec<Vec<u8>>) {
    (0..n.max(1)).map(|index| map(index, side)).unzip()
}

fn map(index: usize, side: usize) -> (Vec<f32>, Vec<u8>) {
    let mut draws = Draws::new("maps", index);
    let n_knots = side / KNOT_DISTANCE + 2;
    let knots: Vec<f32> = (0..n_knots * n_knots).map(|_| 0.05 + 0.3 * draws.next() * draws.next()).collect();
    let mut scores = Vec::with_capacity(side * side);
    for y in 0..side {
        let (row, v) = (y / KNOT_DISTANCE, (y % KNOT_DISTANCE) as f32 / KNOT_DISTANCE as f32);
        for x in 0..side {
            let (column, u) = (x / KNOT_DISTANCE, (x % KNOT_DISTANCE) as f32 / KNOT_DISTANCE as f32);
            let at = |below: usize, beside: usize| knots[n_knots * (row + below) + column + beside];
            let upper = at(0, 0) + u * (at(0, 1) - at(0, 0));
            let lower = at(1, 0) + u * (at(1, 1) - at(1, 0));
            scores.push(upper + v * (lower - upper));
        }
    }
    let mut mask = vec![0; side * side];
    let strength = 0.4 * draws.next();
    // The first map has a defect, so that every set of maps has both classes.
    let n_defects = (index + 1) % 4;
    for _ in 0..n_defects {
        let radius = side as f32 * (0.025 + 0.1 * draws.next());
        let (centre_y, centre_x) = (draws.next() * side as f32, draws.next() * side as f32);
        for (at, (score, label)) in scores.iter_mut().zip(&mut mask).enumerate() {
            let (dy, dx) = ((at / side) as f32 - centre_y, (at % side) as f32 - centre_x);
            if *label == 0 && dy * dy + dx * dx <= radius * radius {
                *label = 1;
                *score += strength;
            }
        }
    }
    (scores, mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_score_in_a_hundred_is_anomalous_and_they_have_few_ties() {
        let (scores, labels) = scores(50_000);
        assert_eq!(labels.iter().filter(|&&label| label == 1).count(), 500);
        assert!(scores.iter().all(|score| (0.0..1.3).contains(score)));
        let distinct: std::collections::HashSet<u32> = scores.iter().map(|score| score.to_bits()).collect();
        assert!(distinct.len() > 49_900, "{}", distinct.len());
        assert_eq!(super::scores(0).1, [1, 0]);
    }

    #[test]
    fn longer_lists_begin_as_shorter_ones_do() {
        assert_eq!(scores(1000).0[..300], scores(300).0);
        assert_eq!(maps(5, 32).0[..2], maps(2, 32).0);
    }

    #[test]
    fn maps_are_smooth_outside_of_their_defects() {
        let (maps, masks) = maps(8, 64);
        let n_defective = masks.iter().filter(|mask| mask.contains(&1)).count();
        assert_eq!(n_defective, 6);
        for (map, mask) in maps.iter().zip(&masks) {
            assert_eq!((map.len(), mask.len()), (64 * 64, 64 * 64));
            for at in (1..map.len()).filter(|at| at % 64 > 0 && mask[*at] == mask[at - 1]) {
                // Knots differ by 0.3 at most and lie 16 pixels apart.
                assert!((map[at] - map[at - 1]).abs() < 0.3 / 16.0 + 1e-6);
            }
        }
    }
}
