//! The memory of a result, cut into the pieces that threads compute.

use std::mem::MaybeUninit;

use rayon::prelude::*;

/// Memory that a kernel writes, every element of it.
pub(crate) struct Target<'a>(Memory<'a>);

enum Memory<'a> {
    /// Values of any kind.
    Old(&'a mut [f32]),
    /// A vector without elements, and the number that it shall have. Each piece is cleared by the
    /// thread that computes it, right before: cleared as a whole, the vector would pass through the
    /// caches twice.
    New(&'a mut Vec<f32>, usize),
}

/// A result of `len` elements, which `compute` writes.
///
/// # Panics
/// If `compute` leaves the target alone.
pub(crate) fn computed(len: usize, compute: impl FnOnce(Target<'_>)) -> Vec<f32> {
    let mut values = Vec::with_capacity(len);
    compute(Target(Memory::New(&mut values, len)));
    assert_eq!(values.len(), len, "a kernel wrote nothing");
    values
}

impl<'a> From<&'a mut [f32]> for Target<'a> {
    fn from(values: &'a mut [f32]) -> Self {
        Self(Memory::Old(values))
    }
}

impl<'a> Target<'a> {
    /// Calls `work` with each piece of each image: the number of the image, the index of the piece
    /// in it, and the piece. An image has `image` elements, a piece `piece` of them or what is
    /// left.
    #[allow(
        unsafe_code,
        reason = "a vector's memory is initialised in pieces; see the safety argument below"
    )]
    pub(crate) fn pieces(self, image: usize, piece: usize, work: impl Fn(usize, usize, &mut [f32]) + Sync) {
        let (image, piece) = (image.max(1), piece.max(1));
        match self.0 {
            Memory::Old(values) => values.par_chunks_mut(image).enumerate().for_each(|(n, values)| {
                let pieces = values.par_chunks_mut(piece).enumerate();
                pieces.for_each(|(index, values)| work(n, index, values));
            }),
            Memory::New(vector, len) => {
                let memory = &mut vector.spare_capacity_mut()[..len];
                memory.par_chunks_mut(image).enumerate().for_each(|(n, memory)| {
                    let pieces = memory.par_chunks_mut(piece).enumerate();
                    pieces.for_each(|(index, memory)| work(n, index, cleared(memory)));
                });
                // SAFETY: the vector has no elements and capacity for `len`, of which the slice
                // above consists (it would panic if the capacity were less). Each of them lies in
                // one piece, which was cleared.
                unsafe { vector.set_len(len) };
            }
        }
    }

    /// The whole, for kernels that write it in several passes.
    pub(crate) fn whole(self) -> &'a mut [f32] {
        const PIECE: usize = 1 << 16;
        match self.0 {
            Memory::Old(values) => values,
            Memory::New(vector, len) => {
                Target(Memory::New(&mut *vector, len)).pieces(len, PIECE, |_, _, _| {});
                vector
            }
        }
    }
}

#[allow(unsafe_code, reason = "see the safety argument below")]
fn cleared(memory: &mut [MaybeUninit<f32>]) -> &mut [f32] {
    for value in &mut *memory {
        value.write(0.0);
    }
    // SAFETY: the same memory, borrowed as long, with the layout of f32; every element has been
    // written.
    unsafe { std::slice::from_raw_parts_mut(memory.as_mut_ptr().cast(), memory.len()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_and_old_memory_get_the_same_pieces() {
        let write = |target: Target<'_>| {
            target.pieces(11, 4, |n, index, piece| {
                assert_eq!(piece.len(), if index == 2 { 3 } else { 4 });
                piece.fill((10 * n + index) as f32);
            });
        };
        let new = computed(33, write);
        let mut old = vec![f32::NAN; 33];
        write(Target::from(&mut *old));
        assert_eq!(new, old);
        assert_eq!(new[11..22], [10., 10., 10., 10., 11., 11., 11., 11., 12., 12., 12.]);
        assert!(computed(0, write).is_empty());
        assert_eq!(computed(3, |target| target.whole()[1] = 5.0), [0.0, 5.0, 0.0]);
    }

    #[test]
    #[should_panic(expected = "wrote nothing")]
    fn a_target_must_be_written() {
        computed(3, |_| ());
    }
}
