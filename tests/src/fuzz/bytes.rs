//! Inputs: their names, their parts, and the choices that one is read as.

/// An input under its name.
pub type Seed = (String, Vec<u8>);

/// The choices in an input. At its end every choice is 0.
pub(super) struct Choices<'a>(pub(super) &'a [u8]);

impl Choices<'_> {
    pub(super) fn is_over(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn byte(&mut self) -> u8 {
        let Some((first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        *first
    }

    /// A choice of `count` possibilities.
    pub(super) fn below(&mut self, count: usize) -> usize {
        usize::from(self.byte()) % count
    }

    /// A number of three bytes.
    pub(super) fn large(&mut self) -> usize {
        (0..3).fold(0, |number, _| number << 8 | usize::from(self.byte()))
    }
}

/// The two parts of an input that begins with the length of the first in two bytes.
pub(super) fn two_parts(data: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = data.split_first_chunk::<2>()?;
    rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))
}

/// An input of which [`two_parts`] gives the two.
pub(super) fn joined(first: &[u8], second: &[u8]) -> Vec<u8> {
    let length = u16::try_from(first.len()).unwrap().to_le_bytes();
    [&length[..], first, second].concat()
}
