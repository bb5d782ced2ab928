use fmam_ops::{Activation, Nonlinearity};
use serde::{Deserialize, Serialize};

use crate::layers::{Conv, ConvBn, ConvShape, Norm};
use crate::{FeaturePyramid, Init, ModelError, Params};

/// Shape of a [`FeatureMapping`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FeatureMappingConfig {
    /// Side of the first convolution's kernel: 1 maps each position by itself, 3 sees its neighbours.
    pub kernel: usize,
    /// Hidden channels per channel of the scale, at least 1.
    pub width: usize,
}

impl Default for FeatureMappingConfig {
    fn default() -> Self {
        Self { kernel: 1, width: 2 }
    }
}

/// Adapts the teacher's features to the task: at each scale `z = f + h(f)` with `h` convolution, batch
/// normalisation, ReLU, 1x1 convolution. The last convolution starts at zero, so that `z` starts at `f`.
///
/// # Source
/// Feature mapping of the FMAM poster; that it is residual, and its shape, is our decision (`docs/src/method.md`).
#[derive(Debug)]
pub struct FeatureMapping {
    scales: Vec<(ConvBn, Conv)>,
}

impl FeatureMapping {
    /// A mapping of a pyramid whose scales have `channels`.
    ///
    /// # Errors
    /// [`ModelError::MappingConfig`] for a value out of its range, and as [`Params::get`].
    pub fn new(
        channels: &[usize],
        config: &FeatureMappingConfig,
        params: &Params,
    ) -> Result<Self, ModelError> {
        let FeatureMappingConfig { kernel, width } = *config;
        if !matches!(kernel, 1 | 3) {
            return Err(ModelError::MappingConfig { key: "kernel", expected: "1 or 3", actual: kernel });
        }
        if width == 0 {
            return Err(ModelError::MappingConfig { key: "width", expected: "at least 1", actual: width });
        }
        let norm = Norm { epsilon: 1e-5, nonlinearity: Nonlinearity::Relu };
        let scales = channels.iter().enumerate().map(|(k, &c)| {
            let params = params.pp(k);
            let widen = ConvShape::dense(c, width * c, kernel, 1);
            let narrow = ConvShape::dense(width * c, c, 1, 1);
            Ok((
                ConvBn::new(&params.pp("conv1"), &params.pp("bn1"), widen, norm)?,
                Conv::new(&params.pp("conv2"), narrow, Init::Const(0.0))?,
            ))
        });
        Ok(Self { scales: scales.collect::<Result<_, ModelError>>()? })
    }

    /// # Shapes and units
    /// `pyramid`: the scales of [`FeatureMapping::new`]; gives as many of the same shapes.
    ///
    /// # Errors
    /// [`ModelError::PyramidShape`] when the number of scales differs, [`ModelError::Tensor`] when a scale has other
    /// channels.
    pub fn forward(&self, pyramid: &FeaturePyramid) -> Result<FeaturePyramid, ModelError> {
        if pyramid.scales.len() != self.scales.len() {
            let expected = format!("{} scales", self.scales.len());
            return Err(ModelError::PyramidShape { expected, actual: pyramid.shapes() });
        }
        let scales = self.scales.iter().zip(&pyramid.scales).map(|((widen, narrow), scale)| {
            let f = Activation::from_nchw(scale)?;
            let h = narrow.forward(&widen.forward(&f)?)?;
            Ok(f.add(&h)?.to_nchw()?)
        });
        Ok(FeaturePyramid { scales: scales.collect::<Result<_, ModelError>>()? })
    }
}
