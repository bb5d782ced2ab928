//! Random networks as ONNX files: traced, exported, and run by a runtime that shares no code with
//! this workspace.

use candle_core::{DType, Device, Result, Tensor};
use fmam_core::ImageSize;
use fmam_onnx::{Detection, InputSize};
use fmam_ops::{
    Activation, Conv2dConfig, Nonlinearity, Padding, Trace, conv2d, gaussian_blur, max_pool2d, nonlinearity,
    traced, upsample_bilinear,
};
use tract_onnx::prelude::*;

use super::bytes::Choices;
use super::bytes::Seed;

const SIZE: ImageSize = ImageSize::new(6, 8);

/// Operators of a network, at most.
const LONGEST: usize = 12;

/// Channels of a value, at most.
const WIDEST: usize = 8;

fn numbers(shape: &[usize], seed: usize) -> Result<Tensor> {
    let count: usize = shape.iter().product();
    let value = |at: usize| ((at * 7919 + seed * 31) as f32 * 0.618_034).fract() - 0.5;
    Tensor::from_vec((0..count).map(value).collect(), shape, &Device::Cpu)
}

/// Keeps numbers in a range in which f32 has digits.
fn bounded(x: &Tensor) -> Result<Tensor> {
    traced::at_least(&traced::at_most(x, 100.0)?, -100.0)
}

/// The next value of a network, `[1, channels, height, width]`, from `x` and `y` of the same shape.
fn next(x: &Tensor, y: &Tensor, choices: &mut Choices<'_>) -> Result<Tensor> {
    let (_, channels, height, width) = x.dims4()?;
    let (kind, size) = (choices.below(24), choices.below(7));
    let layer = |layer: Result<Activation>| layer?.to_nchw();
    match kind {
        0 | 1 => {
            let (groups, out) = if kind == 0 { (1, 1 + size) } else { (channels, channels) };
            let kernel = 1 + choices.below(3);
            let weight = numbers(&[out, channels / groups, kernel, kernel], size)?;
            let padding = if size % 2 == 0 { Padding::TfSame } else { Padding::Symmetric(kernel / 2) };
            let config = Conv2dConfig { stride: 1 + choices.below(2), padding, groups };
            layer(conv2d(&Activation::from_nchw(x)?, &weight, &config))
        }
        2 => layer(max_pool2d(&Activation::from_nchw(x)?, 1 + size % 3, 1 + choices.below(2), size % 2)),
        3 => {
            let kind = [Nonlinearity::Relu, Nonlinearity::Relu6, Nonlinearity::Identity][size % 3];
            layer(nonlinearity(&Activation::from_nchw(x)?, kind))
        }
        4 => upsample_bilinear(x, 1 + size, 1 + choices.below(9), choices.below(2) == 1),
        5 => gaussian_blur(x, 0.25 * (1 + size) as f64),
        6 => traced::add(x, y),
        7 => traced::sub(x, y),
        8 => traced::mul(x, y),
        9 => traced::div(x, &traced::affine(&traced::abs(y)?, 1.0, 1.0)?),
        10 => traced::affine(x, size as f64 - 3.0, 0.5),
        11 => traced::sqr(x),
        12 => traced::sqrt(&traced::affine(&traced::abs(x)?, 1.0, 0.01)?),
        13 => traced::exp(&traced::at_most(x, 3.0)?),
        14 => traced::tanh(x),
        15 => traced::softmax(x),
        16 => traced::minimum(x, y),
        17 if 2 * channels <= WIDEST => traced::cat(&[x, y], 1),
        18 => traced::narrow(x, 1, size % channels, channels - size % channels),
        19 => traced::mean_keepdim(x, &[1]),
        20 => traced::sum_keepdim(x, &[1]),
        21 => traced::pad_with_zeros(x, [size % 2, 1], [0, size % 3]),
        22 if height.min(width) > 2 => traced::average_pool2d(x, 3),
        _ => {
            let turned = traced::permute(x, [0, 1, 3, 2])?;
            traced::index_select(&turned, &[(size % channels) as u32, 0], 1)
        }
    }
}

/// The score and the map of a network of `choices` on `pixels`.
fn network(pixels: &Tensor, mut choices: Choices<'_>) -> Result<(Tensor, Tensor)> {
    let mut values = vec![traced::affine(pixels, 1.0 / 255.0, -0.5)?];
    while !choices.is_over() && values.len() < LONGEST {
        let x = values[values.len() - 1].clone();
        let before = values[choices.below(values.len())].clone();
        let y = if before.dims() == x.dims() { before } else { x.clone() };
        values.push(bounded(&next(&x, &y, &mut choices)?)?);
    }
    let last = traced::mean_keepdim(&values[values.len() - 1], &[1])?;
    let map = upsample_bilinear(&last, SIZE.height, SIZE.width, false)?;
    Ok((traced::max_all(&map)?, map))
}

fn floats(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// A network of the operators that can be written down gives the same numbers by the file.
pub fn graph(data: &[u8]) -> bool {
    let bytes: Vec<u8> = (0..3 * SIZE.pixels()).map(|at| (at * 37 % 256) as u8).collect();
    let pixels = Tensor::from_slice(&bytes, (1, SIZE.height, SIZE.width, 3), &Device::Cpu).unwrap();
    let pixels = pixels.to_dtype(DType::F32).unwrap().permute((0, 3, 1, 2)).unwrap().contiguous().unwrap();
    let trace = Trace::new();
    let Ok((score, map)) = network(&trace.input(&pixels).unwrap(), Choices(data)) else { return false };
    let detection = Detection {
        score: trace.value(&score).expect("every operator is written down"),
        map: trace.value(&map).expect("every operator is written down"),
        graph: trace.graph(),
        size: SIZE,
        threshold: Some(1.0),
        input: InputSize::Fixed,
        metadata: Vec::new(),
        version: "0".to_owned(),
    };
    let file = detection.encode().expect("a small graph");
    let found = run(&file, &bytes);
    let (score, map) = (floats(&score), floats(&map));
    if map.iter().any(|value| !value.is_finite()) {
        return false;
    }
    let scale = map.iter().fold(1.0_f32, |most, value| most.max(value.abs()));
    assert_eq!(found[1].len(), map.len());
    for (file, own) in found[0].iter().zip(&score).chain(found[1].iter().zip(&map)) {
        assert!((file - own).abs() <= 2e-3 * scale, "{file} by the file, {own} by the trace");
    }
    true
}

/// The score and the map that `file` gives for an image.
fn run(file: &[u8], image: &[u8]) -> [Vec<f32>; 2] {
    let model = tract_onnx::onnx().model_for_read(&mut &file[..]).expect("a file of the format");
    // Not optimized: tract moves the strides of a convolution before a softmax, which then sums
    // less.
    let model = model.into_typed().expect("a graph of known shapes").into_runnable().unwrap();
    let image = tract_onnx::prelude::Tensor::from_shape(&[SIZE.height, SIZE.width, 3], image).unwrap();
    let found = model.run(tvec!(image.into())).expect("the graph runs");
    [0, 1].map(|at| found[at].to_plain_array_view::<f32>().unwrap().iter().copied().collect())
}

pub(super) fn seeds() -> Vec<Seed> {
    let seeds: [(&str, &[u8]); 5] = [
        ("empty", &[]),
        ("layers", &[0, 0, 3, 2, 0, 0, 3, 1, 0, 2, 1, 1, 0, 1, 2, 0, 0, 4, 5, 7, 0]),
        ("maps", &[0, 19, 0, 0, 11, 0, 0, 12, 0, 0, 5, 3, 0, 15, 0]),
        ("strides-after-softmax", &[0, 15, 0, 0, 0, 0, 0, 1]),
        ("channels", &[0, 17, 0, 0, 18, 1, 0, 16, 2, 0, 10, 5, 1, 6, 0, 0, 14, 1]),
    ];
    seeds.map(|(name, choices)| (name.to_owned(), choices.to_vec())).into()
}
