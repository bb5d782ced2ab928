//! Traces: while a [`Trace`] lives, the operators of this crate write down what they do to its
//! input and to everything that they make of it. A network that is built from these operators
//! becomes a graph without a line of its own.
//!
//! A traced tensor is an ordinary one whose identity the trace knows. An operator on it computes as
//! composed kernels do, so that a trace has an example of every value, and writes itself down as
//! operators of the ONNX standard. A tensor that the trace does not know is a constant to it. An
//! operator of candle is not written down: its result would be a constant, which
//! [`Graph::is_same`] finds out when two traces of different inputs are compared. [`traced`] has
//! candle's operators in a form that is written down.

mod graph;
mod layers;
pub mod traced;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use candle_core::{Result, Tensor, TensorId};

pub use graph::{Attribute, Constant, Elements, Graph, Node, ValueId};
pub(crate) use layers::{
    add_nonlinearity, channel_affine, conv_transpose2d, conv2d, cosine_distance, gaussian_blur, max_pool2d,
    nonlinearity, upsample_bilinear,
};

use crate::error::OpsError;

/// The traces that live.
static LIVE: AtomicUsize = AtomicUsize::new(0);

/// The traced tensors of all traces.
static TENSORS: LazyLock<Mutex<HashMap<TensorId, Known>>> = LazyLock::new(Mutex::default);

/// A tensor that a trace knows.
#[derive(Clone)]
struct Known {
    trace: Arc<Inner>,
    value: ValueId,
}

#[derive(Debug, Default)]
struct Inner {
    graph: Mutex<Graph>,
    /// The values of tensors that are constants to the trace.
    constants: Mutex<HashMap<TensorId, ValueId>>,
}

/// A recording of what is done to a tensor; see the page of the module.
#[derive(Debug)]
pub struct Trace {
    inner: Arc<Inner>,
}

impl Trace {
    /// A trace without an input.
    pub fn new() -> Self {
        LIVE.fetch_add(1, Ordering::Relaxed);
        Self { inner: Arc::default() }
    }

    /// A tensor with the elements of `example`, f32, as the input of the trace.
    ///
    /// # Errors
    /// Fails if the device has no memory for the copy.
    pub fn input(&self, example: &Tensor) -> Result<Tensor> {
        let tensor = example.detach().copy()?;
        let value = lock(&self.inner.graph).set_input();
        know(&tensor, &self.inner, value);
        Ok(tensor)
    }

    /// The value that `tensor` is in the graph.
    ///
    /// # Errors
    /// Fails for a tensor that the trace does not know: an operator that is not written down made
    /// it.
    pub fn value(&self, tensor: &Tensor) -> Result<ValueId> {
        let known = known(tensor).filter(|known| Arc::ptr_eq(&known.trace, &self.inner));
        Ok(known.ok_or(OpsError::NotTraced { dims: tensor.dims().to_vec() })?.value)
    }

    /// The graph of the operators written down so far.
    pub fn graph(&self) -> Graph {
        lock(&self.inner.graph).clone()
    }
}

impl Default for Trace {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Trace {
    fn drop(&mut self) {
        lock(&TENSORS).retain(|_, known| !Arc::ptr_eq(&known.trace, &self.inner));
        LIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

/// True if a trace knows the tensor.
pub(crate) fn is_traced(tensor: &Tensor) -> bool {
    LIVE.load(Ordering::Relaxed) > 0 && known(tensor).is_some()
}

/// `result`, which `operands` were made into, written down as `build` says where one of them is
/// traced. `build` gets the values of the operands.
pub(crate) fn written(
    operands: &[&Tensor],
    result: Tensor,
    build: impl FnOnce(&mut Graph, &[ValueId]) -> Result<ValueId>,
) -> Result<Tensor> {
    if LIVE.load(Ordering::Relaxed) == 0 {
        return Ok(result);
    }
    let Some(Known { trace, .. }) = operands.iter().find_map(|operand| known(operand)) else {
        return Ok(result);
    };
    if operands.iter().any(|operand| operand.id() == result.id()) {
        return Ok(result);
    }
    let mut values = Vec::with_capacity(operands.len());
    for operand in operands {
        values.push(match known(operand) {
            Some(known) if Arc::ptr_eq(&known.trace, &trace) => known.value,
            Some(_) => return Err(OpsError::TwoTraces.into()),
            None => trace.constant(operand)?,
        });
    }
    let value = build(&mut lock(&trace.graph), &values)?;
    know(&result, &trace, value);
    Ok(result)
}

impl Inner {
    fn constant(&self, tensor: &Tensor) -> Result<ValueId> {
        let mut constants = lock(&self.constants);
        if let Some(value) = constants.get(&tensor.id()) {
            return Ok(*value);
        }
        let value = lock(&self.graph).float(tensor)?;
        constants.insert(tensor.id(), value);
        Ok(value)
    }
}

fn known(tensor: &Tensor) -> Option<Known> {
    lock(&TENSORS).get(&tensor.id()).cloned()
}

fn know(tensor: &Tensor, trace: &Arc<Inner>, value: ValueId) {
    lock(&TENSORS).insert(tensor.id(), Known { trace: Arc::clone(trace), value });
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
