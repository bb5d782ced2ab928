use std::cell::RefCell;

use candle_core::backprop::GradStore;
use candle_core::{CpuStorage, Error, InplaceOp2, Layout, Result, Tensor, Var};
use rayon::prelude::*;

use crate::cpu::host::{elements, is_native, vectorized};

/// Changes variables along their gradients.
pub trait Optimizer {
    /// One step. A variable without a gradient stays as it is.
    ///
    /// # Errors
    /// When the device fails.
    fn step(&mut self, grads: &GradStore) -> Result<()>;

    /// Sets the learning rate of the following steps.
    fn set_learning_rate(&mut self, learning_rate: f64);

    /// What makes up the whole state together with the variables: save both to go on later.
    ///
    /// # Errors
    /// When the device fails.
    fn state(&self) -> Result<OptimizerState>;

    /// Goes back to what [`Optimizer::state`] gave.
    ///
    /// # Errors
    /// When the number of tensors or a shape differs.
    fn restore(&mut self, state: &OptimizerState) -> Result<()>;
}

/// State of an [`Optimizer`].
#[derive(Debug, Clone)]
pub struct OptimizerState {
    /// Steps done.
    pub steps: usize,
    /// Running averages, in an order and of shapes that depend on the variables alone.
    pub tensors: Vec<Tensor>,
}

/// Settings of [`Adam`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AdamConfig {
    /// Step size.
    pub learning_rate: f64,
    /// Decay of the mean of gradients and of their squares, each in 0..1.
    pub betas: (f64, f64),
    /// Added to the root of the second moment.
    pub epsilon: f64,
    /// L2 penalty, added to the gradient.
    pub weight_decay: f64,
}

impl Default for AdamConfig {
    fn default() -> Self {
        Self { learning_rate: 1e-3, betas: (0.9, 0.999), epsilon: 1e-8, weight_decay: 0.0 }
    }
}

/// Adam with bias correction (Kingma and Ba 2015), as `torch.optim.Adam` computes it. On the CPU path a step reads and
/// writes each parameter and average once.
#[derive(Debug)]
pub struct Adam {
    config: AdamConfig,
    vars: Vec<Var>,
    /// Mean of the gradients and of their squares.
    moments: Vec<[Average; 2]>,
    steps: usize,
}

impl Adam {
    /// An optimizer of `vars`, before its first step.
    ///
    /// # Errors
    /// When the device fails.
    pub fn new(vars: Vec<Var>, config: AdamConfig) -> Result<Self> {
        let zeros = |var: &Var| Ok([Average::zeros(var)?, Average::zeros(var)?]);
        let moments = vars.iter().map(zeros).collect::<Result<_>>()?;
        Ok(Self { config, vars, moments, steps: 0 })
    }
}

impl Optimizer for Adam {
    fn step(&mut self, grads: &GradStore) -> Result<()> {
        self.steps += 1;
        let AdamConfig { betas: (b1, b2), epsilon, weight_decay, learning_rate } = self.config;
        let correction = |beta: f64| 1.0 - beta.powi(i32::try_from(self.steps).unwrap_or(i32::MAX));
        let step = learning_rate / correction(b1);
        let root = correction(b2).sqrt();
        for (var, moments) in self.vars.iter().zip(&mut self.moments) {
            let Some(grad) = grads.get(var) else { continue };
            match moments {
                [Average::Host(mean), Average::Host(square)] => {
                    let averages = RefCell::new([mean.as_mut_slice(), square.as_mut_slice()]);
                    let [b1, b2, step, root, epsilon, decay] =
                        [b1, b2, step, root, epsilon, weight_decay].map(|v| v as f32);
                    let update = |p: &mut f32, g: f32, [m, s]: [&mut f32; 2]| {
                        let g = g + decay * *p;
                        *m = b1 * *m + (1.0 - b1) * g;
                        *s = b2 * *s + (1.0 - b2) * g * g;
                        *p -= step * *m / (s.sqrt() / root + epsilon);
                    };
                    var.inplace_op2(&grad.contiguous()?, &Step { name: "adam", averages, update })?;
                }
                [Average::Device(mean), Average::Device(square)] => {
                    let grad = decayed(grad, var, weight_decay)?;
                    *mean = ((&*mean * b1)? + (&grad * (1.0 - b1))?)?;
                    *square = ((&*square * b2)? + (grad.sqr()? * (1.0 - b2))?)?;
                    let denominator = ((square.sqrt()? / root)? + epsilon)?;
                    var.set(&var.detach().sub(&(mean.div(&denominator)? * step)?)?)?;
                }
                // Both are made for one variable.
                _ => return Err(Error::Msg("adam: averages of two kinds".into()).bt()),
            }
        }
        Ok(())
    }

    fn set_learning_rate(&mut self, learning_rate: f64) {
        self.config.learning_rate = learning_rate;
    }

    fn state(&self) -> Result<OptimizerState> {
        let averages =
            self.vars.iter().zip(&self.moments).flat_map(|(var, m)| m.iter().map(move |m| (var, m)));
        let tensors = averages.map(|(var, average)| average.tensor(var)).collect::<Result<_>>()?;
        Ok(OptimizerState { steps: self.steps, tensors })
    }

    fn restore(&mut self, state: &OptimizerState) -> Result<()> {
        check_state(state, self.vars.iter().flat_map(|var| [var, var]))?;
        let pairs = self.vars.iter().zip(state.tensors.chunks_exact(2));
        self.moments = pairs
            .map(|(var, pair)| {
                Ok([Average::from_tensor(&pair[0], var)?, Average::from_tensor(&pair[1], var)?])
            })
            .collect::<Result<_>>()?;
        self.steps = state.steps;
        Ok(())
    }
}

/// Settings of [`Sgd`].
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SgdConfig {
    /// Step size.
    pub learning_rate: f64,
    /// Decay of the velocity, in 0..1.
    pub momentum: f64,
    /// L2 penalty, added to the gradient.
    pub weight_decay: f64,
}

/// Stochastic gradient descent with momentum, as `torch.optim.SGD` computes it (no dampening, not Nesterov). On the CPU
/// path a step reads and writes each parameter and velocity once.
#[derive(Debug)]
pub struct Sgd {
    config: SgdConfig,
    vars: Vec<Var>,
    velocities: Vec<Average>,
    steps: usize,
}

impl Sgd {
    /// An optimizer of `vars`, before its first step.
    ///
    /// # Errors
    /// When the device fails.
    pub fn new(vars: Vec<Var>, config: SgdConfig) -> Result<Self> {
        let velocities = vars.iter().map(Average::zeros).collect::<Result<_>>()?;
        Ok(Self { config, vars, velocities, steps: 0 })
    }
}

impl Optimizer for Sgd {
    fn step(&mut self, grads: &GradStore) -> Result<()> {
        self.steps += 1;
        let SgdConfig { learning_rate, momentum, weight_decay } = self.config;
        for (var, velocity) in self.vars.iter().zip(&mut self.velocities) {
            let Some(grad) = grads.get(var) else { continue };
            match velocity {
                Average::Host(velocity) => {
                    let averages = RefCell::new([velocity.as_mut_slice()]);
                    let [rate, momentum, decay] = [learning_rate, momentum, weight_decay].map(|v| v as f32);
                    let update = |p: &mut f32, g: f32, [v]: [&mut f32; 1]| {
                        *v = momentum * *v + (g + decay * *p);
                        *p -= rate * *v;
                    };
                    var.inplace_op2(&grad.contiguous()?, &Step { name: "sgd", averages, update })?;
                }
                Average::Device(velocity) => {
                    let grad = decayed(grad, var, weight_decay)?;
                    *velocity = ((&*velocity * momentum)? + grad)?;
                    var.set(&var.detach().sub(&(&*velocity * learning_rate)?)?)?;
                }
            }
        }
        Ok(())
    }

    fn set_learning_rate(&mut self, learning_rate: f64) {
        self.config.learning_rate = learning_rate;
    }

    fn state(&self) -> Result<OptimizerState> {
        let averages = self.vars.iter().zip(&self.velocities);
        let tensors = averages.map(|(var, average)| average.tensor(var)).collect::<Result<_>>()?;
        Ok(OptimizerState { steps: self.steps, tensors })
    }

    fn restore(&mut self, state: &OptimizerState) -> Result<()> {
        check_state(state, self.vars.iter())?;
        let pairs = self.vars.iter().zip(&state.tensors);
        self.velocities = pairs.map(|(var, t)| Average::from_tensor(t, var)).collect::<Result<_>>()?;
        self.steps = state.steps;
        Ok(())
    }
}

/// A running average over steps, where the variable's path needs it.
#[derive(Debug)]
enum Average {
    Host(Vec<f32>),
    Device(Tensor),
}

impl Average {
    fn zeros(var: &Var) -> Result<Self> {
        Self::from_tensor(&var.zeros_like()?.detach(), var)
    }

    fn from_tensor(tensor: &Tensor, var: &Var) -> Result<Self> {
        let tensor = tensor.detach().to_dtype(var.dtype())?.to_device(var.device())?;
        Ok(if is_native(var) { Self::Host(tensor.flatten_all()?.to_vec1()?) } else { Self::Device(tensor) })
    }

    fn tensor(&self, var: &Var) -> Result<Tensor> {
        match self {
            Self::Host(values) => Tensor::from_slice(values, var.shape(), var.device()),
            Self::Device(tensor) => Ok(tensor.clone()),
        }
    }
}

/// One pass over a parameter, its gradient and its `N` averages.
struct Step<'a, F, const N: usize> {
    name: &'static str,
    averages: RefCell<[&'a mut [f32]; N]>,
    update: F,
}

impl<F, const N: usize> InplaceOp2 for Step<'_, F, N>
where
    F: Fn(&mut f32, f32, [&mut f32; N]) + Sync,
{
    fn name(&self) -> &'static str {
        self.name
    }

    fn cpu_fwd(&self, s1: &mut CpuStorage, l1: &Layout, s2: &CpuStorage, l2: &Layout) -> Result<()> {
        let (CpuStorage::F32(parameter), Some((start, end))) = (s1, l1.contiguous_offsets()) else {
            return Err(Error::RequiresContiguous { op: self.name }.bt());
        };
        let (mut parameter, mut grad) = (&mut parameter[start..end], elements(s2, l2)?);
        let mut averages = self.averages.borrow_mut();
        let mut averages = averages.each_mut().map(|average| &mut **average);
        // Pieces for all threads, cut by hand: there is one slice for each average.
        let mut pieces = Vec::with_capacity(grad.len().div_ceil(PIECE));
        while !grad.is_empty() {
            let at = grad.len().min(PIECE);
            let p = parameter.split_off_mut(..at).unwrap_or_default();
            let g = grad.split_off(..at).unwrap_or_default();
            pieces.push((p, g, averages.each_mut().map(|a| a.split_off_mut(..at).unwrap_or_default())));
        }
        let update = &self.update;
        pieces.into_par_iter().for_each(|(p, g, mut averages)| {
            vectorized(|| {
                for i in 0..g.len() {
                    update(&mut p[i], g[i], averages.each_mut().map(|a| &mut a[i]));
                }
            });
        });
        Ok(())
    }
}

/// Elements to a parallel piece.
const PIECE: usize = 1 << 15;

fn decayed(grad: &Tensor, var: &Var, weight_decay: f64) -> Result<Tensor> {
    let grad = grad.detach();
    if weight_decay == 0.0 { Ok(grad) } else { grad + (var.detach() * weight_decay)? }
}

fn check_state<'a>(state: &OptimizerState, vars: impl Iterator<Item = &'a Var>) -> Result<()> {
    let expected: Vec<&[usize]> = vars.map(|var| var.dims()).collect();
    let actual: Vec<&[usize]> = state.tensors.iter().map(Tensor::dims).collect();
    if expected == actual {
        return Ok(());
    }
    Err(Error::Msg(format!(
        "optimizer state does not fit: {} tensors of the wrong number or shape, expected {}",
        actual.len(),
        expected.len()
    ))
    .bt())
}
