use candle_core::{Result, Tensor};

/// Cosine distance of teacher and student at every position, averaged.
///
/// # Shapes and units
/// `teacher`, `student`: `[N, C, H, W]` of one scale. Gives a scalar in 0..=2.
///
/// # Errors
/// Fails if the shapes differ.
///
/// # Source
/// Wang et al. 2021, student-teacher feature pyramid matching: half the squared distance of
/// L2-normalised features is `1 - cos`.
pub fn cosine_distillation(teacher: &Tensor, student: &Tensor) -> Result<Tensor> {
    fmam_ops::cosine_distance(student, teacher)?.mean_all()
}

/// Cosine distance of whole feature maps, flattened to one vector an image, averaged over the
/// batch.
///
/// # Shapes and units
/// `teacher`, `student`: `[N, C, H, W]` of one scale. Gives a scalar in 0..=2.
///
/// # Errors
/// Fails if the shapes differ.
///
/// # Source
/// Deng and Li, CVPR 2022: the loss as their published code computes it (the paper's text has the
/// one of [`cosine_distillation`]).
pub fn flattened_cosine_distillation(teacher: &Tensor, student: &Tensor) -> Result<Tensor> {
    // The order of the elements does not matter as long as both maps have the same. Channels last
    // is the order in memory.
    let flat = |x: &Tensor| -> Result<Tensor> {
        let (n, c, h, w) = x.dims4()?;
        x.permute((0, 2, 3, 1))?.contiguous()?.reshape((n, c * h * w, 1, 1))
    };
    fmam_ops::cosine_distance(&flat(student)?, &flat(teacher)?)?.mean_all()
}
