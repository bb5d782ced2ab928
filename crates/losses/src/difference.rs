use candle_core::{Result, Tensor};

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
    (student - teacher)?.sqr()?.mean(1)
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
    let difference = (student - teacher)?.abs()?;
    let near = difference.minimum(1.0)?;
    near.mul(&(&difference - (&near * 0.5)?)?)?.mean(1)
}
