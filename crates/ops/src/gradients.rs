//! A training step's gradients.

use std::cell::RefCell;

use candle_core::backprop::GradStore;
use candle_core::{Result, Tensor, TensorId};

use crate::error::OpsError;

thread_local! {
    /// The gradients of parameters in the step that this thread computes.
    static OPEN: RefCell<Option<Gradients>> = const { RefCell::new(None) };
}

/// Gradients that do not pass through candle's store, which clears memory for each and adds to it.
#[derive(Default)]
struct Gradients(Vec<(TensorId, Tensor)>);

/// The scalar that `loss` computes, and the gradients of the variables that it depends on.
///
/// The gradients are those of [`Tensor::backward`]. On a GPU the operators of a network compute
/// them in a fourth of the launches if they know, while `loss` runs, that this function asks for
/// them. `loss` runs on the calling thread. Gradients that `loss` itself needs, as those of an
/// adversarial image, are asked for in the same way.
///
/// # Errors
/// The errors of `loss` and of the device.
pub fn gradients<E: From<candle_core::Error>>(
    loss: impl FnOnce() -> std::result::Result<Tensor, E>,
) -> std::result::Result<(Tensor, GradStore), E> {
    let step = Step(OPEN.replace(Some(Gradients::default())));
    let loss = loss()?;
    let mut store = loss.backward()?;
    let (loss, found) = (loss.detach(), OPEN.take().unwrap_or_default());
    drop(step);
    for (id, grad) in found.0 {
        let sum = match store.get_id(id) {
            Some(other) => other.add(&grad)?,
            None => grad,
        };
        store.insert_id(id, sum);
    }
    Ok((loss, store))
}

/// The step around this one, which goes on when this value is dropped, after a panic, too.
struct Step(Option<Gradients>);

impl Drop for Step {
    fn drop(&mut self) {
        OPEN.set(self.0.take());
    }
}

/// True while this thread computes a loss for [`gradients`].
pub(crate) fn is_open() -> bool {
    OPEN.with_borrow(Option::is_some)
}

/// Takes the gradient of `parameter` in the step that this thread computes.
///
/// # Errors
/// [`OpsError::ClosedStep`] where that step is over, as in a later call of `backward`.
pub(crate) fn take(parameter: TensorId, grad: Tensor) -> Result<()> {
    OPEN.with_borrow_mut(|open| {
        let Gradients(found) = open.as_mut().ok_or(OpsError::ClosedStep)?;
        found.push((parameter, grad));
        Ok(())
    })
}
