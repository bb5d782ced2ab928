//! Separable filters: the input positions of one axis from which an output position is computed.

/// Linear interpolation along one axis.
#[derive(Debug, Clone)]
pub(crate) struct Interpolation {
    /// Number of input positions.
    pub(crate) size: usize,
    /// `(near, far, t)` for each output position, which is `near (1 - t) + far t`.
    pub(crate) taps: Vec<(usize, usize, f64)>,
}

impl Interpolation {
    /// From `size` to `out` positions, both above 0.
    pub(crate) fn new(size: usize, out: usize, align_corners: bool) -> Self {
        let last = size.saturating_sub(1);
        let taps = (0..out)
            .map(|i| {
                let position = if align_corners {
                    if out > 1 { i as f64 * last as f64 / (out - 1) as f64 } else { 0.0 }
                } else {
                    ((i as f64 + 0.5) * size as f64 / out as f64 - 0.5).max(0.0)
                };
                let near = (position.floor() as usize).min(last);
                (near, (near + 1).min(last), position - near as f64)
            })
            .collect();
        Self { size, taps }
    }
}

/// Gaussian weights along one axis, cut at four standard deviations.
pub(crate) struct Gaussian {
    /// An odd number of weights, whose sum is 1.
    pub(crate) weights: Vec<f64>,
}

impl Gaussian {
    /// `sigma` in pixels, above 0.
    pub(crate) fn new(sigma: f64) -> Self {
        let radius = (4.0 * sigma + 0.5) as i64;
        let weights: Vec<f64> =
            (-radius..=radius).map(|i| (-0.5 * (i as f64 / sigma).powi(2)).exp()).collect();
        let sum: f64 = weights.iter().sum();
        Self { weights: weights.into_iter().map(|w| w / sum).collect() }
    }
}

/// The position in an axis of `size` that stands at `index` of the axis mirrored at its borders.
pub(crate) fn mirror(index: isize, size: usize) -> usize {
    let period = 2 * size as isize;
    let wrapped = index.rem_euclid(period);
    (if wrapped < size as isize { wrapped } else { period - 1 - wrapped }) as usize
}
