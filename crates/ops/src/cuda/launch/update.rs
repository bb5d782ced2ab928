//! The launches of optimizers, over all parameters at once.

use candle_core::Result;

use super::super::gpu::Argument::{Float, In, Ins, Out, Outs};
use super::super::gpu::{Gpu, THREADS, int};

/// Elements of a block.
const PIECE: usize = 4096;

/// The pieces of parameters that blocks change.
#[derive(Debug)]
pub(crate) struct Pieces<M> {
    table: M,
    count: usize,
}

impl<M> Pieces<M> {
    /// The pieces of tensors `(place, length, averages)`: a tensor's place among the arrays of a
    /// launch, its elements, and where its averages begin.
    pub(crate) fn of<G: Gpu<Memory = M>>(gpu: &G, tensors: &[(usize, usize, usize)]) -> Result<Self> {
        let mut table = Vec::new();
        for &(place, length, averages) in tensors {
            int(averages + length)?;
            for first in (0..length).step_by(PIECE) {
                let last = (first + PIECE).min(length);
                table.extend([place, first, last, averages].map(|value| value as u32));
            }
        }
        Ok(Self { count: table.len() / 4, table: gpu.table(&table)? })
    }
}

/// Settings of one step of [`adam`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct AdamStep {
    pub(crate) betas: (f32, f32),
    /// The learning rate over the correction of the first moment.
    pub(crate) step: f32,
    /// The root of the correction of the second moment.
    pub(crate) root: f32,
    pub(crate) epsilon: f32,
    pub(crate) decay: f32,
}

/// A step of Adam: `averages` are the means of all gradients and those of their squares.
pub(crate) fn adam<G: Gpu>(
    gpu: &G,
    (parameters, grads): (&[&G::Memory], &[&G::Memory]),
    [means, squares]: [&G::Memory; 2],
    pieces: &Pieces<G::Memory>,
    step: &AdamStep,
) -> Result<()> {
    let numbers = [step.betas.0, step.betas.1, step.step, step.root, step.epsilon, step.decay].map(Float);
    let arrays = [Outs(parameters), Ins(grads), Out(means), Out(squares), In(&pieces.table)];
    let arguments: Vec<_> = arrays.into_iter().chain(numbers).collect();
    gpu.launch("adam", [pieces.count, 1, 1], THREADS, &arguments)
}

/// Settings of one step of [`sgd`].
#[derive(Debug, Clone, Copy)]
pub(crate) struct SgdStep {
    pub(crate) rate: f32,
    pub(crate) momentum: f32,
    pub(crate) decay: f32,
}

/// A step of SGD.
pub(crate) fn sgd<G: Gpu>(
    gpu: &G,
    (parameters, grads): (&[&G::Memory], &[&G::Memory]),
    velocities: &G::Memory,
    pieces: &Pieces<G::Memory>,
    step: &SgdStep,
) -> Result<()> {
    let numbers = [step.rate, step.momentum, step.decay].map(Float);
    let arrays = [Outs(parameters), Ins(grads), Out(velocities), In(&pieces.table)];
    let arguments: Vec<_> = arrays.into_iter().chain(numbers).collect();
    gpu.launch("sgd", [pieces.count, 1, 1], THREADS, &arguments)
}
