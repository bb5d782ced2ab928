//! The launches of the operators of networks.

use candle_core::Result;

use super::super::gpu::Argument::{Double, Float, In, Int, Out};
use super::super::gpu::{
    Argument, BUSY, Element, Gpu, LANE_ROWS, LANES, THREADS, TILE, each, int, kind, number, parts, sizes,
};
use crate::geometry::Geometry;
use crate::nonlinearity::Nonlinearity;

/// Depthwise convolution of `x`, `[N, H, W, C]`, with `weight`, `[C, 1, kh, kw]`.
pub(crate) fn depthwise<G: Gpu>(
    gpu: &G,
    x: &G::Memory,
    weight: &G::Memory,
    g: &Geometry,
) -> Result<G::Memory> {
    let length = g.n * g.oh * g.ow * g.co;
    let y = gpu.reals(length)?;
    gpu.launch("depthwise_forward", each(length), THREADS, &[In(x), In(weight), Out(&y), sizes(g)?])?;
    Ok(y)
}

/// A frozen depthwise convolution: `function(depthwise(x) + bias)`.
pub(crate) fn depthwise_frozen<G: Gpu>(
    gpu: &G,
    x: &G::Memory,
    (weight, bias): (&G::Memory, &G::Memory),
    function: Nonlinearity,
    g: &Geometry,
) -> Result<G::Memory> {
    let length = g.n * g.oh * g.ow * g.co;
    let y = gpu.reals(length)?;
    let arguments = [In(x), In(weight), In(bias), Out(&y), sizes(g)?, kind(function)];
    gpu.launch("depthwise_frozen", each(length), THREADS, &arguments)?;
    Ok(y)
}

/// The gradient of the input of [`depthwise`].
pub(crate) fn depthwise_input_gradient<G: Gpu>(
    gpu: &G,
    grad: &G::Memory,
    weight: &G::Memory,
    g: &Geometry,
) -> Result<G::Memory> {
    let length = g.n * g.h * g.w * g.co;
    let dx = gpu.reals(length)?;
    let arguments = [In(grad), In(weight), Out(&dx), sizes(g)?];
    gpu.launch("depthwise_input_gradient", each(length), THREADS, &arguments)?;
    Ok(dx)
}

/// The gradient of the weight of [`depthwise`].
pub(crate) fn depthwise_weight_gradient<G: Gpu>(
    gpu: &G,
    x: &G::Memory,
    grad: &G::Memory,
    g: &Geometry,
) -> Result<G::Memory> {
    let (taps, columns) = (g.kh * g.kw, g.co.div_ceil(LANES));
    let count = parts(g.n * g.oh * g.ow, taps * columns);
    let length = g.co * taps;
    let partial = gpu.floats(count * length)?;
    let grid = [columns, count, taps];
    let arguments = [In(x), In(grad), Out(&partial), sizes(g)?];
    gpu.launch("depthwise_weight_gradient", grid, THREADS, &arguments)?;
    let weight = gpu.floats(length)?;
    let arguments = [In(&partial), Out(&weight), number(count)?, number(length)?];
    gpu.launch("sum_parts", each(length), THREADS, &arguments)?;
    Ok(weight)
}

/// The weight `[C_out, C_in, kh, kw]` as the dense convolutions below take it.
pub(crate) fn packed<G: Gpu>(gpu: &G, weight: &G::Memory, g: &Geometry) -> Result<G::Memory> {
    let taps = g.kh * g.kw;
    let packed = gpu.floats(g.co * g.ci * taps)?;
    let arguments = [In(weight), Out(&packed), number(g.co)?, number(g.ci)?, number(taps)?];
    gpu.launch("pack_weight", each(g.co * g.ci * taps), THREADS, &arguments)?;
    Ok(packed)
}

/// Dense convolution of `x`, `[N, H, W, C_in]`, with a [`packed`] weight.
pub(crate) fn conv<G: Gpu>(gpu: &G, x: &G::Memory, packed: &G::Memory, g: &Geometry) -> Result<G::Memory> {
    let rows = g.n * g.oh * g.ow;
    let y = gpu.reals(rows * g.co)?;
    let grid = [rows.div_ceil(TILE), g.co.div_ceil(TILE), 1];
    gpu.launch("conv_forward", grid, THREADS, &[In(x), In(packed), Out(&y), sizes(g)?])?;
    Ok(y)
}

/// A frozen convolution: `function(conv(x) + bias + added)`.
pub(crate) fn conv_frozen<G: Gpu>(
    gpu: &G,
    x: &G::Memory,
    (packed, bias): (&G::Memory, &G::Memory),
    added: Option<&G::Memory>,
    function: Nonlinearity,
    g: &Geometry,
) -> Result<G::Memory> {
    let rows = g.n * g.oh * g.ow;
    let y = gpu.reals(rows * g.co)?;
    let grid = [rows.div_ceil(TILE), g.co.div_ceil(TILE), 1];
    let add = Int(i32::from(added.is_some()));
    let inputs = [In(x), In(packed), In(bias), In(added.unwrap_or(x)), Out(&y)];
    let arguments: Vec<_> = inputs.into_iter().chain([sizes(g)?, add, kind(function)]).collect();
    gpu.launch("conv_frozen", grid, THREADS, &arguments)?;
    Ok(y)
}

/// The gradient of the input of [`conv`], plus `added`, a gradient that reaches the input on
/// another way.
pub(crate) fn conv_input_gradient<G: Gpu>(
    gpu: &G,
    grad: &G::Memory,
    packed: &G::Memory,
    added: Option<&G::Memory>,
    g: &Geometry,
) -> Result<G::Memory> {
    let rows = g.n * g.h * g.w;
    let dx = gpu.reals(rows * g.ci)?;
    let grid = [rows.div_ceil(TILE), g.ci.div_ceil(TILE), 1];
    let add = Int(i32::from(added.is_some()));
    let arguments = [In(grad), In(packed), In(added.unwrap_or(grad)), Out(&dx), sizes(g)?, add];
    gpu.launch("conv_input_gradient", grid, THREADS, &arguments)?;
    Ok(dx)
}

/// The gradient of the weight of [`conv`], `[C_out, C_in, kh, kw]`.
pub(crate) fn conv_weight_gradient<G: Gpu>(
    gpu: &G,
    x: &G::Memory,
    grad: &G::Memory,
    g: &Geometry,
) -> Result<G::Memory> {
    let (taps, positions) = (g.kh * g.kw, g.n * g.oh * g.ow);
    let [rows, columns] = [(taps * g.ci).div_ceil(TILE), g.co.div_ceil(TILE)];
    let count = (2 * BUSY).div_ceil(rows * columns).min(positions.div_ceil(TILE)).max(1);
    let length = g.co * g.ci * taps;
    let partial = gpu.floats(count * length)?;
    let arguments = [In(x), In(grad), Out(&partial), sizes(g)?];
    gpu.launch("conv_weight_gradient", [rows, columns, count], THREADS, &arguments)?;
    let weight = gpu.floats(length)?;
    let arguments = [In(&partial), Out(&weight), number(count)?, number(g.co)?, number(g.ci)?, number(taps)?];
    gpu.launch("sum_packed_parts", each(length), THREADS, &arguments)?;
    Ok(weight)
}

/// A batch normalisation in training, of `rows` rows of `c` channels, and what follows it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Norm {
    pub(crate) rows: usize,
    pub(crate) c: usize,
    pub(crate) epsilon: f64,
    pub(crate) kind: Nonlinearity,
}

impl Norm {
    fn columns(&self) -> usize {
        self.c.div_ceil(LANES)
    }

    fn rows_and_channels<'a, M>(&self) -> Result<[Argument<'a, M>; 2]> {
        int(self.rows * self.c)?;
        Ok([number(self.rows)?, number(self.c)?])
    }

    /// Mean and biased variance, `[2, C]`. The running mean and variance, `[C]` each, move towards
    /// them by a part of the way.
    pub(crate) fn statistics<G: Gpu>(
        &self,
        gpu: &G,
        x: &G::Memory,
        running: Option<([&G::Memory; 2], f32)>,
    ) -> Result<G::Memory> {
        let count = parts(self.rows, self.columns());
        let (partial, counts) = (gpu.floats(count * 2 * self.c)?, gpu.floats(count)?);
        let [rows, c] = self.rows_and_channels()?;
        let grid = [self.columns(), count, 1];
        gpu.launch("norm_parts", grid, THREADS, &[In(x), Out(&partial), Out(&counts), rows, c])?;
        let statistics = gpu.floats(2 * self.c)?;
        // The kernel leaves the two as they are where it moves nothing.
        let ([mean, variance], momentum) = running.unwrap_or(([&partial; 2], 0.0));
        let arrays = [In(&partial), In(&counts), Out(&statistics), Out(mean), Out(variance)];
        let numbers = [number(count)?, number(self.c)?, Float(momentum)];
        let arguments: Vec<_> = arrays.into_iter().chain(numbers).collect();
        gpu.launch("norm_statistics", each(self.c), THREADS, &arguments)?;
        Ok(statistics)
    }

    /// The normalised rows; with `shortcut` its function of their sum with another image.
    pub(crate) fn apply<G: Gpu>(
        &self,
        gpu: &G,
        x: &G::Memory,
        [statistics, weight, bias]: [&G::Memory; 3],
        shortcut: Option<(&G::Memory, Nonlinearity)>,
    ) -> Result<G::Memory> {
        let y = gpu.reals(self.rows * self.c)?;
        let added = shortcut.map_or(x, |(added, _)| added);
        let [rows, c] = self.rows_and_channels()?;
        let of_sum = shortcut.map_or(Nonlinearity::Identity, |(_, function)| function);
        let arguments = [
            In(x),
            In(statistics),
            In(weight),
            In(bias),
            In(added),
            Out(&y),
            rows,
            c,
            Double(self.epsilon),
            kind(self.kind),
            Int(i32::from(shortcut.is_some())),
            kind(of_sum),
        ];
        gpu.launch("norm_apply", each(self.rows * self.c), THREADS, &arguments)?;
        Ok(y)
    }

    /// The gradients of the rows, and of bias and weight, `[2, C]` in this order.
    pub(crate) fn gradients<G: Gpu>(
        &self,
        gpu: &G,
        [x, grad]: [&G::Memory; 2],
        [statistics, weight, bias]: [&G::Memory; 3],
    ) -> Result<(G::Memory, G::Memory)> {
        let count = parts(self.rows, self.columns());
        let (epsilon, dx) = (self.epsilon, gpu.reals(self.rows * self.c)?);
        let (partial, sums) = (gpu.floats(count * 2 * self.c)?, gpu.floats(2 * self.c)?);
        let inputs = || [In(x), In(grad), In(statistics), In(weight), In(bias)].into_iter();
        let numbers = || -> Result<_> {
            Ok(self.rows_and_channels()?.into_iter().chain([Double(epsilon), kind(self.kind)]))
        };
        let arguments: Vec<_> = inputs().chain([Out(&partial)]).chain(numbers()?).collect();
        gpu.launch("norm_gradient_parts", [self.columns(), count, 1], THREADS, &arguments)?;
        let arrays = [In(&partial), In(statistics), Out(&sums)];
        let arguments: Vec<_> =
            arrays.into_iter().chain([number(count)?, number(self.c)?, Double(epsilon)]).collect();
        gpu.launch("norm_parameter_gradient", each(self.c), THREADS, &arguments)?;
        let arguments: Vec<_> = inputs().chain([In(&sums), Out(&dx)]).chain(numbers()?).collect();
        gpu.launch("norm_input_gradient", each(self.rows * self.c), THREADS, &arguments)?;
        Ok((dx, sums))
    }
}

/// Factors and summands of [`pointwise`].
pub(crate) struct Affine<'a, M> {
    /// A factor of each channel.
    pub(crate) scale: Option<&'a M>,
    /// A summand of each channel.
    pub(crate) shift: Option<&'a M>,
    /// An image of the same shape.
    pub(crate) added: Option<&'a M>,
}

/// `function(x scale + shift + added)` of rows of `c` channels, `length` values.
pub(crate) fn pointwise<G: Gpu>(
    gpu: &G,
    x: &G::Memory,
    affine: &Affine<'_, G::Memory>,
    function: Nonlinearity,
    (length, c): (usize, usize),
) -> Result<G::Memory> {
    let y = gpu.reals(length)?;
    let Affine { scale, shift, added } = *affine;
    let bit = |part: Option<&G::Memory>, bit: i32| if part.is_some() { bit } else { 0 };
    let what = Int(bit(scale, 1) + bit(shift, 2) + bit(added, 4));
    let arrays = [In(x), In(scale.unwrap_or(x)), In(shift.unwrap_or(x)), In(added.unwrap_or(x)), Out(&y)];
    let numbers = [number(length)?, number(c)?, what, kind(function)];
    let arguments: Vec<_> = arrays.into_iter().chain(numbers).collect();
    gpu.launch("pointwise", each(length), THREADS, &arguments)?;
    Ok(y)
}

/// Pixels `[N, H, W, 3]` of 8 bits, `length` in all, as the input of a network.
pub(crate) fn normalized_pixels<G: Gpu>(
    gpu: &G,
    pixels: &G::Memory,
    [mean, deviation]: [&G::Memory; 2],
    length: usize,
) -> Result<G::Memory> {
    let y = gpu.reals(length)?;
    let arguments = [In(pixels), In(mean), In(deviation), Out(&y), number(length)?];
    gpu.launch("normalized_pixels", each(length), THREADS, &arguments)?;
    Ok(y)
}

/// The gradient of the input of `function`, from the gradients of its result `y` on one way or two.
pub(crate) fn sum_masked<G: Gpu>(
    gpu: &G,
    (first, second): (&G::Memory, Option<&G::Memory>),
    (y, function): (&G::Memory, Nonlinearity),
    length: usize,
) -> Result<G::Memory> {
    let sum = gpu.reals(length)?;
    let (other, both) = (second.unwrap_or(first), Int(i32::from(second.is_some())));
    let arguments = [In(first), In(other), In(y), Out(&sum), number(length)?, both, kind(function)];
    gpu.launch("sum_masked", each(length), THREADS, &arguments)?;
    Ok(sum)
}

/// Max pooling, and the tap that won at each output position.
pub(crate) fn max_pool<G: Gpu>(gpu: &G, x: &G::Memory, g: &Geometry) -> Result<(G::Memory, G::Memory)> {
    let length = g.n * g.oh * g.ow * g.co;
    let (y, taken) = (gpu.reals(length)?, gpu.array(length, Element::U8)?);
    gpu.launch("max_pool", each(length), THREADS, &[In(x), Out(&y), Out(&taken), sizes(g)?])?;
    Ok((y, taken))
}

/// The gradient of the input of [`max_pool`].
pub(crate) fn max_pool_gradient<G: Gpu>(
    gpu: &G,
    grad: &G::Memory,
    taken: &G::Memory,
    g: &Geometry,
) -> Result<G::Memory> {
    let length = g.n * g.h * g.w * g.co;
    let dx = gpu.reals(length)?;
    gpu.launch("max_pool_gradient", each(length), THREADS, &[In(grad), In(taken), Out(&dx), sizes(g)?])?;
    Ok(dx)
}

/// Cosine distance of two images of `c` channels at each of `positions` positions, f32.
pub(crate) fn cosine_distance<G: Gpu>(
    gpu: &G,
    [a, b]: [&G::Memory; 2],
    positions: usize,
    c: usize,
    smallest_norm: f32,
) -> Result<G::Memory> {
    int(positions * c)?;
    let distance = gpu.floats(positions)?;
    let arguments = [In(a), In(b), Out(&distance), number(positions)?, number(c)?, Float(smallest_norm)];
    gpu.launch("cosine_distance", [positions.div_ceil(LANE_ROWS), 1, 1], THREADS, &arguments)?;
    Ok(distance)
}

/// The gradient of the first image of [`cosine_distance`].
pub(crate) fn cosine_gradient<G: Gpu>(
    gpu: &G,
    [a, b, grad]: [&G::Memory; 3],
    positions: usize,
    c: usize,
    smallest_norm: f32,
) -> Result<G::Memory> {
    int(positions * c)?;
    let da = gpu.reals(positions * c)?;
    let arguments = [In(a), In(b), In(grad), Out(&da), number(positions)?, number(c)?, Float(smallest_norm)];
    gpu.launch("cosine_gradient", [positions.div_ceil(LANE_ROWS), 1, 1], THREADS, &arguments)?;
    Ok(da)
}
