//! The launches of operators on rows of feature vectors, f32.

use candle_core::Result;

use super::super::gpu::Argument::{In, Out};
use super::super::gpu::{BUSY, Element, Gpu, LANE_ROWS, THREADS, TILE, each, int, number};

/// The nearest of `m` rows to each of `n` queries: squared distances, and numbers of rows.
pub(crate) fn nearest_rows<G: Gpu>(
    gpu: &G,
    (queries, n): (&G::Memory, usize),
    (rows, m): (&G::Memory, usize),
    width: usize,
) -> Result<(G::Memory, G::Memory)> {
    int(n.max(m) * width)?;
    let squares = gpu.floats(m)?;
    let arguments = [In(rows), Out(&squares), number(m)?, number(width)?];
    gpu.launch("squared_lengths", each(m), THREADS, &arguments)?;

    let blocks = n.div_ceil(TILE);
    let parts = (2 * BUSY).div_ceil(blocks).min(m.div_ceil(TILE)).max(1);
    int(parts * n)?;
    let (least, candidates) = (gpu.floats(parts * n)?, gpu.array(parts * n, Element::U32)?);
    let arrays = [In(queries), In(rows), In(&squares), Out(&least), Out(&candidates)];
    let arguments: Vec<_> = arrays.into_iter().chain([number(n)?, number(m)?, number(width)?]).collect();
    gpu.launch("nearest_parts", [blocks, parts, 1], THREADS, &arguments)?;

    let (squared, nearest) = (gpu.floats(n)?, gpu.array(n, Element::U32)?);
    let arrays = [In(queries), In(rows), In(&least), In(&candidates), Out(&squared), Out(&nearest)];
    let arguments: Vec<_> = arrays.into_iter().chain([number(n)?, number(parts)?, number(width)?]).collect();
    gpu.launch("nearest_rows", each(n), THREADS, &arguments)?;
    Ok((squared, nearest))
}

/// Picks `picks` of `n` rows: the first of `picked`, then again and again the one that is farthest
/// from those picked. `tick` is told how many are picked.
pub(crate) fn k_centres<G: Gpu, E: From<candle_core::Error>>(
    gpu: &G,
    (rows, n, width): (&G::Memory, usize, usize),
    (picked, picks): (&G::Memory, usize),
    mut tick: impl FnMut(usize) -> std::result::Result<(), E>,
) -> std::result::Result<(), E> {
    int(n * width)?;
    let blocks = n.div_ceil(LANE_ROWS);
    let (distances, farthest) = (gpu.floats(n)?, gpu.floats(blocks)?);
    let places = gpu.array(blocks, Element::U32)?;
    for step in 0..picks.saturating_sub(1) {
        let arrays = [In(rows), In(picked), Out(&distances), Out(&farthest), Out(&places)];
        let numbers = [number(n)?, number(width)?, number(step)?];
        let arguments: Vec<_> = arrays.into_iter().chain(numbers).collect();
        gpu.launch("k_centre_update", [blocks, 1, 1], THREADS, &arguments)?;
        let arguments = [In(&farthest), In(&places), Out(picked), number(blocks)?, number(step)?];
        gpu.launch("k_centre_pick", [1, 1, 1], THREADS, &arguments)?;
        tick(step + 2)?;
    }
    Ok(())
}

/// Adds what `n` images of `positions` rows of `d` values deviate from `centre` to `sums`, and the
/// products of these deviations to the lower triangles `products`.
pub(crate) fn add_products<G: Gpu>(
    gpu: &G,
    [images, centre]: [&G::Memory; 2],
    [sums, products]: [&G::Memory; 2],
    (n, positions, d): (usize, usize, usize),
) -> Result<()> {
    int(d * (d + 1) / 2)?;
    int(n * positions * d)?;
    let arrays = [In(images), In(centre), Out(sums), Out(products)];
    let arguments: Vec<_> = arrays.into_iter().chain([number(n)?, number(positions)?, number(d)?]).collect();
    gpu.launch("add_products", [positions, 1, 1], THREADS, &arguments)
}
