//! A step of an optimizer on one parameter.

use std::cell::RefCell;

use candle_core::{CpuStorage, Error, InplaceOp2, Layout, Result, Tensor, Var};
use rayon::prelude::*;

use crate::cpu::host::{elements, vectorized};

/// Elements to a parallel piece.
const PIECE: usize = 1 << 15;

/// Elements that are updated together.
const BLOCK: usize = 16;

/// Calls `update` with every element of `var`, of its gradient and of its `N` averages. Each of
/// these is read and written once.
pub(crate) fn update<const N: usize>(
    name: &'static str,
    var: &Var,
    grad: &Tensor,
    averages: &mut [Vec<f32>; N],
    update: impl Fn(&mut f32, f32, [&mut f32; N]) + Sync,
) -> Result<()> {
    let averages = RefCell::new(averages.each_mut().map(Vec::as_mut_slice));
    var.inplace_op2(&grad.contiguous()?, &Update { name, averages, update })
}

struct Update<'a, F, const N: usize> {
    name: &'static str,
    averages: RefCell<[&'a mut [f32]; N]>,
    update: F,
}

impl<F, const N: usize> InplaceOp2 for Update<'_, F, N>
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
            vectorized(
                #[inline(always)]
                || {
                    // In blocks of their own, which the compiler sees to be apart from each other.
                    let whole = g.len() / BLOCK * BLOCK;
                    for at in (0..whole).step_by(BLOCK) {
                        let mut parameters = [0.0; BLOCK];
                        let mut grads = [0.0; BLOCK];
                        let mut old = [[0.0; BLOCK]; N];
                        parameters.copy_from_slice(&p[at..at + BLOCK]);
                        grads.copy_from_slice(&g[at..at + BLOCK]);
                        for (old, average) in old.iter_mut().zip(&averages) {
                            old.copy_from_slice(&average[at..at + BLOCK]);
                        }
                        for k in 0..BLOCK {
                            update(&mut parameters[k], grads[k], old.each_mut().map(|values| &mut values[k]));
                        }
                        p[at..at + BLOCK].copy_from_slice(&parameters);
                        for (old, average) in old.iter().zip(&mut averages) {
                            average[at..at + BLOCK].copy_from_slice(old);
                        }
                    }
                    for i in whole..g.len() {
                        update(&mut p[i], g[i], averages.each_mut().map(|a| &mut a[i]));
                    }
                },
            );
        });
        Ok(())
    }
}
