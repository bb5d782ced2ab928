//! Operators on rows of feature vectors.

use candle_core::{DType, Result, Tensor, Var};

use super::array::Array;
use super::launch;
use super::runner::Runner;

/// Squared distances and numbers of the nearest of `rows` to each of `queries`, `[N, D]`.
pub(crate) fn nearest_rows(queries: &Tensor, rows: &Tensor) -> Result<(Tensor, Tensor)> {
    let ((n, width), (m, _)) = (queries.dims2()?, rows.dims2()?);
    let runner = Runner::of(queries)?;
    let (queries, rows) = (Array::of(queries)?, Array::of(rows)?);
    let (squared, nearest) = launch::nearest_rows(&runner, (&queries, n), (&rows, m), width)?;
    Ok((squared.into_tensor(n)?, nearest.into_tensor(n)?))
}

/// The picks among `rows`, `[N, D]`.
pub(crate) fn k_centres<E: From<candle_core::Error>>(
    rows: &Tensor,
    start: usize,
    picks: usize,
    tick: impl FnMut(usize) -> std::result::Result<(), E>,
) -> std::result::Result<Vec<u32>, E> {
    let (n, width) = rows.dims2()?;
    let mut picked = vec![0; picks.max(1)];
    picked[0] = start as u32;
    let picked = Var::from_tensor(&Tensor::from_vec(picked, picks.max(1), rows.device())?)?;
    let array = Array::Of(picked.as_tensor().clone());
    launch::k_centres(&Runner::of(rows)?, (&Array::of(rows)?, n, width), (&array, picks), tick)?;
    Ok(picked.as_detached_tensor().narrow(0, 0, picks)?.to_vec1()?)
}

/// Adds `images`, `[N, P, D]`, to variables of sums and products.
pub(crate) fn add_products(images: &Tensor, centre: &Tensor, sums: &Tensor, products: &Tensor) -> Result<()> {
    debug_assert!(sums.is_variable() && products.dtype() == DType::F64);
    let runner = Runner::of(images)?;
    let arrays = [&Array::of(images)?, &Array::of(centre)?];
    let both = [&Array::Of(sums.clone()), &Array::Of(products.clone())];
    launch::add_products(&runner, arrays, both, images.dims3()?)
}
