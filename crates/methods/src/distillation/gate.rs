//! The gate of FMAM: it weighs the evidence of an anomaly by how well each piece parts synthetic
//! defects from good images that nothing was trained on.

use candle_core::{Device, Tensor};
use fmam_core::AnomalyMap;
use fmam_ops::traced;

use crate::checkpoint::{Checkpoint, Tensors};
use crate::{MethodError, Prediction};

/// Added to the error of each piece, so that one without an error does not silence the others:
/// about what a few dozen images can tell.
const ERROR_FLOOR: f64 = 0.01;

/// Name of the gate's tensor. That of the time when the scales of a discrepancy were one piece is
/// called otherwise: such a detector must be fitted anew.
const KEY: &str = "pieces";

/// Scale and weight of each piece of evidence.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Gate {
    pieces: Vec<Piece>,
}

/// One piece of evidence.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Piece {
    /// Mean of its maps of good images.
    mean: f32,
    /// Distance of a good image's largest value from that mean, on average.
    spread: f32,
    /// Share in the sum, from 0 to 1.
    weight: f32,
}

/// The scores of a piece of evidence, gathered image by image.
#[derive(Debug, Default)]
pub(super) struct PieceScores {
    /// Sum of the means of good maps.
    means: f64,
    good: Vec<f32>,
    defective: Vec<f32>,
}

impl PieceScores {
    /// Takes in a good image that nothing was trained on.
    pub(super) fn add_good(&mut self, prediction: &Prediction) {
        self.means += mean(&prediction.anomaly_map);
        self.good.push(prediction.image_score);
    }

    /// Takes in an image with a synthetic defect.
    pub(super) fn add_defective(&mut self, prediction: &Prediction) {
        self.defective.push(prediction.image_score);
    }

    /// Share of the pairs of a good and a defective image in which the good one has the higher
    /// score, ties counting half.
    fn error(&self) -> f64 {
        let wrong = |good: f32, defective: f32| match good.total_cmp(&defective) {
            std::cmp::Ordering::Less => 0.0,
            std::cmp::Ordering::Equal => 0.5,
            std::cmp::Ordering::Greater => 1.0,
        };
        let pairs = self.good.iter().flat_map(|&g| self.defective.iter().map(move |&d| wrong(g, d)));
        pairs.sum::<f64>() / (self.good.len() * self.defective.len()).max(1) as f64
    }
}

fn mean(map: &AnomalyMap) -> f64 {
    map.data().iter().map(|&value| f64::from(value)).sum::<f64>() / map.data().len() as f64
}

impl Gate {
    /// The gate for pieces with `scores`, which are of at least one good image each: a piece counts
    /// by the inverse square of its error.
    pub(super) fn fit(scores: &[PieceScores]) -> Self {
        let worth = |scores: &PieceScores| (scores.error() + ERROR_FLOOR).powi(-2);
        let total: f64 = scores.iter().map(worth).sum();
        let piece = |scores: &PieceScores| {
            let n = scores.good.len() as f64;
            let mean = scores.means / n;
            let peak = scores.good.iter().map(|&score| f64::from(score)).sum::<f64>() / n;
            // A map that is constant on good images has no scale of its own.
            let spread = if peak > mean { peak - mean } else { 1.0 };
            Piece { mean: mean as f32, spread: spread as f32, weight: (worth(scores) / total) as f32 }
        };
        Self { pieces: scores.iter().map(piece).collect() }
    }

    /// Maps whose sum is the weighted sum of the `pieces`, `[N, H, W]` of any size, each in units
    /// of its spread above its mean: one map for each size, in the order in which the sizes come.
    pub(super) fn combine(&self, pieces: Vec<Tensor>) -> Result<Vec<Tensor>, MethodError> {
        let mut sums: Vec<Tensor> = Vec::new();
        for (piece, map) in self.pieces.iter().zip(pieces) {
            let gain = f64::from(piece.weight) / f64::from(piece.spread);
            let map = traced::affine(&map, gain, -gain * f64::from(piece.mean))?;
            match sums.iter_mut().find(|sum| sum.dims() == map.dims()) {
                Some(sum) => *sum = traced::add(sum, &map)?,
                None => sums.push(map),
            }
        }
        Ok(sums)
    }

    /// The share of each piece in the sum, from 0 to 1.
    pub(super) fn weights(&self) -> impl Iterator<Item = f32> {
        self.pieces.iter().map(|piece| piece.weight)
    }

    /// The tensors that [`Gate::read`] takes.
    pub(super) fn tensors(&self) -> Result<Tensors, MethodError> {
        let values = self.pieces.iter().flat_map(|piece| [piece.mean, piece.spread, piece.weight]);
        let values: Vec<f32> = values.collect();
        Ok([(KEY.to_owned(), Tensor::from_vec(values, (self.pieces.len(), 3), &Device::Cpu)?)].into())
    }

    /// The saved gate.
    pub(super) fn read(saved: &Checkpoint) -> Result<Self, MethodError> {
        let values = saved.tensor(KEY, &[None, Some(3)])?.to_vec2::<f32>()?;
        let piece = |row: Vec<f32>| Piece { mean: row[0], spread: row[1], weight: row[2] };
        Ok(Self { pieces: values.into_iter().map(piece).collect() })
    }

    /// An error if this gate, of the file `saved`, is not for `n_pieces` pieces.
    pub(super) fn check(&self, saved: &Checkpoint, n_pieces: usize) -> Result<(), MethodError> {
        saved.tensor(KEY, &[Some(n_pieces), Some(3)]).map(|_| ())
    }
}

#[cfg(test)]
mod tests {
    use fmam_core::ImageSize;

    use super::*;

    fn scores(good: &[f32], defective: &[f32]) -> PieceScores {
        let prediction = |&score: &f32| {
            let anomaly_map = AnomalyMap::new(ImageSize::new(1, 2), vec![0.0, score]).unwrap();
            Prediction { image_score: score, anomaly_map }
        };
        let mut scores = PieceScores::default();
        good.iter().for_each(|score| scores.add_good(&prediction(score)));
        defective.iter().for_each(|score| scores.add_defective(&prediction(score)));
        scores
    }

    #[test]
    fn errors_are_pairs_in_the_wrong_order() {
        assert_eq!(scores(&[1.0, 2.0], &[3.0, 4.0]).error(), 0.0);
        // Of (1, 1), (1, 4), (2, 1), (2, 4) one is wrong and one is a tie.
        assert_eq!(scores(&[1.0, 2.0], &[1.0, 4.0]).error(), 0.375);
        assert_eq!(scores(&[5.0], &[1.0]).error(), 1.0);
    }

    #[test]
    fn a_piece_that_parts_counts_more_and_all_have_one_scale() {
        let gate = Gate::fit(&[scores(&[2.0, 4.0], &[6.0, 8.0]), scores(&[200.0, 400.0], &[300.0, 300.0])]);
        let [sharp, blunt] = [gate.pieces[0], gate.pieces[1]];
        assert!((sharp.weight + blunt.weight - 1.0).abs() < 1e-6);
        assert!(sharp.weight > 0.99, "{gate:?}");
        // Means of the maps 1.5 and 150, of the peaks 3 and 300.
        assert_eq!((sharp.mean, sharp.spread, blunt.mean, blunt.spread), (1.5, 1.5, 150.0, 150.0));
        assert_eq!(gate.weights().collect::<Vec<_>>(), [sharp.weight, blunt.weight]);
        let map = |value: f32, width| Tensor::full(value, (1, 1, width), &Device::Cpu).unwrap();
        let combined = |widths: [usize; 2]| gate.combine(vec![map(3.0, widths[0]), map(300.0, widths[1])]);
        let values = |map: &Tensor| map.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let apart = combined([2, 1]).unwrap();
        assert_eq!([values(&apart[0]), values(&apart[1])], [vec![sharp.weight; 2], vec![blunt.weight]]);
        let together = combined([2, 2]).unwrap();
        assert_eq!(together.len(), 1);
        fmam_testkit::assert_close(&values(&together[0]), &[1.0; 2], 1e-6, 0.0);
        let saved = Checkpoint::new(gate.tensors().unwrap(), "x");
        assert_eq!(Gate::read(&saved).unwrap(), gate);
        assert!(gate.check(&saved, 2).is_ok());
        assert!(gate.check(&saved, 3).is_err());
    }
}
