use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, Var};

/// Changes variables along their gradients.
pub trait Optimizer {
    /// One step. A variable without a gradient stays as it is.
    ///
    /// # Errors
    /// When the device fails.
    fn step(&mut self, grads: &GradStore) -> Result<()>;

    /// Sets the learning rate of the following steps.
    fn set_learning_rate(&mut self, learning_rate: f64);

    /// Tensors that, with the variables, make up the whole state: save them to go on later. Order and shapes
    /// depend on the variables alone.
    fn state(&self) -> Vec<Tensor>;

    /// Restores what [`Optimizer::state`] gave, after `steps` steps.
    ///
    /// # Errors
    /// When the number of tensors or a shape differs.
    fn restore(&mut self, state: &[Tensor], steps: usize) -> Result<()>;
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

/// Adam with bias correction (Kingma and Ba 2015), as `torch.optim.Adam` computes it.
#[derive(Debug)]
pub struct Adam {
    config: AdamConfig,
    vars: Vec<Var>,
    moments: Vec<(Tensor, Tensor)>,
    steps: usize,
}

impl Adam {
    /// An optimizer of `vars`, before its first step.
    ///
    /// # Errors
    /// When the device fails.
    pub fn new(vars: Vec<Var>, config: AdamConfig) -> Result<Self> {
        let moments = vars
            .iter()
            .map(|var| Ok((var.zeros_like()?.detach(), var.zeros_like()?.detach())))
            .collect::<Result<_>>()?;
        Ok(Self { config, vars, moments, steps: 0 })
    }
}

impl Optimizer for Adam {
    fn step(&mut self, grads: &GradStore) -> Result<()> {
        self.steps += 1;
        let (b1, b2) = self.config.betas;
        let correction = |beta: f64| 1.0 - beta.powi(i32::try_from(self.steps).unwrap_or(i32::MAX));
        let step = self.config.learning_rate / correction(b1);
        let root = correction(b2).sqrt();
        for (var, (mean, square)) in self.vars.iter().zip(&mut self.moments) {
            let Some(grad) = grads.get(var) else { continue };
            let grad = decayed(grad, var, self.config.weight_decay)?;
            *mean = ((&*mean * b1)? + (&grad * (1.0 - b1))?)?;
            *square = ((&*square * b2)? + (grad.sqr()? * (1.0 - b2))?)?;
            let denominator = ((square.sqrt()? / root)? + self.config.epsilon)?;
            var.set(&var.detach().sub(&(mean.div(&denominator)? * step)?)?)?;
        }
        Ok(())
    }

    fn set_learning_rate(&mut self, learning_rate: f64) {
        self.config.learning_rate = learning_rate;
    }

    fn state(&self) -> Vec<Tensor> {
        self.moments.iter().flat_map(|(mean, square)| [mean.clone(), square.clone()]).collect()
    }

    fn restore(&mut self, state: &[Tensor], steps: usize) -> Result<()> {
        check_state(state, self.vars.iter().flat_map(|var| [var, var]))?;
        self.moments = state.chunks_exact(2).map(|pair| (pair[0].clone(), pair[1].clone())).collect();
        self.steps = steps;
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

/// Stochastic gradient descent with momentum, as `torch.optim.SGD` computes it (no dampening, not Nesterov).
#[derive(Debug)]
pub struct Sgd {
    config: SgdConfig,
    vars: Vec<Var>,
    velocities: Vec<Tensor>,
}

impl Sgd {
    /// An optimizer of `vars`, before its first step.
    ///
    /// # Errors
    /// When the device fails.
    pub fn new(vars: Vec<Var>, config: SgdConfig) -> Result<Self> {
        let velocities = vars.iter().map(|var| Ok(var.zeros_like()?.detach())).collect::<Result<_>>()?;
        Ok(Self { config, vars, velocities })
    }
}

impl Optimizer for Sgd {
    fn step(&mut self, grads: &GradStore) -> Result<()> {
        for (var, velocity) in self.vars.iter().zip(&mut self.velocities) {
            let Some(grad) = grads.get(var) else { continue };
            let grad = decayed(grad, var, self.config.weight_decay)?;
            *velocity = ((&*velocity * self.config.momentum)? + grad)?;
            var.set(&var.detach().sub(&(&*velocity * self.config.learning_rate)?)?)?;
        }
        Ok(())
    }

    fn set_learning_rate(&mut self, learning_rate: f64) {
        self.config.learning_rate = learning_rate;
    }

    fn state(&self) -> Vec<Tensor> {
        self.velocities.clone()
    }

    fn restore(&mut self, state: &[Tensor], _steps: usize) -> Result<()> {
        check_state(state, self.vars.iter())?;
        self.velocities = state.to_vec();
        Ok(())
    }
}

fn decayed(grad: &Tensor, var: &Var, weight_decay: f64) -> Result<Tensor> {
    let grad = grad.detach();
    if weight_decay == 0.0 { Ok(grad) } else { grad + (var.detach() * weight_decay)? }
}

fn check_state<'a>(state: &[Tensor], vars: impl Iterator<Item = &'a Var>) -> Result<()> {
    let expected: Vec<&[usize]> = vars.map(|var| var.dims()).collect();
    let actual: Vec<&[usize]> = state.iter().map(Tensor::dims).collect();
    if expected == actual {
        return Ok(());
    }
    Err(candle_core::Error::Msg(format!(
        "optimizer state does not fit: {} tensors of the wrong number or shape, expected {}",
        actual.len(),
        expected.len()
    ))
    .bt())
}
