//! The functions that follow a normalised convolution.

/// A function of each element.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nonlinearity {
    /// The element itself.
    Identity,
    /// `max(x, 0)`; its gradient at exactly 0 is 0.
    Relu,
    /// `min(max(x, 0), 6)`; its gradient at exactly 0 and 6 is 0.
    Relu6,
}

impl Nonlinearity {
    #[inline(always)]
    pub(crate) fn apply(self, values: &mut [f32]) {
        match self {
            Self::Identity => {}
            Self::Relu => values.iter_mut().for_each(|v| *v = if *v < 0.0 { 0.0 } else { *v }),
            Self::Relu6 => values.iter_mut().for_each(|v| *v = v.clamp(0.0, 6.0)),
        }
    }

    /// The gradient passes where the result lies strictly between these.
    pub(crate) fn bounds(self) -> (f32, f32) {
        match self {
            Self::Identity => (f32::NEG_INFINITY, f32::INFINITY),
            Self::Relu => (0.0, f32::INFINITY),
            Self::Relu6 => (0.0, 6.0),
        }
    }
}
