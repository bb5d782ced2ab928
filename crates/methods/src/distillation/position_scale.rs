//! Mean and deviation of the distance maps of normal images, position by position. Some places of a
//! product are harder to restore than others in every image, so a distance says more in deviations
//! from the mean at its place.

use candle_core::{Device, Tensor};
use fmam_core::ImageSize;
use fmam_ops::traced;

use crate::checkpoint::{Checkpoint, Tensors};
use crate::{MethodError, Place};

/// Share of the deviation over the whole map that is added to the deviation at a position: few
/// images tell the latter badly, and places that hardly vary would be blown up.
const SHARED_DEVIATION: f64 = 0.3;

/// Mean and deviation of normal distance maps at each position of each scale.
pub(super) struct PositionScale {
    scales: Vec<Scale>,
}

struct Scale {
    mean: Tensor,
    deviation: Tensor,
}

impl PositionScale {
    /// The saved moments of `n_scales` scales.
    pub(super) fn read(saved: &Checkpoint, n_scales: usize, device: &Device) -> Result<Self, MethodError> {
        let tensor = |name: String| -> Result<Tensor, MethodError> {
            Ok(saved.tensor(&name, &[None, None])?.to_device(device)?)
        };
        let scale = |k| -> Result<Scale, MethodError> {
            Ok(Scale { mean: tensor(format!("{k}.mean"))?, deviation: tensor(format!("{k}.deviation"))? })
        };
        Ok(Self { scales: (0..n_scales).map(scale).collect::<Result<_, _>>()? })
    }

    /// The tensors that [`PositionScale::read`] takes.
    pub(super) fn tensors(&self) -> Tensors {
        let named = |(k, scale): (usize, &Scale)| {
            [(format!("{k}.mean"), scale.mean.clone()), (format!("{k}.deviation"), scale.deviation.clone())]
        };
        self.scales.iter().enumerate().flat_map(named).collect()
    }

    /// `map` of scale `k`, (N, H, W), in deviations from the mean.
    pub(super) fn apply(&self, k: usize, map: &Tensor) -> Result<Tensor, MethodError> {
        let Scale { mean, deviation } = &self.scales[k];
        Ok(traced::div(&traced::sub(map, mean)?, deviation)?)
    }
}

/// Gathers a [`PositionScale`] image by image, in f64.
#[derive(Default)]
pub(super) struct MapMoments {
    scales: Vec<Moments>,
}

struct Moments {
    shape: (usize, usize),
    /// Images that count at each position.
    counts: Vec<f64>,
    /// The first image's map, about which the sums are taken: the mean may be large beside the
    /// deviation.
    centre: Vec<f64>,
    sum: Vec<f64>,
    squares: Vec<f64>,
}

impl MapMoments {
    /// Takes in the maps of one normal image, (1, H, W) a scale, at the positions that count.
    pub(super) fn add(&mut self, maps: &[Tensor], place: Place<'_>) -> Result<(), MethodError> {
        let read = |map: &Tensor| -> Result<_, MethodError> {
            let (_, height, width) = map.dims3()?;
            let values: Vec<f64> = map.flatten_all()?.to_vec1::<f32>()?.into_iter().map(f64::from).collect();
            Ok(((height, width), values))
        };
        let maps = maps.iter().map(read).collect::<Result<Vec<_>, _>>()?;
        if self.scales.is_empty() {
            let start = |(shape, values): &((usize, usize), Vec<f64>)| Moments {
                shape: *shape,
                counts: vec![0.0; values.len()],
                centre: values.clone(),
                sum: vec![0.0; values.len()],
                squares: vec![0.0; values.len()],
            };
            self.scales = maps.iter().map(start).collect();
        }
        for (scale, ((height, width), values)) in self.scales.iter_mut().zip(maps) {
            let cells = place.cells(ImageSize::new(height, width));
            let counts = |at: usize| cells.as_ref().is_none_or(|cells| cells[at]);
            for (at, value) in values.into_iter().enumerate().filter(|(at, _)| counts(*at)) {
                scale.counts[at] += 1.0;
                let difference = value - scale.centre[at];
                scale.sum[at] += difference;
                scale.squares[at] += difference * difference;
            }
        }
        Ok(())
    }

    /// The scale of the maps taken in.
    pub(super) fn scale(&self, device: &Device) -> Result<PositionScale, MethodError> {
        let scales = self.scales.iter().map(|scale| scale.moments(device));
        Ok(PositionScale { scales: scales.collect::<Result<_, _>>()? })
    }
}

impl Moments {
    fn moments(&self, device: &Device) -> Result<Scale, MethodError> {
        // A position that counts in no image is never judged: the 1 avoids 0 / 0.
        let count = |at: usize| self.counts[at].max(1.0);
        let shift: Vec<f64> = self.sum.iter().enumerate().map(|(at, sum)| sum / count(at)).collect();
        let mean: Vec<f64> = shift.iter().zip(&self.centre).map(|(shift, centre)| shift + centre).collect();
        let squares = self.squares.iter().zip(&shift).enumerate();
        let variance: Vec<f64> = squares.map(|(at, (s, m))| (s / count(at) - m * m).max(0.0)).collect();
        let n_counted = self.counts.iter().filter(|count| **count > 0.0).count() as f64;
        let average = |values: &[f64]| {
            let counted = values.iter().zip(&self.counts).filter(|(_, count)| **count > 0.0);
            counted.map(|(value, _)| value).sum::<f64>() / n_counted.max(1.0)
        };
        let overall = average(&mean);
        let spread: Vec<f64> = mean.iter().map(|mean| (mean - overall).powi(2)).collect();
        // Of all positions of all images: what varies at a position, and what varies between
        // positions.
        let shared = SHARED_DEVIATION * (average(&variance) + average(&spread)).sqrt();
        let deviation = variance.iter().map(|variance| (variance.sqrt() + shared).max(1e-12) as f32);
        let tensor = |values: Vec<f32>| Tensor::from_vec(values, self.shape, device);
        Ok(Scale {
            mean: tensor(mean.iter().map(|&mean| mean as f32).collect())?,
            deviation: tensor(deviation.collect())?,
        })
    }
}

#[cfg(test)]
mod tests {
    use fmam_core::Mask;

    use super::*;

    fn map(values: [f32; 2]) -> Tensor {
        Tensor::new(&[[values]], &Device::Cpu).unwrap()
    }

    #[test]
    fn a_position_is_measured_in_the_images_that_count_there() {
        let inside = Mask::from_fn(ImageSize::new(1, 2), |_, x| x == 0);
        let mut moments = MapMoments::default();
        moments.add(&[map([1.0, 100.0])], Place { tile: 0, inside: Some(&inside) }).unwrap();
        moments.add(&[map([3.0, 10.0])], Place::default()).unwrap();
        let tensors = moments.scale(&Device::Cpu).unwrap().tensors();
        let mean = tensors["0.mean"].flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(mean, [2.0, 10.0]);
    }

    #[test]
    fn maps_are_measured_position_by_position() {
        let mut moments = MapMoments::default();
        for values in [[1.0, 10.0], [3.0, 10.0]] {
            moments.add(&[map(values)], Place::default()).unwrap();
        }
        let scale = moments.scale(&Device::Cpu).unwrap();
        // Means 2 and 10, deviations 1 and 0; over all: variance 1/2 within and 16 between
        // positions.
        let shared = 0.3 * 16.5_f32.sqrt();
        let saved = Checkpoint::new(scale.tensors(), "x");
        let again = PositionScale::read(&saved, 1, &Device::Cpu).unwrap();
        let scored =
            again.apply(0, &map([4.0, 11.0])).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert!((scored[0] - 2.0 / (1.0 + shared)).abs() < 1e-6, "{scored:?}");
        assert!((scored[1] - 1.0 / shared).abs() < 1e-6, "{scored:?}");
        assert!(PositionScale::read(&saved, 2, &Device::Cpu).is_err());
    }
}
