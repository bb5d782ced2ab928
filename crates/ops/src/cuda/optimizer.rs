//! Steps of optimizers over all parameters of a network in one launch.

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, Var};

use super::array::Array;
use super::launch::{self, AdamStep, Pieces, SgdStep};
use super::runner::Runner;

/// `N` running averages of all variables, one variable after the other.
#[derive(Debug)]
pub(crate) struct FlatAverages<const N: usize> {
    /// `N` of them.
    averages: Vec<Var>,
    /// The pieces of the last step, for the variables that had a gradient.
    pieces: Option<(Vec<bool>, Pieces<Array>)>,
}

impl<const N: usize> FlatAverages<N> {
    /// Averages that begin as copies of `averages`.
    pub(crate) fn of(averages: &[Tensor; N]) -> Result<Self> {
        let mut vars = Vec::with_capacity(N);
        for average in averages {
            vars.push(Var::from_tensor(average)?);
        }
        Ok(Self { averages: vars, pieces: None })
    }

    /// The averages, which the next step changes.
    pub(crate) fn detached(&self) -> [Tensor; N] {
        std::array::from_fn(|k| self.averages[k].as_detached_tensor())
    }

    /// Calls `step` with the variables that have a gradient, their gradients, the averages and the
    /// pieces of the launch.
    fn step(
        &mut self,
        vars: &[Var],
        grads: &GradStore,
        step: impl FnOnce(&Runner, Changed<'_>, &[Array], &Pieces<Array>) -> Result<()>,
    ) -> Result<()> {
        let mut parameters = Vec::with_capacity(vars.len());
        let mut gradients = Vec::with_capacity(vars.len());
        let (mut tensors, mut first, mut present) = (Vec::new(), 0, Vec::with_capacity(vars.len()));
        for var in vars {
            let grad = grads.get(var);
            present.push(grad.is_some());
            if let Some(grad) = grad {
                tensors.push((parameters.len(), var.elem_count(), first));
                parameters.push(Array::Of(var.as_tensor().clone()));
                gradients.push(Array::parameter(grad)?);
            }
            first += var.elem_count();
        }
        let Some(Array::Of(any)) = parameters.first() else { return Ok(()) };
        let runner = Runner::of(any)?;
        let known = self.pieces.take().filter(|(of, _)| *of == present);
        let (present, pieces) = match known {
            Some(known) => known,
            None => (present, Pieces::of(&runner, &tensors)?),
        };
        let averages: Vec<Array> =
            self.averages.iter().map(|average| Array::Of(average.as_tensor().clone())).collect();
        let (parameters, gradients): (Vec<&Array>, Vec<&Array>) =
            (parameters.iter().collect(), gradients.iter().collect());
        step(&runner, (&parameters, &gradients), &averages, &pieces)?;
        self.pieces = Some((present, pieces));
        Ok(())
    }
}

/// Parameters and their gradients.
type Changed<'a> = (&'a [&'a Array], &'a [&'a Array]);

/// A step of Adam.
pub(crate) fn adam(
    averages: &mut FlatAverages<2>,
    vars: &[Var],
    grads: &GradStore,
    settings: &AdamStep,
) -> Result<()> {
    averages.step(vars, grads, |runner, changed, averages, pieces| {
        launch::adam(runner, changed, [&averages[0], &averages[1]], pieces, settings)
    })
}

/// A step of SGD.
pub(crate) fn sgd(
    averages: &mut FlatAverages<1>,
    vars: &[Var],
    grads: &GradStore,
    settings: &SgdStep,
) -> Result<()> {
    averages.step(vars, grads, |runner, changed, averages, pieces| {
        launch::sgd(runner, changed, &averages[0], pieces, settings)
    })
}
