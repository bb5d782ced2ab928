use candle_core::{Result, Tensor};
use fmam_ops::traced;

/// Squared difference of teacher and student at every position, averaged over the channels. Its
/// mean over positions and images is the mean squared error.
///
/// # Shapes and units
/// `teacher`, `student`: `[N, C, H, W]` of one scale. Gives `[N, H, W]`, 0 or more; unlike a
/// cosine it grows with the features.
///
/// # Errors
/// Fails if the shapes differ.
pub fn squared_difference(teacher: &Tensor, student: &Tensor) -> Result<Tensor> {
    traced::mean(&traced::sqr(&traced::sub(student, teacher)?)?, &[1])
}

/// Smooth L1 difference of teacher and student at every position, averaged over the channels: half
/// the square of a difference below 1, its absolute value minus a half from there on.
///
/// # Shapes and units
/// As [`squared_difference`].
///
/// # Errors
/// Fails if the shapes differ.
///
/// # Source
/// Girshick, Fast R-CNN, ICCV 2015, equation 3; Huber's function with threshold 1.
pub fn smooth_l1_difference(teacher: &Tensor, student: &Tensor) -> Result<Tensor> {
    let difference = traced::abs(&traced::sub(student, teacher)?)?;
    let near = traced::at_most(&difference, 1.0)?;
    let far = traced::sub(&difference, &traced::affine(&near, 0.5, 0.0)?)?;
    traced::mean(&traced::mul(&near, &far)?, &[1])
}
