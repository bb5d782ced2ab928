use candle_core::Tensor;
use fmam_ops::Kernels;

use crate::features::check_images;
use crate::layers::{Encoder, ReversePath};
use crate::{FeaturePyramid, ModelError, Precision};

/// A network that imitates a teacher's features from the image: the symmetric student.
pub trait Student: Send + Sync {
    /// # Shapes and units
    /// `images`: `[N, 3, H, W]` f32, scaled as for the teacher, H and W multiples of the teacher's
    /// coarsest stride. Gives scales of the teacher's shapes.
    ///
    /// # Errors
    /// [`ModelError::InputShape`] for another shape.
    fn forward(&self, images: &Tensor) -> Result<FeaturePyramid, ModelError>;
}

/// A network that imitates a teacher's features from those features, through a narrow embedding:
/// the reverse student.
pub trait ReverseStudent: Send + Sync {
    /// # Shapes and units
    /// `teacher`: scales of the teacher's shapes for images whose H and W are multiples of twice
    /// the teacher's coarsest stride, as the embedding has half the resolution of the coarsest
    /// scale. Gives scales of the same shapes.
    ///
    /// # Errors
    /// [`ModelError::InputShape`] for images of another size, [`ModelError::PyramidShape`] when the
    /// scales are not the teacher's.
    fn forward(&self, teacher: &FeaturePyramid) -> Result<FeaturePyramid, ModelError>;
}

/// A student of either kind.
pub enum AnyStudent {
    /// Sees the image, as the teacher does.
    Symmetric(Box<dyn Student>),
    /// Sees the teacher's features.
    Reverse(Box<dyn ReverseStudent>),
}

impl AnyStudent {
    /// # Shapes and units
    /// `images` as [`Student::forward`], `teacher` as [`ReverseStudent::forward`]: what the student
    /// does not see is not looked at.
    ///
    /// # Errors
    /// As the two.
    pub fn forward(&self, images: &Tensor, teacher: &FeaturePyramid) -> Result<FeaturePyramid, ModelError> {
        match self {
            Self::Symmetric(student) => student.forward(images),
            Self::Reverse(student) => student.forward(teacher),
        }
    }
}

pub(crate) struct SymmetricStudent {
    pub(crate) encoder: Box<dyn Encoder>,
    pub(crate) stride: usize,
    pub(crate) precision: Precision,
    pub(crate) kernels: Kernels,
}

impl Student for SymmetricStudent {
    fn forward(&self, images: &Tensor) -> Result<FeaturePyramid, ModelError> {
        check_images(images, self.stride)?;
        let images = self.precision.activation(images, self.kernels)?;
        FeaturePyramid::from_activations(&self.encoder.forward(&images)?)
    }
}

pub(crate) struct DecodingStudent {
    pub(crate) path: ReversePath,
    pub(crate) channels: &'static [usize],
    pub(crate) strides: &'static [usize],
    pub(crate) precision: Precision,
    pub(crate) kernels: Kernels,
}

impl ReverseStudent for DecodingStudent {
    fn forward(&self, teacher: &FeaturePyramid) -> Result<FeaturePyramid, ModelError> {
        self.check(teacher)?;
        let scales = teacher.scales.iter().map(|scale| self.precision.activation(scale, self.kernels));
        let scales = scales.collect::<Result<Vec<_>, _>>()?;
        FeaturePyramid::from_activations(&self.path.forward(&scales)?)
    }
}

impl DecodingStudent {
    fn check(&self, pyramid: &FeaturePyramid) -> Result<(), ModelError> {
        let mismatch = || ModelError::PyramidShape {
            expected: format!("{:?} channels at strides {:?}", self.channels, self.strides),
            actual: pyramid.shapes(),
        };
        let (Some(finest), Some(coarsest)) = (pyramid.scales.first(), self.strides.last()) else {
            return Err(mismatch());
        };
        let (n, _, h, w) = finest.dims4().map_err(|_| mismatch())?;
        let (h, w) = (h * self.strides[0], w * self.strides[0]);
        let stride = 2 * coarsest;
        if n == 0 || h == 0 || w == 0 || h % stride != 0 || w % stride != 0 {
            return Err(ModelError::InputShape { stride, actual: vec![n, 3, h, w] });
        }
        let expected = self.channels.iter().zip(self.strides).map(|(&c, s)| vec![n, c, h / s, w / s]);
        if expected.eq(pyramid.shapes()) { Ok(()) } else { Err(mismatch()) }
    }
}
