//! The cut of work into pieces for threads, and what a piece needs.

use std::cell::RefCell;

use rayon::prelude::*;

/// Rows of `c` elements to a parallel piece: small enough that the piece stays in the cache between
/// two passes over it.
pub(crate) fn block_rows(c: usize) -> usize {
    (1_usize << 14).div_ceil(c.max(1))
}

/// Lends the thread's buffer. The closure must not start parallel work, which could ask for the
/// buffer again.
pub(crate) fn with_scratch<R>(len: usize, work: impl FnOnce(&mut [f32]) -> R) -> R {
    thread_local! {
        static SCRATCH: RefCell<Vec<f32>> = const { RefCell::new(Vec::new()) };
    }
    SCRATCH.with_borrow_mut(|scratch| {
        if scratch.len() < len {
            scratch.resize(len, 0.0);
        }
        work(&mut scratch[..len])
    })
}

/// Adds partial results in their order, so that the sum has the same bits for any number of
/// threads.
pub(crate) fn sum_in_order(partials: Vec<Vec<f32>>, size: usize) -> Vec<f32> {
    const PIECE: usize = 1 << 14;
    let mut partials = partials.into_iter();
    let mut total = partials.next().unwrap_or_else(|| vec![0.0; size]);
    let partials: Vec<Vec<f32>> = partials.collect();
    total.par_chunks_mut(PIECE).enumerate().for_each(|(index, total)| {
        for partial in &partials {
            for (t, p) in total.iter_mut().zip(&partial[index * PIECE..]) {
                *t += p;
            }
        }
    });
    total
}
