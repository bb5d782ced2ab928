//! The bytes that a checkpoint may take in memory, measured by the size of its file.

/// Bytes beyond the size of the file: the values of a pickle take more than its bytes, and the
/// pickles of tens of thousands of tensors stay below this.
const SLACK: usize = 16 << 20;

/// Bytes that may still be produced. Bytes that are freed again count, so that a budget bounds the
/// time as well.
#[derive(Debug)]
pub(super) struct Budget(usize);

impl Budget {
    /// The budget of a file of `length` bytes, each of which may be produced `times`.
    pub(super) fn of_file(length: usize, times: usize) -> Self {
        Self(length.saturating_mul(times).saturating_add(SLACK))
    }

    /// Takes `bytes`; false where fewer are left.
    #[must_use]
    pub(super) fn take(&mut self, bytes: usize) -> bool {
        let left = self.0.checked_sub(bytes);
        self.0 = left.unwrap_or(0);
        left.is_some()
    }
}
