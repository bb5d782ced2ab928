//! Operators of candle that a [`Trace`](crate::Trace) writes down. On a tensor that no trace knows
//! each is candle's own operator and nothing else.
//!
//! A tensor that no trace knows, beside a traced one, is a constant. Constants are f32.

use candle_core::{D, Result, Tensor};

use super::graph::{Attribute, Graph, ValueId};
use super::layers::{ints, scalar};
use super::written;
use crate::trace::is_traced;

/// `a + b`, with broadcasting.
///
/// # Errors
/// Fails if the shapes do not fit each other.
pub fn add(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    binary("Add", [a, b], a.broadcast_add(b)?)
}

/// `a - b`, with broadcasting.
///
/// # Errors
/// Fails if the shapes do not fit each other.
pub fn sub(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    binary("Sub", [a, b], a.broadcast_sub(b)?)
}

/// `a b`, with broadcasting.
///
/// # Errors
/// Fails if the shapes do not fit each other.
pub fn mul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    binary("Mul", [a, b], a.broadcast_mul(b)?)
}

/// `a / b`, with broadcasting.
///
/// # Errors
/// Fails if the shapes do not fit each other.
pub fn div(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    binary("Div", [a, b], a.broadcast_div(b)?)
}

/// `gain x + offset`.
///
/// # Errors
/// Fails if the device fails.
pub fn affine(x: &Tensor, gain: f64, offset: f64) -> Result<Tensor> {
    written(&[x], x.affine(gain, offset)?, |graph, values| {
        let mut y = values[0];
        if gain as f32 != 1.0 {
            let gain = scalar(graph, x, gain)?;
            y = graph.node("Mul", &[y, gain]);
        }
        if offset != 0.0 || y == values[0] {
            let offset = scalar(graph, x, offset)?;
            y = graph.node("Add", &[y, offset]);
        }
        Ok(y)
    })
}

/// `x²`.
///
/// # Errors
/// Fails if the device fails.
pub fn sqr(x: &Tensor) -> Result<Tensor> {
    written(&[x], x.sqr()?, |graph, values| Ok(graph.node("Mul", &[values[0]; 2])))
}

/// The square root.
///
/// # Errors
/// Fails if the device fails.
pub fn sqrt(x: &Tensor) -> Result<Tensor> {
    unary("Sqrt", x, x.sqrt()?)
}

/// The exponential.
///
/// # Errors
/// Fails if the device fails.
pub fn exp(x: &Tensor) -> Result<Tensor> {
    unary("Exp", x, x.exp()?)
}

/// The absolute value.
///
/// # Errors
/// Fails if the device fails.
pub fn abs(x: &Tensor) -> Result<Tensor> {
    unary("Abs", x, x.abs()?)
}

/// The lesser of each element and `bound`.
///
/// # Errors
/// Fails if the device fails.
pub fn at_most(x: &Tensor, bound: f64) -> Result<Tensor> {
    written(&[x], x.minimum(bound)?, |graph, values| {
        let bound = scalar(graph, x, bound)?;
        Ok(graph.node("Min", &[values[0], bound]))
    })
}

/// The greater of each element and `bound`.
///
/// # Errors
/// Fails if the device fails.
pub fn at_least(x: &Tensor, bound: f64) -> Result<Tensor> {
    written(&[x], x.maximum(bound)?, |graph, values| {
        let bound = scalar(graph, x, bound)?;
        Ok(graph.node("Max", &[values[0], bound]))
    })
}

/// The lesser of two elements in the same place.
///
/// # Errors
/// Fails if the shapes differ.
pub fn minimum(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    binary("Min", [a, b], a.minimum(b)?)
}

/// The product of matrices in the last two axes, with broadcasting over the others.
///
/// # Errors
/// Fails if the shapes do not fit each other.
pub fn matmul(a: &Tensor, b: &Tensor) -> Result<Tensor> {
    binary("MatMul", [a, b], a.broadcast_matmul(b)?)
}

/// The sum over `axes`, which stay with one element each.
///
/// # Errors
/// Fails for an axis that `x` has not.
pub fn sum_keepdim(x: &Tensor, axes: &[usize]) -> Result<Tensor> {
    written(&[x], x.sum_keepdim(axes)?, |graph, values| {
        Ok(reduced(graph, "ReduceSum", values[0], axes, true))
    })
}

/// The sum over `axes`.
///
/// # Errors
/// Fails for an axis that `x` has not.
pub fn sum(x: &Tensor, axes: &[usize]) -> Result<Tensor> {
    written(&[x], x.sum(axes)?, |graph, values| Ok(reduced(graph, "ReduceSum", values[0], axes, false)))
}

/// The mean over `axes`.
///
/// # Errors
/// Fails for an axis that `x` has not.
pub fn mean(x: &Tensor, axes: &[usize]) -> Result<Tensor> {
    written(&[x], x.mean(axes)?, |graph, values| Ok(reduced(graph, "ReduceMean", values[0], axes, false)))
}

/// The largest element, a scalar.
///
/// # Errors
/// Fails if there is no element.
pub fn max_all(x: &Tensor) -> Result<Tensor> {
    let axes: Vec<usize> = (0..x.rank()).collect();
    written(&[x], x.max_all()?, |graph, values| Ok(reduced(graph, "ReduceMax", values[0], &axes, false)))
}

/// The smallest element, a scalar.
///
/// # Errors
/// Fails if there is no element.
pub fn min_all(x: &Tensor) -> Result<Tensor> {
    let axes: Vec<usize> = (0..x.rank()).collect();
    written(&[x], x.min_all()?, |graph, values| Ok(reduced(graph, "ReduceMin", values[0], &axes, false)))
}

/// The place of the smallest element of each row, `[N, M]` to `[N]`, u32.
///
/// # Errors
/// Fails for another rank.
pub fn argmin(x: &Tensor) -> Result<Tensor> {
    x.dims2()?;
    written(&[x], x.argmin(D::Minus1)?, |graph, values| Ok(place(graph, "ArgMin", values[0])))
}

/// The place of the largest element of each row, `[N, M]` to `[N]`, u32.
///
/// # Errors
/// Fails for another rank.
pub fn argmax(x: &Tensor) -> Result<Tensor> {
    x.dims2()?;
    written(&[x], x.argmax(D::Minus1)?, |graph, values| Ok(place(graph, "ArgMax", values[0])))
}

/// The places of the `count` smallest elements of `x`, `[N]`, u32, the smallest first.
///
/// # Errors
/// Fails for another rank, or if there are fewer elements.
pub fn smallest(x: &Tensor, count: usize) -> Result<Tensor> {
    let places = x.arg_sort_last_dim(true)?.narrow(0, 0, count)?.contiguous()?;
    written(&[x], places, |graph, values| {
        let count = graph.ints([count as i64]);
        let attributes = vec![("axis", Attribute::Int(0)), ("largest", Attribute::Int(0))];
        Ok(graph.second_of_two("TopK", &[values[0], count], attributes))
    })
}

/// The rows of `x` at `places`, `[N]`, u32: the first axis of `x` becomes of N.
///
/// # Errors
/// Fails for a place beyond the rows.
pub fn rows_at(x: &Tensor, places: &Tensor) -> Result<Tensor> {
    let y = x.index_select(places, 0)?;
    if !is_traced(places) {
        return index_select(x, &places.to_vec1::<u32>()?, 0);
    }
    written(&[x, places], y, |graph, values| {
        Ok(graph.node_with("Gather", values, vec![("axis", Attribute::Int(0))]))
    })
}

/// The parts of `x` at constant `places` along `axis`.
///
/// # Errors
/// Fails for an axis or a place that `x` has not.
pub fn index_select(x: &Tensor, places: &[u32], axis: usize) -> Result<Tensor> {
    let y = x.contiguous()?.index_select(&Tensor::new(places, x.device())?, axis)?;
    written(&[x], y, |graph, values| {
        let places = graph.ints(places.iter().map(|&place| i64::from(place)));
        let attributes = vec![("axis", Attribute::Int(axis as i64))];
        Ok(graph.node_with("Gather", &[values[0], places], attributes))
    })
}

/// `length` parts of `x` from `start` on along `axis`.
///
/// # Errors
/// Fails for a part that `x` has not.
pub fn narrow(x: &Tensor, axis: usize, start: usize, length: usize) -> Result<Tensor> {
    written(&[x], x.narrow(axis, start, length)?, |graph, values| {
        let [start, length, axis] = [start, length, axis].map(|value| value as i64);
        let bounds = [graph.ints([start]), graph.ints([start + length]), graph.ints([axis])];
        Ok(graph.node("Slice", &[values[0], bounds[0], bounds[1], bounds[2]]))
    })
}

/// The elements of `x` in another shape.
///
/// # Errors
/// Fails for another number of elements.
pub fn reshape(x: &Tensor, dims: &[usize]) -> Result<Tensor> {
    written(&[x], x.reshape(dims)?, |graph, values| {
        let dims = graph.ints(dims.iter().map(|&dim| dim as i64));
        Ok(graph.node("Reshape", &[values[0], dims]))
    })
}

/// `x` with its axes in another order, contiguous.
///
/// # Errors
/// Fails for an order that does not name each axis once.
pub fn permute<const N: usize>(x: &Tensor, order: [usize; N]) -> Result<Tensor> {
    let y = x.permute(order.to_vec())?.force_contiguous()?;
    written(&[x], y, |graph, values| {
        Ok(graph.node_with("Transpose", &[values[0]], vec![("perm", ints(order))]))
    })
}

/// `parts` joined along `axis`.
///
/// # Errors
/// Fails without a part, or if another axis differs.
pub fn cat(parts: &[&Tensor], axis: usize) -> Result<Tensor> {
    let y = Tensor::cat(parts, axis)?;
    written(parts, y, |graph, values| {
        Ok(graph.node_with("Concat", values, vec![("axis", Attribute::Int(axis as i64))]))
    })
}

/// `x` with zeros around its last two axes, `[N, C, H, W]`.
///
/// # Errors
/// Fails for another rank.
pub fn pad_with_zeros(x: &Tensor, [top, bottom]: [usize; 2], [left, right]: [usize; 2]) -> Result<Tensor> {
    let y = x.pad_with_zeros(2, top, bottom)?.pad_with_zeros(3, left, right)?;
    written(&[x], y, |graph, values| {
        let pads = [0, 0, top, left, 0, 0, bottom, right].map(|pad| pad as i64);
        let pads = graph.ints(pads);
        Ok(graph.node("Pad", &[values[0], pads]))
    })
}

/// The mean of each window of `side` times `side` elements, at steps of one, `[N, C, H, W]`.
///
/// # Errors
/// Fails for another rank or a window larger than the image.
pub fn average_pool2d(x: &Tensor, side: usize) -> Result<Tensor> {
    written(&[x], x.avg_pool2d_with_stride(side, 1)?, |graph, values| {
        Ok(graph.node_with("AveragePool", values, vec![("kernel_shape", ints([side; 2]))]))
    })
}

/// The values without their gradients.
pub fn detach(x: &Tensor) -> Tensor {
    if is_traced(x) { x.clone() } else { x.detach() }
}

/// The values in row-major order in memory.
///
/// # Errors
/// Fails if the device fails.
pub fn contiguous(x: &Tensor) -> Result<Tensor> {
    written(&[x], x.contiguous()?, |_, values| Ok(values[0]))
}

fn unary(operator: &'static str, x: &Tensor, y: Tensor) -> Result<Tensor> {
    written(&[x], y, |graph, values| Ok(graph.node(operator, values)))
}

fn binary(operator: &'static str, operands: [&Tensor; 2], y: Tensor) -> Result<Tensor> {
    written(&operands, y, |graph, values| Ok(graph.node(operator, values)))
}

/// The sum takes its axes as an input, the other reductions of version 18 do too.
fn reduced(
    graph: &mut Graph,
    operator: &'static str,
    x: ValueId,
    axes: &[usize],
    keeps_axes: bool,
) -> ValueId {
    let axes = graph.ints(axes.iter().map(|&axis| axis as i64));
    let attributes = vec![("keepdims", Attribute::Int(i64::from(keeps_axes)))];
    graph.node_with(operator, &[x, axes], attributes)
}

fn place(graph: &mut Graph, operator: &'static str, x: ValueId) -> ValueId {
    graph.node_with(operator, &[x], vec![("axis", Attribute::Int(1)), ("keepdims", Attribute::Int(0))])
}
