//! The operators of networks on a traced tensor: each computes as its composed form does and is
//! written down as an operator of the standard.

use candle_core::{D, DType, Result, Tensor};

use super::graph::{Attribute, Graph, ValueId};
use super::{traced, written};
use crate::composed;
use crate::geometry::Geometry;
use crate::nonlinearity::Nonlinearity;
use crate::separable::{Gaussian, Interpolation};

pub(crate) fn conv2d(x: &Tensor, weight: &Tensor, g: &Geometry, groups: usize) -> Result<Tensor> {
    let y = composed::conv2d(x, weight, g, groups)?.contiguous()?;
    // Rows that no window reaches need no zeros behind them.
    let after = |size: usize, before: usize, out: usize, kernel: usize| {
        ((out - 1) * g.stride + kernel).saturating_sub(before + size)
    };
    let pads = [g.top, g.left, after(g.h, g.top, g.oh, g.kh), after(g.w, g.left, g.ow, g.kw)];
    written(&[x, weight], y, |graph, values| {
        let attributes = vec![
            ("kernel_shape", ints([g.kh, g.kw])),
            ("strides", ints([g.stride; 2])),
            ("pads", ints(pads)),
            ("group", Attribute::Int(groups as i64)),
        ];
        Ok(graph.node_with("Conv", values, attributes))
    })
}

pub(crate) fn conv_transpose2d(x: &Tensor, weight: &Tensor, g: &Geometry) -> Result<Tensor> {
    let y = composed::conv_transpose2d(x, weight, g)?.contiguous()?;
    written(&[x, weight], y, |graph, values| {
        let attributes = vec![
            ("kernel_shape", ints([g.kh, g.kw])),
            ("strides", ints([g.stride; 2])),
            ("pads", ints([g.top, g.left, g.top, g.left])),
        ];
        Ok(graph.node_with("ConvTranspose", values, attributes))
    })
}

pub(crate) fn max_pool2d(x: &Tensor, kernel: usize, stride: usize, padding: usize) -> Result<Tensor> {
    let y = composed::max_pool2d(x, kernel, stride, padding)?;
    written(&[x], y, |graph, values| {
        let attributes = vec![
            ("kernel_shape", ints([kernel; 2])),
            ("strides", ints([stride; 2])),
            ("pads", ints([padding; 4])),
        ];
        Ok(graph.node_with("MaxPool", values, attributes))
    })
}

pub(crate) fn nonlinearity(x: &Tensor, kind: Nonlinearity) -> Result<Tensor> {
    let y = composed::nonlinearity(x, kind)?;
    written(&[x], y, |graph, values| match kind {
        Nonlinearity::Identity => Ok(values[0]),
        Nonlinearity::Relu => Ok(graph.node("Relu", values)),
        Nonlinearity::Relu6 => {
            let bounds = [scalar(graph, x, 0.0)?, scalar(graph, x, 6.0)?];
            Ok(graph.node("Clip", &[values[0], bounds[0], bounds[1]]))
        }
    })
}

/// Written down as two products of matrices, which every runtime computes alike.
#[allow(clippy::needless_pass_by_value, reason = "the native kernels keep the two, with an equal signature")]
pub(crate) fn upsample_bilinear(x: &Tensor, rows: Interpolation, cols: Interpolation) -> Result<Tensor> {
    if (rows.size, cols.size) == (rows.taps.len(), cols.taps.len()) {
        return Ok(x.clone());
    }
    let [rows, cols] = [&rows, &cols].map(|axis| composed::interpolation_matrix(axis, x));
    let across = traced::matmul(x, &cols?.t()?.contiguous()?)?;
    traced::matmul(&rows?, &across)
}

pub(crate) fn add_nonlinearity(a: &Tensor, b: &Tensor, kind: Nonlinearity) -> Result<Tensor> {
    nonlinearity(&traced::add(a, b)?, kind)
}

pub(crate) fn channel_affine(x: &Tensor, scale: &Tensor, shift: &Tensor) -> Result<Tensor> {
    let [scale, shift] = [scale, shift].map(|constant| constant.reshape((1, (), 1, 1)));
    traced::add(&traced::mul(x, &scale?)?, &shift?)
}

pub(crate) fn cosine_distance(a: &Tensor, b: &Tensor, smallest_norm: f64) -> Result<Tensor> {
    let norm = |x: &Tensor| -> Result<Tensor> {
        let square = traced::sum(&traced::sqr(x)?, &[1])?;
        traced::sqrt(&traced::at_least(&square, smallest_norm * smallest_norm)?)
    };
    let product = traced::sum(&traced::mul(a, b)?, &[1])?;
    let cosine = traced::div(&product, &traced::mul(&norm(a)?, &norm(b)?)?)?;
    traced::affine(&cosine, -1.0, 1.0)
}

/// Written down as two products of matrices: no padding of the standard mirrors an image with its
/// border pixel twice.
pub(crate) fn gaussian_blur(x: &Tensor, gaussian: &Gaussian) -> Result<Tensor> {
    let (h, w) = (x.dim(D::Minus2)?, x.dim(D::Minus1)?);
    let columns = composed::blur_matrix(gaussian, w, x)?.t()?.contiguous()?;
    traced::matmul(&traced::matmul(&composed::blur_matrix(gaussian, h, x)?, x)?, &columns)
}

/// A number, on the device of `like`, as a constant of the graph.
pub(super) fn scalar(graph: &mut Graph, like: &Tensor, value: f64) -> Result<ValueId> {
    graph.float(&Tensor::new(value as f32, like.device())?.to_dtype(DType::F32)?)
}

pub(super) fn ints<const N: usize>(values: [usize; N]) -> Attribute {
    Attribute::Ints(values.iter().map(|&value| value as i64).collect())
}
