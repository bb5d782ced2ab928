use candle_core::Tensor;
use fmam_ops::side_by_side;

use crate::{AnyStudent, Backbone, FeaturePyramid, ModelError};

impl AnyStudent {
    /// The features of `teacher` and this student's output. A student that does not see the
    /// teacher's features runs beside the teacher, on a CPU.
    ///
    /// # Shapes and units
    /// `images` as [`Backbone::features`] takes them.
    ///
    /// # Errors
    /// The errors of [`Backbone::features`] and of [`AnyStudent::forward`].
    pub fn beside(
        &self,
        teacher: &dyn Backbone,
        images: &Tensor,
    ) -> Result<(FeaturePyramid, FeaturePyramid), ModelError> {
        match self {
            Self::Symmetric(student) => {
                let (features, output) =
                    side_by_side(images.device(), || teacher.features(images), || student.forward(images));
                Ok((features?, output?))
            }
            Self::Reverse(student) => {
                let features = teacher.features(images)?;
                let output = student.forward(&features)?;
                Ok((features, output))
            }
        }
    }
}
