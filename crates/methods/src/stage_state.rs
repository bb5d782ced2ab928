use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{Device, Tensor};
use fmam_models::{save_tensors, tensors_digest, tensors_in};
use fmam_ops::OptimizerState;
use serde::{Deserialize, Serialize};

use crate::MethodError;
use crate::checkpoint::Tensors;

/// The tensor of the numbers, as JSON.
const NUMBERS: &str = "numbers";

/// The tensor of the digest of all others.
const DIGEST: &str = "digest";

/// The beginning of the names of the tensors that the training changes.
const TRAINED: &str = "trained.";

/// The beginning of the names of the optimizer's tensors, which numbers follow.
const OPTIMIZER: &str = "optimizer.";

/// The state of a training after some of its steps: all that the steps to come depend on, beside
/// what the training was given.
#[derive(Debug, Clone, Default)]
pub(crate) struct StageState {
    /// Steps done.
    pub(crate) step: usize,
    /// Steps of the whole training.
    pub(crate) total: usize,
    /// Seconds that the steps took, over all attempts.
    pub(crate) seconds: f64,
    /// Parameters and running statistics.
    pub(crate) trained: Tensors,
    /// `None` after the last step.
    pub(crate) optimizer: Option<OptimizerState>,
    /// The mean loss of each epoch that is done.
    pub(crate) epochs: Vec<f64>,
    /// The part of the mean loss of the epoch under way.
    pub(crate) epoch_mean: f64,
    /// The loss read last.
    pub(crate) last: Option<f64>,
    /// A number that the first step found, where the method has one.
    pub(crate) found: Option<f64>,
}

/// The numbers of a state. Losses are written as the bits of an f64: they come back exactly.
#[derive(Serialize, Deserialize)]
struct Numbers {
    step: usize,
    total: usize,
    seconds: f64,
    optimizer_steps: Option<usize>,
    epochs: Vec<u64>,
    epoch_mean: u64,
    last: Option<u64>,
    found: Option<u64>,
}

impl StageState {
    /// Writes the file `path`, all or nothing.
    ///
    /// # Errors
    /// [`MethodError::Model`] naming the file.
    pub(crate) fn write(&self, path: &Path) -> Result<(), MethodError> {
        let numbers = Numbers {
            step: self.step,
            total: self.total,
            seconds: self.seconds,
            optimizer_steps: self.optimizer.as_ref().map(|optimizer| optimizer.steps),
            epochs: self.epochs.iter().map(|loss| loss.to_bits()).collect(),
            epoch_mean: self.epoch_mean.to_bits(),
            last: self.last.map(f64::to_bits),
            found: self.found.map(f64::to_bits),
        };
        let json = serde_json::to_vec(&numbers)
            .map_err(|source| MethodError::Settings { method: "a kept training", source: source.into() })?;
        let mut tensors: Tensors =
            self.trained.iter().map(|(name, tensor)| (format!("{TRAINED}{name}"), tensor.clone())).collect();
        for (k, tensor) in self.optimizer.iter().flat_map(|optimizer| optimizer.tensors.iter().enumerate()) {
            tensors.insert(format!("{OPTIMIZER}{k}"), tensor.clone());
        }
        let n = json.len();
        tensors.insert(NUMBERS.to_owned(), Tensor::from_vec(json, n, &Device::Cpu)?);
        let digest = tensors_digest(&tensors)?;
        let digest = digest.as_bytes();
        tensors.insert(DIGEST.to_owned(), Tensor::from_slice(digest, digest.len(), &Device::Cpu)?);
        Ok(save_tensors(path, &tensors)?)
    }

    /// The state in the `bytes` of the file `path`; `None` for a damaged one.
    pub(crate) fn from_bytes(bytes: &[u8], path: &Path) -> Option<Self> {
        let mut tensors = tensors_in(bytes, path).ok()?;
        let expected: Vec<u8> = tensors.remove(DIGEST)?.to_vec1().ok()?;
        if tensors_digest(&tensors).ok()?.as_bytes().as_slice() != expected {
            return None;
        }
        let numbers: Vec<u8> = tensors.remove(NUMBERS)?.to_vec1().ok()?;
        let numbers: Numbers = serde_json::from_slice(&numbers).ok()?;
        let (mut trained, mut averages) = (Tensors::new(), BTreeMap::new());
        for (name, tensor) in tensors {
            if let Some(name) = name.strip_prefix(TRAINED) {
                trained.insert(name.to_owned(), tensor);
            } else {
                averages.insert(name.strip_prefix(OPTIMIZER)?.parse::<usize>().ok()?, tensor);
            }
        }
        // In the order of the numbers, which is not that of the names.
        let tensors = averages.into_values().collect();
        Some(Self {
            step: numbers.step,
            total: numbers.total,
            seconds: numbers.seconds,
            trained,
            optimizer: numbers.optimizer_steps.map(|steps| OptimizerState { steps, tensors }),
            epochs: numbers.epochs.into_iter().map(f64::from_bits).collect(),
            epoch_mean: f64::from_bits(numbers.epoch_mean),
            last: numbers.last.map(f64::from_bits),
            found: numbers.found.map(f64::from_bits),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_state_comes_back_exactly() {
        let tensor = |values: &[f32]| Tensor::from_slice(values, values.len(), &Device::Cpu).unwrap();
        let averages: Vec<Tensor> = (0..12).map(|k| tensor(&[k as f32, 0.1 * k as f32])).collect();
        let state = StageState {
            step: 7,
            total: 20,
            seconds: 1.5,
            trained: Tensors::from([("a.weight".to_owned(), tensor(&[0.1, -0.0, f32::MIN_POSITIVE]))]),
            optimizer: Some(OptimizerState { steps: 7, tensors: averages }),
            epochs: vec![0.1 + 0.2, 1.0 / 3.0],
            epoch_mean: f64::MIN_POSITIVE,
            last: Some(-0.0),
            found: None,
        };
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s.safetensors");
        state.write(&path).unwrap();
        let back = StageState::from_bytes(&std::fs::read(&path).unwrap(), &path).unwrap();
        assert_eq!((back.step, back.total, back.seconds, back.found), (7, 20, 1.5, None));
        let bits = |losses: &[f64]| losses.iter().map(|loss| loss.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(&back.epochs), bits(&state.epochs));
        assert_eq!(bits(&[back.epoch_mean, back.last.unwrap()]), bits(&[f64::MIN_POSITIVE, -0.0]));
        let values = |tensor: &Tensor| {
            tensor.to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect::<Vec<_>>()
        };
        assert_eq!(values(&back.trained["a.weight"]), values(&state.trained["a.weight"]));
        let optimizer = back.optimizer.unwrap();
        assert_eq!(optimizer.steps, 7);
        for (k, average) in optimizer.tensors.iter().enumerate() {
            assert_eq!(average.to_vec1::<f32>().unwrap()[0], k as f32);
        }
    }
}
