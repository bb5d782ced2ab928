//! Memory that operators reuse from one training step to the next, without clearing it or giving it
//! back to the system in between.

use std::ops::{Deref, DerefMut};
use std::sync::{Mutex, PoisonError};

/// Largest number of elements in the pool. Beyond it, the oldest buffers are freed.
const KEPT_ELEMENTS: usize = 1 << 28;

/// Buffers that are not in use, the oldest first.
static POOL: Mutex<Vec<Vec<f32>>> = Mutex::new(Vec::new());

/// f32 memory with arbitrary, though initialised, content. A dropped buffer goes back to the pool.
pub(crate) struct Buffer {
    data: Vec<f32>,
    len: usize,
}

impl Buffer {
    pub(crate) fn take(len: usize) -> Self {
        let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        // The closest fit; much larger ones are left for those that need them.
        let fitting = pool.iter().enumerate().filter(|(_, data)| (len..=2 * len).contains(&data.len()));
        let closest = fitting.min_by_key(|(_, data)| data.len()).map(|(index, _)| index);
        let data = closest.map(|index| pool.remove(index));
        drop(pool);
        Self { data: data.unwrap_or_else(|| vec![0.0; len]), len }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        let mut pool = POOL.lock().unwrap_or_else(PoisonError::into_inner);
        pool.push(std::mem::take(&mut self.data));
        let mut kept: usize = pool.iter().map(Vec::len).sum();
        while kept > KEPT_ELEMENTS {
            kept -= pool.remove(0).len();
        }
    }
}

impl Deref for Buffer {
    type Target = [f32];

    fn deref(&self) -> &[f32] {
        &self.data[..self.len]
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut [f32] {
        &mut self.data[..self.len]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_buffer_is_used_again_for_what_fits() {
        // A length that no other test asks for.
        let len = 7_654_321;
        let mut first = Buffer::take(len);
        first[len - 1] = 42.0;
        let address = first.as_ptr();
        drop(first);
        let again = Buffer::take(len - 5);
        assert_eq!((again.as_ptr(), again.len()), (address, len - 5));
        let other = Buffer::take(len);
        assert_ne!(other.as_ptr(), address);
        assert_eq!(other.len(), len);
    }
}
