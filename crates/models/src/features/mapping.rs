use fmam_ops::{Activation, Kernels, Nonlinearity};
use serde::{Deserialize, Serialize};

use super::whitening::Whitening;
use crate::layers::{Conv, ConvBn, ConvShape, Norm};
use crate::{FeatureMoments, FeaturePyramid, Init, ModelError, Params};

/// Shape of a [`FeatureMapping`].
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct FeatureMappingConfig {
    /// Side of the first convolution's kernel: 1 maps each position by itself, 3 sees its
    /// neighbours.
    pub kernel: usize,
    /// Hidden channels per channel of the scale, at least 1.
    pub width: usize,
    /// True to whiten features by the statistics of normal images first.
    pub whiten: bool,
    /// Share of the mean variance that is added to every variance before it is inverted, above 0.
    pub shrinkage: f64,
    /// The constant that whitened features get in every channel, 0 or more. Without it only the
    /// direction of a feature's deviation from the normal mean would be left; the larger it is, the
    /// more a cosine distance behaves like a squared Euclidean one.
    pub offset: f64,
}

impl Default for FeatureMappingConfig {
    fn default() -> Self {
        Self { kernel: 1, width: 2, whiten: true, shrinkage: 0.01, offset: 1.0 }
    }
}

impl FeatureMappingConfig {
    /// # Errors
    /// [`ModelError::MappingConfig`] naming the first value out of its range.
    pub fn check(&self) -> Result<(), ModelError> {
        let ranges = [
            ("kernel", "1 or 3", self.kernel as f64, matches!(self.kernel, 1 | 3)),
            ("width", "from 1 to 64", self.width as f64, (1..=64).contains(&self.width)),
            (
                "shrinkage",
                "above 0 and at most 1",
                self.shrinkage,
                self.shrinkage > 0.0 && self.shrinkage <= 1.0,
            ),
            ("offset", "from 0 to 1000", self.offset, (0.0..=1000.0).contains(&self.offset)),
        ];
        match ranges.into_iter().find(|(.., fits)| !fits) {
            Some((key, expected, actual, _)) => Err(ModelError::MappingConfig { key, expected, actual }),
            None => Ok(()),
        }
    }
}

/// Adapts the teacher's features to the task. At each scale features are first whitened (mean zero
/// and unit covariance on normal images, then a constant offset), which gives `f`, and then mapped:
/// `z = f + h(f)` with `h` convolution, batch normalisation, ReLU, 1x1 convolution. The last
/// convolution starts at zero, so that `z` starts at `f`.
///
/// # Source
/// Feature mapping of the FMAM poster; the whitening, that it is residual, and its shape, are our
/// decisions (`docs/src/method.md`).
#[derive(Debug)]
pub struct FeatureMapping {
    whitening: Option<Whitening>,
    scales: Vec<(ConvBn, Conv)>,
    kernels: Kernels,
}

impl FeatureMapping {
    /// A mapping of a pyramid whose scales have `channels`. One with whitening and trainable
    /// `params` must be [`FeatureMapping::measure`]d before it is used.
    ///
    /// # Errors
    /// As [`FeatureMappingConfig::check`] and [`Params::get`].
    pub fn new(
        channels: &[usize],
        config: &FeatureMappingConfig,
        params: &Params,
    ) -> Result<Self, ModelError> {
        config.check()?;
        let whitening =
            config.whiten.then(|| Whitening::new(channels, &params.pp("whitening"))).transpose()?;
        let norm = Norm { epsilon: 1e-5, nonlinearity: Nonlinearity::Relu };
        let scales = channels.iter().enumerate().map(|(k, &c)| {
            let params = params.pp(k);
            let widen = ConvShape::dense(c, config.width * c, config.kernel, 1);
            let narrow = ConvShape::dense(config.width * c, c, 1, 1);
            Ok((
                ConvBn::new(&params.pp("conv1"), &params.pp("bn1"), widen, norm)?,
                Conv::new(&params.pp("conv2"), narrow, Init::Const(0.0))?,
            ))
        });
        let scales = scales.collect::<Result<_, ModelError>>()?;
        Ok(Self { whitening, scales, kernels: params.kernels() })
    }

    /// Takes the whitening from the statistics of normal images; of no effect without whitening.
    ///
    /// # Errors
    /// [`ModelError::Covariance`] when they are not finite.
    ///
    /// # Panics
    /// Panics if `moments` has fewer scales than the mapping.
    pub fn measure(
        &mut self,
        moments: &FeatureMoments,
        config: &FeatureMappingConfig,
    ) -> Result<(), ModelError> {
        match &mut self.whitening {
            Some(whitening) => whitening.measure(moments, config.shrinkage, config.offset),
            None => Ok(()),
        }
    }

    /// Takes over the whitening that `other`, a mapping of the same channels and configuration,
    /// has.
    ///
    /// # Errors
    /// [`ModelError::Tensor`] when its channels differ.
    pub fn copy_whitening(&mut self, other: &Self) -> Result<(), ModelError> {
        match (&mut self.whitening, &other.whitening) {
            (Some(whitening), Some(other)) => whitening.copy_from(other),
            _ => Ok(()),
        }
    }

    /// Both parts, one after the other: `z`.
    ///
    /// # Shapes and units
    /// `pyramid`: the scales of [`FeatureMapping::new`]; gives as many of the same shapes.
    ///
    /// # Errors
    /// [`ModelError::PyramidShape`] when the number of scales differs, [`ModelError::Tensor`] when
    /// a scale has other channels.
    pub fn forward(&self, pyramid: &FeaturePyramid) -> Result<FeaturePyramid, ModelError> {
        self.adapt(&self.whiten(pyramid)?)
    }

    /// The fixed part alone: whitened features `f`, or `pyramid` itself without whitening. No
    /// gradient reaches `pyramid` through the whitening.
    ///
    /// # Errors
    /// As [`FeatureMapping::forward`].
    pub fn whiten(&self, pyramid: &FeaturePyramid) -> Result<FeaturePyramid, ModelError> {
        let Some(whitening) = &self.whitening else { return Ok(pyramid.clone()) };
        self.each_scale(pyramid, |k, scale| whitening.forward(k, &scale))
    }

    /// The trained part alone, `f + h(f)`, of features that [`FeatureMapping::whiten`] gave, or of
    /// a student's that imitate them.
    ///
    /// # Errors
    /// As [`FeatureMapping::forward`].
    pub fn adapt(&self, whitened: &FeaturePyramid) -> Result<FeaturePyramid, ModelError> {
        self.each_scale(whitened, |k, f| {
            let (widen, narrow) = &self.scales[k];
            Ok(f.add(&narrow.forward(&widen.forward(&f)?)?)?)
        })
    }

    fn each_scale(
        &self,
        pyramid: &FeaturePyramid,
        part: impl Fn(usize, Activation) -> Result<Activation, ModelError>,
    ) -> Result<FeaturePyramid, ModelError> {
        if pyramid.scales.len() != self.scales.len() {
            let expected = format!("{} scales", self.scales.len());
            return Err(ModelError::PyramidShape { expected, actual: pyramid.shapes() });
        }
        let scales = pyramid.scales.iter().enumerate();
        let scales = scales
            .map(|(k, scale)| Ok(part(k, Activation::from_nchw_with(scale, self.kernels)?)?.to_nchw()?));
        Ok(FeaturePyramid { scales: scales.collect::<Result<_, ModelError>>()? })
    }
}
