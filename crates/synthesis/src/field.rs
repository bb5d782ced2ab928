/// A scalar field over a rectangle of pixels, row-major.
pub(crate) struct Field {
    pub(crate) height: usize,
    pub(crate) width: usize,
    pub(crate) data: Vec<f32>,
}

impl Field {
    /// The field whose value at (y, x) is `value(y, x)`.
    pub(crate) fn from_fn(height: usize, width: usize, mut value: impl FnMut(usize, usize) -> f32) -> Self {
        let mut data = Vec::with_capacity(height * width);
        for y in 0..height {
            data.extend((0..width).map(|x| value(y, x)));
        }
        Self { height, width, data }
    }

    /// The field convolved with a Gaussian of `sigma` pixels, cut off at three sigma and
    /// normalised; beyond the border the outermost pixels go on.
    pub(crate) fn gaussian_blur(&self, sigma: f32) -> Self {
        let radius = (3.0 * sigma).ceil() as usize;
        let bell = |i: usize| (-0.5 * ((i as f32 - radius as f32) / sigma).powi(2)).exp();
        let mut kernel: Vec<f32> = (0..=2 * radius).map(bell).collect();
        let total: f32 = kernel.iter().sum();
        kernel.iter_mut().for_each(|k| *k /= total);

        let mut rows = vec![0.0; self.data.len()];
        let mut padded = vec![0.0; self.width + 2 * radius];
        for (row, out) in self.data.chunks_exact(self.width).zip(rows.chunks_exact_mut(self.width)) {
            padded[..radius].fill(row[0]);
            padded[radius..radius + self.width].copy_from_slice(row);
            padded[radius + self.width..].fill(row[self.width - 1]);
            for (offset, &k) in kernel.iter().enumerate() {
                add_scaled(out, k, &padded[offset..offset + self.width]);
            }
        }
        let mut data = vec![0.0; self.data.len()];
        for (y, out) in data.chunks_exact_mut(self.width).enumerate() {
            for (offset, &k) in kernel.iter().enumerate() {
                let source = (y + offset).saturating_sub(radius).min(self.height - 1);
                add_scaled(out, k, &rows[source * self.width..(source + 1) * self.width]);
            }
        }
        Self { data, ..*self }
    }

    /// The field interpolated bilinearly to `height` by `width` pixels, when its own value (i, j)
    /// is that of pixel (origin + step i, origin + step j); beyond its border the outermost values
    /// go on.
    pub(crate) fn upsample(&self, height: usize, width: usize, step: usize, origin: f32) -> Self {
        let position = |pixel: usize, n: usize| {
            let at = ((pixel as f32 - origin) / step as f32).clamp(0.0, (n - 1) as f32);
            let low = at as usize;
            (low, (low + 1).min(n - 1), at - low as f32)
        };
        let columns: Vec<_> = (0..width).map(|x| position(x, self.width)).collect();
        let mut row = vec![0.0; self.width];
        let mut data = Vec::with_capacity(height * width);
        for y in 0..height {
            let (low, high, t) = position(y, self.height);
            let (low, high) = (&self.data[low * self.width..], &self.data[high * self.width..]);
            for ((r, &a), &b) in row.iter_mut().zip(low).zip(high) {
                *r = a + t * (b - a);
            }
            data.extend(columns.iter().map(|&(low, high, t)| row[low] + t * (row[high] - row[low])));
        }
        Self { height, width, data }
    }
}

fn add_scaled(out: &mut [f32], factor: f32, values: &[f32]) {
    for (o, &v) in out.iter_mut().zip(values) {
        *o += factor * v;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bumpy(height: usize, width: usize) -> Field {
        Field::from_fn(height, width, |y, x| ((y * 31 + x * 17) % 23) as f32)
    }

    #[test]
    fn the_blur_is_the_two_dimensional_sum_of_its_definition() {
        let (sigma, radius) = (1.5_f64, 5_i64);
        let field = bumpy(9, 13);
        let blurred = field.gaussian_blur(sigma as f32);
        let bell = |d: i64| (-0.5 * (d as f64 / sigma).powi(2)).exp();
        for y in 0..9_i64 {
            for x in 0..13_i64 {
                let (mut sum, mut total) = (0.0, 0.0);
                for dy in -radius..=radius {
                    for dx in -radius..=radius {
                        let (sy, sx) = ((y + dy).clamp(0, 8), (x + dx).clamp(0, 12));
                        let weight = bell(dy) * bell(dx);
                        sum += weight * f64::from(field.data[(sy * 13 + sx) as usize]);
                        total += weight;
                    }
                }
                let actual = f64::from(blurred.data[(y * 13 + x) as usize]);
                assert!((actual - sum / total).abs() < 1e-4, "({y}, {x}): {actual} vs {}", sum / total);
            }
        }
    }

    #[test]
    fn upsampling_keeps_the_samples_and_is_linear_between_them() {
        let coarse = bumpy(3, 4);
        let fine = coarse.upsample(9, 13, 4, 0.0);
        assert_eq!(fine.data[4 * 13 + 8], coarse.data[4 + 2]);
        assert_eq!(fine.data[4 * 13 + 10], 0.5 * (coarse.data[4 + 2] + coarse.data[4 + 3]));
        assert_eq!(fine.data[6 * 13 + 8], 0.5 * (coarse.data[4 + 2] + coarse.data[8 + 2]));
    }
}
