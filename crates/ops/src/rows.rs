//! Operators on rows of feature vectors, for methods that compare features with those they keep.

use candle_core::{D, DType, Result, Tensor};

use crate::cuda;
use crate::error::OpsError;
use crate::kernels::{Path, default_kernels};

/// The nearest row to each query by Euclidean distance; of equal ones the first.
///
/// # Shapes and units
/// `queries`: `[N, D]`; `rows`: `[M, D]`, f32. Gives squared distances, `[N]`, and the numbers of
/// the rows, `[N]`, u32. No gradient is recorded.
///
/// # Errors
/// Fails if the widths differ or there is no row.
pub fn nearest_rows(queries: &Tensor, rows: &Tensor) -> Result<(Tensor, Tensor)> {
    let ((_, width), (m, other)) = (queries.dims2()?, rows.dims2()?);
    if width != other || m == 0 {
        return Err(refusal("nearest_rows", queries, rows));
    }
    let (queries, rows) = (queries.detach(), rows.detach());
    if queries.dim(0)? == 0 {
        let none = |dtype| Tensor::zeros(0, dtype, queries.device());
        return Ok((none(DType::F32)?, none(DType::U32)?));
    }
    if runs_kernels(&[&queries, &rows]) {
        return cuda::nearest_rows(&queries, &rows);
    }
    let lengths = rows.sqr()?.sum(D::Minus1)?;
    let order = (queries.matmul(&rows.t()?)? * -2.0)?.broadcast_add(&lengths)?;
    let nearest = order.argmin(D::Minus1)?;
    // By differences: the products of long vectors have lost the digits of a small distance.
    let squared = queries.sub(&rows.index_select(&nearest, 0)?)?.sqr()?.sum(D::Minus1)?;
    Ok((squared, nearest))
}

/// Picks `picks` of `rows`: `start` first, then again and again the one that is farthest from those
/// picked, the first of equal ones (the greedy solution of the k-centre problem). `tick` is told
/// how many are picked, and ends the search by an error.
///
/// # Shapes and units
/// `rows`: `[N, D]`, f32. Gives the numbers of the rows in the order of the picks.
///
/// # Errors
/// Fails if `start` is no row or there are fewer rows than picks, and with the error of `tick`.
pub fn k_centres<E: From<candle_core::Error>>(
    rows: &Tensor,
    start: usize,
    picks: usize,
    mut tick: impl FnMut(usize) -> std::result::Result<(), E>,
) -> std::result::Result<Vec<u32>, E> {
    let (n, _) = rows.dims2()?;
    if start >= n || picks > n {
        let (op, rows) = ("k_centres", rows.dims().to_vec());
        return Err(candle_core::Error::from(OpsError::Rows { op, rows, other: vec![start, picks] }).into());
    }
    let rows = rows.detach().contiguous()?;
    if runs_kernels(&[&rows]) {
        return cuda::k_centres(&rows, start, picks, tick);
    }
    let to = |row: usize| rows.broadcast_sub(&rows.narrow(0, row, 1)?)?.sqr()?.sum(D::Minus1);
    let (mut picked, mut distances) = (vec![start as u32], to(start)?);
    while picked.len() < picks {
        let farthest = distances.argmax(D::Minus1)?.to_scalar::<u32>()?;
        picked.push(farthest);
        distances = distances.minimum(&to(farthest as usize)?)?;
        tick(picked.len())?;
    }
    picked.truncate(picks);
    Ok(picked)
}

/// Sums over images of deviations at each position, and of their products: what means and
/// covariances are made of.
#[derive(Debug)]
pub struct PositionSums {
    /// `[P, D]`, f32.
    centre: Tensor,
    /// `[P, D]`, f64.
    sums: Tensor,
    /// Lower triangles row by row, `[P, D (D + 1) / 2]`, f64.
    products: Tensor,
    /// Places of the entries of a triangle, for devices without kernels.
    triangle: [Tensor; 2],
}

impl PositionSums {
    /// Sums of no image, of deviations from `centre`, `[P, D]`, f32.
    ///
    /// # Errors
    /// Fails for another rank, and where the device has no memory for the products.
    pub fn new(centre: &Tensor) -> Result<Self> {
        let ((positions, d), device) = (centre.dims2()?, centre.device());
        let entries = d * (d + 1) / 2;
        let places = |of: fn(usize, usize) -> usize| {
            let all = (0..d).flat_map(|i| (0..=i).map(move |j| of(i, j) as u32));
            Tensor::from_vec(all.collect::<Vec<_>>(), entries, device)
        };
        let zeros = |length| candle_core::Var::zeros((positions, length), DType::F64, device);
        Ok(Self {
            centre: centre.detach().contiguous()?,
            sums: zeros(d)?.into_inner(),
            products: zeros(entries)?.into_inner(),
            triangle: [places(|i, _| i)?, places(|_, j| j)?],
        })
    }

    /// Adds images, `[N, P, D]`, f32.
    ///
    /// # Errors
    /// Fails for other positions or widths.
    pub fn add(&mut self, images: &Tensor) -> Result<()> {
        let (_, positions, d) = images.dims3()?;
        if self.centre.dims() != [positions, d] {
            return Err(refusal("PositionSums", images, &self.centre));
        }
        let images = images.detach().contiguous()?;
        if runs_kernels(&[&images, &self.centre]) {
            return cuda::add_products(&images, &self.centre, &self.sums, &self.products);
        }
        let away = images.to_dtype(DType::F64)?.broadcast_sub(&self.centre.to_dtype(DType::F64)?)?;
        let [left, right] = [0, 1].map(|k| away.index_select(&self.triangle[k], 2));
        self.products = (self.products.detach() + left?.mul(&right?)?.sum(0)?)?;
        self.sums = (self.sums.detach() + away.sum(0)?)?;
        Ok(())
    }

    /// The sums, `P D` values, and the lower triangles of the products, row by row.
    ///
    /// # Errors
    /// Fails if the device fails.
    pub fn read(&self) -> Result<(Vec<f64>, Vec<f64>)> {
        Ok((self.sums.flatten_all()?.to_vec1()?, self.products.flatten_all()?.to_vec1()?))
    }
}

fn runs_kernels(tensors: &[&Tensor]) -> bool {
    tensors.iter().all(|tensor| tensor.dtype() == DType::F32 && default_kernels().path(tensor) == Path::Cuda)
}

fn refusal(op: &'static str, rows: &Tensor, other: &Tensor) -> candle_core::Error {
    OpsError::Rows { op, rows: rows.dims().to_vec(), other: other.dims().to_vec() }.into()
}
