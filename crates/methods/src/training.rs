//! The training loop that every gradient-based method runs: batches in a seeded order, loaded and
//! prepared ahead by other threads, one optimizer step each.

use std::sync::OnceLock;

use candle_core::{Device, Tensor, Var};
use fmam_core::{CurvePoint, Mask, RgbImage, SampleSource, Seed, StageId, StagePlan, ordered_map};
use fmam_models::{Params, to_batch};
use fmam_ops::{Adam, AdamConfig, Optimizer, Sgd, SgdConfig, gradients, on_workers};
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

use crate::batch_inside::BatchInside;
use crate::kept_training::KeptStage;
use crate::settings::{Check, Settings};
use crate::stage_state::StageState;
use crate::training_image::TrainingImage;
use crate::{MethodError, RunContext};

/// The optimizer that trains a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OptimizerKind {
    /// Adam with betas (0.5, 0.999), as Deng and Li 2022 train.
    Adam,
    /// SGD with momentum 0.9, as Wang et al. 2021 train.
    Sgd,
}

/// The course of the learning rate over a training.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Schedule {
    /// The same rate at every step.
    Constant,
    /// Falls along half a cosine towards zero, which the step after the last would reach.
    Cosine,
}

/// The training of a network: settings of every method that trains one.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TrainingConfig {
    /// Passes over the training images.
    pub epochs: usize,
    /// Training images in a step; a method that makes defects of them sees those too.
    pub batch_size: usize,
    /// The optimizer.
    pub optimizer: OptimizerKind,
    /// Step size.
    pub learning_rate: f64,
    /// L2 penalty.
    pub weight_decay: f64,
    /// The course of the step size.
    pub schedule: Schedule,
}

impl TrainingConfig {
    /// The defaults of a method that has no reason for others.
    pub(crate) const STANDARD: Self = Self {
        epochs: 100,
        batch_size: 8,
        optimizer: OptimizerKind::Adam,
        learning_rate: 1e-3,
        weight_decay: 0.0,
        schedule: Schedule::Cosine,
    };

    /// The length of this training as the stage `id`.
    pub(crate) fn planned(&self, id: StageId) -> StagePlan {
        StagePlan { id, epochs: self.epochs as u64 }
    }

    /// This training as the stage `id`.
    pub(crate) fn stage<'a>(self, id: StageId) -> TrainingStage<'a> {
        TrainingStage { id, config: self, found: None }
    }
}

impl Settings for TrainingConfig {
    fn check(&self, check: &mut Check) {
        let epochs = self.epochs;
        check.require("epochs", (1..=MAX_EPOCHS).contains(&epochs), "from 1 to 1000000", epochs);
        check.at_least_one("batch_size", self.batch_size);
        check.learning_rate("learning_rate", self.learning_rate);
        check.not_negative("weight_decay", self.weight_decay);
    }
}

/// One training with the stage that it is announced as.
#[derive(Debug, Clone)]
pub(crate) struct TrainingStage<'a> {
    id: StageId,
    config: TrainingConfig,
    /// A number that the first step finds and later steps use.
    found: Option<&'a OnceLock<f64>>,
}

/// One sample as it was loaded, with its index and the seed that belongs to it in this epoch.
pub(crate) struct Loaded {
    pub(crate) index: usize,
    pub(crate) image: RgbImage,
    /// The pixels that count; `None` where all do.
    pub(crate) inside: Option<Mask>,
    pub(crate) seed: Seed,
}

/// More epochs would take years, and products of them could overflow.
pub(crate) const MAX_EPOCHS: usize = 1_000_000;

impl<'a> TrainingStage<'a> {
    /// The stage, of which the first step finds the number `found`: an interrupted training that
    /// goes on has it again.
    pub(crate) fn finding(self, found: &'a OnceLock<f64>) -> Self {
        Self { found: Some(found), ..self }
    }

    /// Trains the parameters `params`. `prepare` turns loaded samples into a batch on a loader
    /// thread; `loss` builds the graph of a batch on this one. Where the fit keeps the state of its
    /// trainings, this one goes on from what is kept.
    pub(crate) fn run<B: Send>(
        &self,
        params: &Params,
        source: &dyn SampleSource,
        run: &RunContext<'_>,
        prepare: impl Fn(Vec<Loaded>) -> Result<B, MethodError> + Sync,
        mut loss: impl FnMut(B) -> Result<Tensor, MethodError> + Send,
    ) -> Result<Vec<CurvePoint>, MethodError> {
        if source.is_empty() {
            return Err(MethodError::NoTrainingImages);
        }
        let batch_size = self.config.batch_size.min(source.len());
        // The rest of an epoch that fills no batch is left out: batch statistics of a few images
        // would be noise.
        let batches = source.len() / batch_size;
        let total = batches * self.config.epochs;
        let seed = run.seed.derive(self.id.as_str());
        let order = |epoch: usize| {
            let mut order: Vec<usize> = (0..source.len()).collect();
            order.shuffle(&mut seed.derive("order").derive_index(epoch as u64).rng());
            order
        };
        let load = |step: usize| {
            let (epoch, batch) = (step / batches, step % batches);
            let samples = order(epoch)[batch * batch_size..(batch + 1) * batch_size]
                .iter()
                .map(|&index| {
                    let TrainingImage { image, inside, .. } = TrainingImage::load(source, index)?;
                    let seed = seed.derive("sample").derive_index((epoch * source.len() + index) as u64);
                    Ok(Loaded { index, image, inside, seed })
                })
                .collect::<Result<Vec<_>, MethodError>>()?;
            prepare(samples)
        };
        let mut training = Training {
            stage: self,
            params,
            optimizer: self.optimizer(params.vars())?,
            losses: Losses::new(&self.id, batches, &run.device),
            total,
            device: run.device.clone(),
        };
        let mut kept = run.kept.map(|kept| kept.next_stage(&self.id));
        let first = match &mut kept {
            Some(kept) => training.restore(kept)?,
            None => 0,
        };
        run.progress.start(&self.id, total as u64);
        ordered_map(
            total - first,
            run.loader_threads,
            run.loader_threads + 1,
            |k| load(first + k),
            |k, batch| {
                let step = first + k;
                if run.progress.cancelled() {
                    if let Some(kept) = &mut kept
                        && step > first
                    {
                        training.keep(step, kept)?;
                    }
                    return Err(MethodError::Cancelled);
                }
                training.optimizer.set_learning_rate(self.learning_rate_at(step, total));
                let batch = batch?;
                let loss = on_workers(|| -> Result<Tensor, MethodError> {
                    let (loss, found) = gradients(|| loss(batch))?;
                    training.optimizer.step(&found)?;
                    Ok(loss)
                });
                let seen = loss.and_then(|loss| training.losses.add(step, loss));
                seen.map_err(|error| self.memory_error(error, batch_size))?;
                if let Some(kept) = &mut kept
                    && kept.is_due()
                {
                    training.keep(step + 1, kept)?;
                }
                let loss = training.losses.last.map_or(String::new(), |loss| format!(", loss {loss:.4}"));
                let detail = format!("epoch {}/{}{loss}", step / batches + 1, self.config.epochs);
                run.progress.update(step as u64 + 1, &detail);
                Ok(())
            },
        )?;
        run.progress.finish();
        // The last step's effect shows in no loss.
        for var in params.vars() {
            if !var.sum_all()?.to_scalar::<f32>()?.is_finite() {
                return Err(MethodError::Diverged {
                    stage: self.id.clone(),
                    epoch: self.config.epochs,
                    loss: f64::NAN,
                });
            }
        }
        if let Some(kept) = &mut kept
            && first < total
            && kept.is_worth_keeping()
        {
            training.keep(total, kept)?;
        }
        Ok(training.losses.curve())
    }

    fn optimizer(&self, vars: Vec<Var>) -> Result<Box<dyn Optimizer + Send>, MethodError> {
        let (learning_rate, weight_decay) = (self.config.learning_rate, self.config.weight_decay);
        Ok(match self.config.optimizer {
            OptimizerKind::Adam => Box::new(Adam::new(
                vars,
                AdamConfig { learning_rate, betas: (0.5, 0.999), weight_decay, ..AdamConfig::default() },
            )?),
            OptimizerKind::Sgd => {
                Box::new(Sgd::new(vars, SgdConfig { learning_rate, momentum: 0.9, weight_decay })?)
            }
        })
    }

    /// A device without memory for a step of `batch_size` images says so in its own words, which
    /// help nobody.
    fn memory_error(&self, error: MethodError, batch_size: usize) -> MethodError {
        if error.is_out_of_memory() {
            return MethodError::OutOfMemory { stage: self.id.clone(), batch_size, source: Box::new(error) };
        }
        error
    }

    fn learning_rate_at(&self, step: usize, total: usize) -> f64 {
        match self.config.schedule {
            Schedule::Constant => self.config.learning_rate,
            Schedule::Cosine => {
                let done = step as f64 / total as f64;
                self.config.learning_rate * 0.5 * (1.0 + (std::f64::consts::PI * done).cos())
            }
        }
    }
}

/// A training with all that its steps change.
struct Training<'a> {
    stage: &'a TrainingStage<'a>,
    params: &'a Params,
    optimizer: Box<dyn Optimizer + Send>,
    losses: Losses<'a>,
    /// Steps of the whole training.
    total: usize,
    device: Device,
}

impl Training<'_> {
    /// Goes back to the state that `kept` has of this training; the steps that it has done, 0
    /// without one.
    fn restore(&mut self, kept: &mut KeptStage<'_>) -> Result<usize, MethodError> {
        let Some(state) = kept.read()? else { return Ok(0) };
        let vars = self.params.trained();
        let fits = |(name, var): (&String, &Var)| {
            state.trained.get(name).is_some_and(|tensor| tensor.dims() == var.dims())
        };
        let is_whole = state.optimizer.is_some() || state.step == state.total;
        if !is_whole || state.total != self.total || state.step > self.total || !vars.iter().all(fits) {
            kept.tell_unusable();
            return Ok(0);
        }
        if let Some(mut optimizer) = state.optimizer.clone() {
            for tensor in &mut optimizer.tensors {
                *tensor = tensor.to_device(&self.device)?;
            }
            if self.optimizer.restore(&optimizer).is_err() {
                kept.tell_unusable();
                return Ok(0);
            }
        }
        for (name, var) in &vars {
            if let Some(tensor) = state.trained.get(name) {
                var.set(&tensor.to_device(&self.device)?)?;
            }
        }
        if let (Some(place), Some(found)) = (self.stage.found, state.found) {
            let _ = place.set(found);
        }
        kept.goes_on_from(&state);
        self.losses.epochs = state.epochs;
        self.losses.epoch_mean = state.epoch_mean;
        self.losses.last = state.last;
        Ok(state.step)
    }

    /// Keeps the state after `step` steps.
    fn keep(&mut self, step: usize, kept: &mut KeptStage<'_>) -> Result<(), MethodError> {
        self.losses.read(step.saturating_sub(1))?;
        let vars = self.params.trained().into_iter();
        kept.write(&StageState {
            step,
            total: self.total,
            seconds: kept.seconds(),
            trained: vars.map(|(name, var)| (name, var.as_detached_tensor())).collect(),
            optimizer: if step < self.total { Some(self.optimizer.state()?) } else { None },
            epochs: self.losses.epochs.clone(),
            epoch_mean: self.losses.epoch_mean,
            last: self.losses.last,
            found: self.stage.found.and_then(|found| found.get().copied()),
        });
        Ok(())
    }
}

/// The losses of a training as they are read from the device.
struct Losses<'a> {
    stage: &'a StageId,
    /// Steps of an epoch.
    batches: usize,
    /// Steps between two readings. To read a loss, the host waits until a GPU has done all its
    /// work.
    every: usize,
    /// The losses not yet read, each a scalar.
    unread: Vec<Tensor>,
    /// The mean over each epoch that is done.
    epochs: Vec<f64>,
    /// Mean over the epoch under way, as far as losses have been read.
    epoch_mean: f64,
    /// The loss read last.
    last: Option<f64>,
}

impl<'a> Losses<'a> {
    /// Steps between two readings of a GPU.
    const UNREAD: usize = 16;

    fn new(stage: &'a StageId, batches: usize, device: &Device) -> Self {
        let every = if device.is_cpu() { 1 } else { Self::UNREAD };
        Self { stage, batches, every, unread: Vec::new(), epochs: Vec::new(), epoch_mean: 0.0, last: None }
    }

    /// Takes the loss of `step`.
    fn add(&mut self, step: usize, loss: Tensor) -> Result<(), MethodError> {
        self.unread.push(loss);
        let ends_epoch = (step + 1).is_multiple_of(self.batches);
        if !ends_epoch && self.unread.len() < self.every {
            return Ok(());
        }
        self.read(step)?;
        if ends_epoch {
            self.epochs.push(std::mem::take(&mut self.epoch_mean));
        }
        Ok(())
    }

    /// Reads the losses up to that of `step`.
    fn read(&mut self, step: usize) -> Result<(), MethodError> {
        if self.unread.is_empty() {
            return Ok(());
        }
        for value in Tensor::stack(&std::mem::take(&mut self.unread), 0)?.to_vec1::<f32>()? {
            let loss = f64::from(value);
            if !loss.is_finite() {
                let epoch = step / self.batches + 1;
                return Err(MethodError::Diverged { stage: self.stage.clone(), epoch, loss });
            }
            self.epoch_mean += loss / self.batches as f64;
            self.last = Some(loss);
        }
        Ok(())
    }

    /// The loss of each epoch that is done.
    fn curve(&self) -> Vec<CurvePoint> {
        let point =
            |(k, &loss): (usize, &f64)| CurvePoint { stage: self.stage.to_string(), epoch: k + 1, loss };
        self.epochs.iter().enumerate().map(point).collect()
    }
}

/// Training images as one batch.
pub(crate) struct IndexedBatch {
    /// Their positions in the source.
    pub(crate) indices: Vec<usize>,
    /// `[N, 3, H, W]`.
    pub(crate) images: Tensor,
    /// The pixels that count; `None` where all do.
    pub(crate) inside: Option<BatchInside>,
}

impl IndexedBatch {
    /// The batch of `samples`.
    pub(crate) fn new(samples: Vec<Loaded>, run: &RunContext<'_>) -> Result<Self, MethodError> {
        let (mut indices, mut images, mut masks) = (Vec::new(), Vec::new(), Vec::new());
        for Loaded { index, image, inside, .. } in samples {
            indices.push(index);
            images.push(image);
            masks.push(inside);
        }
        let images = to_batch(&images, run.backbone.preprocess(), &run.device)?;
        Ok(Self { indices, images, inside: BatchInside::new(masks) })
    }
}

/// The loss of a pyramid: the sum of those of its scales, of which there is at least one.
pub(crate) fn sum_of_scales(
    losses: impl Iterator<Item = Result<Tensor, MethodError>>,
) -> Result<Tensor, MethodError> {
    let sum = |total: Result<Tensor, MethodError>, loss: Result<Tensor, MethodError>| Ok((total? + loss?)?);
    losses.reduce(sum).ok_or(MethodError::NoTrainingImages)?
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The curve of `losses` in epochs of 5 steps, read every `every` steps, and the loss shown
    /// after each step.
    fn read(every: usize, losses: &[f32]) -> (Vec<CurvePoint>, Vec<Option<f64>>) {
        let stage = StageId::new("student");
        let mut reader = Losses { every, ..Losses::new(&stage, 5, &Device::Cpu) };
        let mut shown = Vec::new();
        for (step, &loss) in losses.iter().enumerate() {
            reader.add(step, Tensor::new(loss, &Device::Cpu).unwrap()).unwrap();
            shown.push(reader.last);
        }
        (reader.curve(), shown)
    }

    #[test]
    fn losses_that_are_read_together_give_the_same_curve() {
        let losses: Vec<f32> = (0..15).map(|k| 1.0 / (k as f32 + 3.0)).collect();
        let (curve, shown) = read(1, &losses);
        assert_eq!(curve.iter().map(|point| point.epoch).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(shown[7], Some(f64::from(losses[7])));
        for every in [2, 16] {
            let (same, later) = read(every, &losses);
            let pairs = |curve: &[CurvePoint]| curve.iter().map(|p| (p.epoch, p.loss)).collect::<Vec<_>>();
            assert_eq!(pairs(&same), pairs(&curve), "{every}");
            // An epoch's last loss is always read.
            assert_eq!(later[14], Some(f64::from(losses[14])), "{every}");
        }
        assert_eq!(read(16, &losses).1[3], None);
    }

    #[test]
    fn a_loss_that_is_not_finite_ends_the_epoch_that_has_it() {
        let stage = StageId::new("student");
        let mut reader = Losses { every: 3, ..Losses::new(&stage, 5, &Device::Cpu) };
        let mut add = |step, loss: f32| reader.add(step, Tensor::new(loss, &Device::Cpu).unwrap());
        add(5, f32::NAN).unwrap();
        add(6, 1.0).unwrap();
        let error = add(7, 1.0).unwrap_err();
        assert!(matches!(error, MethodError::Diverged { epoch: 2, loss, .. } if loss.is_nan()));
    }

    #[test]
    fn a_full_device_names_the_batch() {
        let stage = TrainingConfig::STANDARD.stage(StageId::new("student"));
        let full = || {
            candle_core::Error::Msg("DriverError(CUDA_ERROR_OUT_OF_MEMORY, \"out of memory\")".into()).into()
        };
        let told = stage.memory_error(full(), 16).to_string();
        assert!(told.contains("student") && told.contains("batch_size = 16"), "{told}");
        let other = stage.memory_error(candle_core::Error::Msg("other".into()).into(), 4);
        assert!(!matches!(other, MethodError::OutOfMemory { .. }));
    }
}
