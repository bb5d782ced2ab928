//! Optimizers.

use candle_core::backprop::GradStore;
use candle_core::{DType, Error, Result, Tensor, Var};

use crate::cuda::{AdamStep, FlatAverages, SgdStep};
use crate::error::OpsError;
use crate::kernels::{Kernels, Path, default_kernels};
use crate::{cpu, cuda};

/// Changes variables along their gradients.
pub trait Optimizer {
    /// One step. A variable without a gradient stays as it is.
    ///
    /// # Errors
    /// Fails if the device fails.
    fn step(&mut self, grads: &GradStore) -> Result<()>;

    /// Sets the learning rate of the following steps.
    fn set_learning_rate(&mut self, learning_rate: f64);

    /// The state beside the variables: a program that saves both can go on later.
    ///
    /// # Errors
    /// Fails if the device fails.
    fn state(&self) -> Result<OptimizerState>;

    /// Goes back to a state that [`Optimizer::state`] gave.
    ///
    /// # Errors
    /// Fails if the number of tensors or a shape differs.
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

/// Adam with bias correction (Kingma and Ba 2015), as `torch.optim.Adam` computes it. With native
/// kernels a step reads and writes each parameter and average once.
#[derive(Debug)]
pub struct Adam {
    config: AdamConfig,
    vars: Vec<Var>,
    /// Mean of the gradients and of their squares.
    moments: AllAverages<2>,
    steps: usize,
}

impl Adam {
    /// [`Adam::with_kernels`] for the default kernels.
    ///
    /// # Errors
    /// Fails if the device fails.
    pub fn new(vars: Vec<Var>, config: AdamConfig) -> Result<Self> {
        Self::with_kernels(vars, config, default_kernels())
    }

    /// An optimizer of `vars`, before its first step.
    ///
    /// # Errors
    /// Fails if the device fails.
    pub fn with_kernels(vars: Vec<Var>, config: AdamConfig, kernels: Kernels) -> Result<Self> {
        let moments = AllAverages::zeros(&vars, kernels)?;
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
        let composed = |var: &Tensor, grad: &Tensor, [mean, square]: &[Tensor; 2]| {
            let grad = decayed(grad, var, weight_decay)?;
            let mean = ((mean * b1)? + (&grad * (1.0 - b1))?)?;
            let square = ((square * b2)? + (grad.sqr()? * (1.0 - b2))?)?;
            let denominator = ((square.sqrt()? / root)? + epsilon)?;
            Ok((var.sub(&(mean.div(&denominator)? * step)?)?, [mean, square]))
        };
        let moments = match self.moments.of_step(&self.vars, grads)? {
            AllAverages::Together(averages) => {
                return step_together(&self.vars, grads, averages, composed);
            }
            AllAverages::Flat(averages) => {
                let [step, root, epsilon, decay] = [step, root, epsilon, weight_decay].map(|v| v as f32);
                let step = AdamStep { betas: (b1 as f32, b2 as f32), step, root, epsilon, decay };
                return cuda::adam(averages, &self.vars, grads, &step);
            }
            AllAverages::Apart(moments) => moments,
        };
        for (var, moments) in self.vars.iter().zip(moments) {
            let Some(grad) = grads.get(var) else { continue };
            match moments {
                Averages::Native(moments) => {
                    let [b1, b2, step, root, epsilon, decay] =
                        [b1, b2, step, root, epsilon, weight_decay].map(|v| v as f32);
                    cpu::update("adam", var, grad, moments, |p: &mut f32, g: f32, [m, s]| {
                        let g = g + decay * *p;
                        *m = b1 * *m + (1.0 - b1) * g;
                        *s = b2 * *s + (1.0 - b2) * g * g;
                        *p -= step * *m / (s.sqrt() / root + epsilon);
                    })?;
                }
                Averages::Composed(moments) => {
                    let (changed, next) = composed(&var.as_detached_tensor(), grad, moments)?;
                    *moments = next;
                    var.set(&changed)?;
                }
            }
        }
        Ok(())
    }

    fn set_learning_rate(&mut self, learning_rate: f64) {
        self.config.learning_rate = learning_rate;
    }

    fn state(&self) -> Result<OptimizerState> {
        Ok(OptimizerState { steps: self.steps, tensors: self.moments.tensors(&self.vars)? })
    }

    fn restore(&mut self, state: &OptimizerState) -> Result<()> {
        self.moments = self.moments.restored(&self.vars, &state.tensors)?;
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

/// Stochastic gradient descent with momentum, as `torch.optim.SGD` computes it (no dampening, not
/// Nesterov). With native kernels a step reads and writes each parameter and velocity once.
#[derive(Debug)]
pub struct Sgd {
    config: SgdConfig,
    vars: Vec<Var>,
    velocities: AllAverages<1>,
    steps: usize,
}

impl Sgd {
    /// [`Sgd::with_kernels`] for the default kernels.
    ///
    /// # Errors
    /// Fails if the device fails.
    pub fn new(vars: Vec<Var>, config: SgdConfig) -> Result<Self> {
        Self::with_kernels(vars, config, default_kernels())
    }

    /// An optimizer of `vars`, before its first step.
    ///
    /// # Errors
    /// Fails if the device fails.
    pub fn with_kernels(vars: Vec<Var>, config: SgdConfig, kernels: Kernels) -> Result<Self> {
        let velocities = AllAverages::zeros(&vars, kernels)?;
        Ok(Self { config, vars, velocities, steps: 0 })
    }
}

impl Optimizer for Sgd {
    fn step(&mut self, grads: &GradStore) -> Result<()> {
        self.steps += 1;
        let SgdConfig { learning_rate, momentum, weight_decay } = self.config;
        let composed = |var: &Tensor, grad: &Tensor, [velocity]: &[Tensor; 1]| {
            let velocity = ((velocity * momentum)? + decayed(grad, var, weight_decay)?)?;
            Ok((var.sub(&(&velocity * learning_rate)?)?, [velocity]))
        };
        let velocities = match self.velocities.of_step(&self.vars, grads)? {
            AllAverages::Together(averages) => {
                return step_together(&self.vars, grads, averages, composed);
            }
            AllAverages::Flat(averages) => {
                let [rate, momentum, decay] = [learning_rate, momentum, weight_decay].map(|v| v as f32);
                return cuda::sgd(averages, &self.vars, grads, &SgdStep { rate, momentum, decay });
            }
            AllAverages::Apart(velocities) => velocities,
        };
        for (var, velocity) in self.vars.iter().zip(velocities) {
            let Some(grad) = grads.get(var) else { continue };
            match velocity {
                Averages::Native(velocity) => {
                    let [rate, momentum, decay] = [learning_rate, momentum, weight_decay].map(|v| v as f32);
                    cpu::update("sgd", var, grad, velocity, |p: &mut f32, g: f32, [v]| {
                        *v = momentum * *v + (g + decay * *p);
                        *p -= rate * *v;
                    })?;
                }
                Averages::Composed(velocities) => {
                    let (changed, next) = composed(&var.as_detached_tensor(), grad, velocities)?;
                    *velocities = next;
                    var.set(&changed)?;
                }
            }
        }
        Ok(())
    }

    fn set_learning_rate(&mut self, learning_rate: f64) {
        self.config.learning_rate = learning_rate;
    }

    fn state(&self) -> Result<OptimizerState> {
        Ok(OptimizerState { steps: self.steps, tensors: self.velocities.tensors(&self.vars)? })
    }

    fn restore(&mut self, state: &OptimizerState) -> Result<()> {
        self.velocities = self.velocities.restored(&self.vars, &state.tensors)?;
        self.steps = state.steps;
        Ok(())
    }
}

/// `N` running averages of each variable.
#[derive(Debug)]
enum AllAverages<const N: usize> {
    /// The averages of a variable in one place.
    Apart(Vec<Averages<N>>),
    /// For composed kernels, as long as each variable has a gradient: those of all variables as one
    /// tensor.
    Together([Tensor; N]),
    /// For f32 variables on a GPU: those of all variables in one place, changed in one launch.
    Flat(FlatAverages<N>),
}

impl<const N: usize> AllAverages<N> {
    fn zeros(vars: &[Var], kernels: Kernels) -> Result<Self> {
        let is_flat = |var: &Var| var.dtype() == DType::F32 && kernels.path(var) == Path::Cuda;
        let zeros = |first: &Var| -> Result<[Tensor; N]> {
            let length: usize = vars.iter().map(|var| var.elem_count()).sum();
            let zeros = Tensor::zeros(length, first.dtype(), first.device())?;
            Ok(std::array::from_fn(|_| zeros.clone()))
        };
        if let Some(first) = vars.first() {
            if vars.iter().all(is_flat) {
                return Ok(Self::Flat(FlatAverages::of(&zeros(first)?)?));
            }
            let is_like_first =
                |var: &Var| var.dtype() == first.dtype() && var.device().same_device(first.device());
            if vars.iter().all(|var| kernels.path(var) == Path::Composed && is_like_first(var)) {
                return Ok(Self::Together(zeros(first)?));
            }
        }
        Ok(Self::Apart(vars.iter().map(|var| Averages::zeros(var, kernels)).collect::<Result<_>>()?))
    }

    /// These averages in the form in which a step with `grads` changes them: those of a variable
    /// without a gradient stay as they are, and so cannot be changed together with others.
    fn of_step(&mut self, vars: &[Var], grads: &GradStore) -> Result<&mut Self> {
        if matches!(self, Self::Together(_)) && vars.iter().any(|var| grads.get(var).is_none()) {
            let tensors = self.tensors(vars)?;
            let apart = tensors.chunks_exact(N).filter_map(|part| part.to_vec().try_into().ok());
            *self = Self::Apart(apart.map(Averages::Composed).collect());
        }
        Ok(self)
    }

    /// The averages of `vars`, `N` tensors for each.
    fn tensors(&self, vars: &[Var]) -> Result<Vec<Tensor>> {
        match self {
            Self::Apart(averages) => Averages::tensors(averages, vars),
            Self::Together(averages) => split(averages, vars),
            Self::Flat(averages) => split(&averages.detached(), vars),
        }
    }

    /// Averages of `vars` with the values of `tensors`, in this form.
    fn restored(&self, vars: &[Var], tensors: &[Tensor]) -> Result<Self> {
        let (expected, actual) = (N * vars.len(), tensors.len());
        if actual != expected {
            return Err(OpsError::OptimizerState { expected, actual }.into());
        }
        let groups = vars.iter().zip(tensors.chunks_exact(N));
        for (var, tensors) in groups.clone() {
            if let Some(tensor) = tensors.iter().find(|tensor| tensor.dims() != var.dims()) {
                let (expected, got) = (var.shape().clone(), tensor.shape().clone());
                return Err(Error::UnexpectedShape { msg: "optimizer state".into(), expected, got }.bt());
            }
        }
        Ok(match self {
            Self::Apart(averages) => {
                let restored = averages.iter().zip(groups);
                let restored = restored.map(|(averages, (var, tensors))| averages.with_values(var, tensors));
                Self::Apart(restored.collect::<Result<_>>()?)
            }
            Self::Together(_) => Self::Together(join(tensors, vars)?),
            Self::Flat(_) => Self::Flat(FlatAverages::of(&join::<N>(tensors, vars)?)?),
        })
    }
}

/// `N` running averages of one variable, in the form in which the kernels of the variable change
/// them.
#[derive(Debug)]
enum Averages<const N: usize> {
    Native([Vec<f32>; N]),
    Composed([Tensor; N]),
}

impl<const N: usize> Averages<N> {
    fn zeros(var: &Var, kernels: Kernels) -> Result<Self> {
        Ok(match kernels.path(var) {
            Path::Cpu => Self::Native(std::array::from_fn(|_| vec![0.0; var.elem_count()])),
            Path::Cuda | Path::Composed | Path::Traced => {
                let zeros = var.zeros_like()?.detach();
                Self::Composed(std::array::from_fn(|_| zeros.clone()))
            }
        })
    }

    /// The averages of `vars`, `N` tensors for each.
    fn tensors(averages: &[Self], vars: &[Var]) -> Result<Vec<Tensor>> {
        let mut tensors = Vec::with_capacity(N * vars.len());
        for (averages, var) in averages.iter().zip(vars) {
            match averages {
                Self::Native(averages) => {
                    for values in averages {
                        tensors.push(Tensor::from_slice(values, var.shape(), var.device())?);
                    }
                }
                Self::Composed(averages) => tensors.extend(averages.iter().cloned()),
            }
        }
        Ok(tensors)
    }

    /// The same form with the values of `N` tensors.
    fn with_values(&self, var: &Var, tensors: &[Tensor]) -> Result<Self> {
        let tensor = |k: usize| tensors[k].detach().to_dtype(var.dtype())?.to_device(var.device());
        Ok(match self {
            Self::Native(_) => {
                let mut values: [Vec<f32>; N] = std::array::from_fn(|_| Vec::new());
                for (k, values) in values.iter_mut().enumerate() {
                    *values = tensor(k)?.flatten_all()?.to_vec1()?;
                }
                Self::Native(values)
            }
            Self::Composed(averages) => {
                let mut averages = averages.clone();
                for (k, average) in averages.iter_mut().enumerate() {
                    *average = tensor(k)?;
                }
                Self::Composed(averages)
            }
        })
    }
}

fn decayed(grad: &Tensor, var: &Tensor, weight_decay: f64) -> Result<Tensor> {
    let grad = grad.detach();
    if weight_decay == 0.0 { Ok(grad) } else { grad + (var * weight_decay)? }
}

/// One step of all variables, which all have gradients, as one tensor: a device computes a few
/// large operators faster than many small ones.
fn step_together<const N: usize>(
    vars: &[Var],
    grads: &GradStore,
    averages: &mut [Tensor; N],
    update: impl Fn(&Tensor, &Tensor, &[Tensor; N]) -> Result<(Tensor, [Tensor; N])>,
) -> Result<()> {
    let all = vars.iter().filter_map(|var| Some((var.as_detached_tensor(), grads.get(var)?)));
    let flat = all.map(|(var, grad)| Ok((var.flatten_all()?, grad.detach().flatten_all()?)));
    let (parameters, gradients): (Vec<_>, Vec<_>) = flat.collect::<Result<Vec<_>>>()?.into_iter().unzip();
    let (changed, next) = update(&Tensor::cat(&parameters, 0)?, &Tensor::cat(&gradients, 0)?, averages)?;
    *averages = next;
    for (var, part) in vars.iter().zip(parts_of(&changed, vars)?) {
        var.set(&part)?;
    }
    Ok(())
}

/// The averages of each of `vars`, `N` tensors for each, from `averages` of all of them.
fn split<const N: usize>(averages: &[Tensor; N], vars: &[Var]) -> Result<Vec<Tensor>> {
    let of_all = averages.iter().map(|average| parts_of(average, vars)).collect::<Result<Vec<_>>>()?;
    let of_var = |k: usize| of_all.iter().map(move |parts| parts[k].clone());
    Ok((0..vars.len()).flat_map(of_var).collect())
}

/// The inverse of [`split`], in the type and on the device of each variable.
fn join<const N: usize>(tensors: &[Tensor], vars: &[Var]) -> Result<[Tensor; N]> {
    let average = |k: usize| {
        let of_var = |(var, tensors): (&Var, &[Tensor])| {
            tensors[k].detach().to_dtype(var.dtype())?.to_device(var.device())?.flatten_all()
        };
        let parts = vars.iter().zip(tensors.chunks_exact(N)).map(of_var);
        Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 0)
    };
    let averages = (0..N).map(average).collect::<Result<Vec<_>>>()?;
    let mismatch = |averages: Vec<Tensor>| OpsError::OptimizerState { expected: N, actual: averages.len() };
    averages.try_into().map_err(|averages| mismatch(averages).into())
}

/// The parts of a tensor that has the elements of all `vars`, each in the shape of its variable.
fn parts_of(flat: &Tensor, vars: &[Var]) -> Result<Vec<Tensor>> {
    let mut first = 0;
    let part = |var: &Var| {
        let part = flat.narrow(0, first, var.elem_count())?.force_contiguous()?.reshape(var.shape());
        first += var.elem_count();
        part
    };
    vars.iter().map(part).collect()
}
