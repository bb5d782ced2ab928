use std::str::FromStr;

use candle_core::{DType, Tensor};
use fmam_ops::{Activation, Kernels};
use serde::{Deserialize, Serialize};

use crate::ModelError;

/// The type of numbers in which a backbone and its students compute. What goes in and what comes
/// out of them is f32 either way, and so are their parameters, with the gradients of these.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    /// Single precision throughout.
    #[default]
    F32,
    /// Activations and convolutions in bfloat16, the range of f32 with 8 bits of precision; the
    /// statistics of batch normalisations in f32. For GPUs: on a CPU it is emulated.
    Bf16,
}

impl Precision {
    /// The name by which it is configured.
    pub fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::Bf16 => "bf16",
        }
    }

    /// True for the default.
    pub fn is_f32(&self) -> bool {
        *self == Self::F32
    }

    /// A network's input, `[N, C, H, W]` f32, as a network on `kernels` takes it.
    pub(crate) fn activation(self, input: &Tensor, kernels: Kernels) -> Result<Activation, ModelError> {
        Ok(match self {
            Self::F32 => Activation::from_nchw_with(input, kernels)?,
            Self::Bf16 => Activation::from_nchw_with(&input.to_dtype(DType::BF16)?, kernels)?,
        })
    }
}

impl FromStr for Precision {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "f32" => Ok(Self::F32),
            "bf16" => Ok(Self::Bf16),
            _ => Err(format!("`{text}` is not a precision; use f32 or bf16")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_as_they_are_written() {
        for precision in [Precision::F32, Precision::Bf16] {
            assert_eq!(precision.name().parse(), Ok(precision));
            assert_eq!(serde_json::to_value(precision).unwrap(), precision.name());
        }
        assert!("f16".parse::<Precision>().unwrap_err().contains("f32 or bf16"));
    }
}
