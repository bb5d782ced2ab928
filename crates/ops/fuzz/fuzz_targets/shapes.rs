//! Convolutions of any shape, and frozen chains of three: the f32 kernels and the composed f64 form
//! agree in value and gradients, or both refuse.
//!
//! `cd crates/ops && cargo +nightly fuzz run shapes -- -max_total_time=60`

#![no_main]

use arbitrary::Arbitrary;
use candle_core::{DType, Device, Result, Tensor, Var};
use fmam_ops::{
    Activation, Conv2dConfig, FrozenConv2d, Nonlinearity, Padding, conv_transpose2d, conv2d, frozen_layers,
};
use libfuzzer_sys::fuzz_target;

#[derive(Arbitrary, Debug)]
struct Case {
    n: u8,
    h: u8,
    w: u8,
    kernel: (u8, u8),
    stride: u8,
    padding: Option<u8>,
    channels: (u8, u8),
    form: Form,
}

#[derive(Arbitrary, Debug, Clone, Copy)]
enum Form {
    Dense,
    Depthwise,
    Grouped,
    Transposed,
    /// Dense, depthwise and pointwise, frozen.
    Chain,
}

fn values(shape: &[usize], seed: usize) -> Result<Tensor> {
    let count: usize = shape.iter().product();
    let data: Vec<f64> = (0..count).map(|i| ((i * 7919 + seed) as f64 * 0.618_034).fract() - 0.5).collect();
    Tensor::from_vec(data, shape, &Device::Cpu)
}

/// The result and the gradients of input and weight.
fn run(case: &Case, dtype: DType) -> Result<[Vec<f64>; 3]> {
    let (n, h, w) = (1 + case.n as usize % 3, case.h as usize % 24, case.w as usize % 24);
    let (kh, kw) = (case.kernel.0 as usize % 8, case.kernel.1 as usize % 8);
    let (a, b) = (1 + case.channels.0 as usize % 40, 1 + case.channels.1 as usize % 40);
    let stride = case.stride as usize % 5;
    let padding = case.padding.map_or(Padding::TfSame, |p| Padding::Symmetric(p as usize % 6));
    if matches!(case.form, Form::Chain) {
        return run_chain([n, a, h, w], (kh, kw), stride, padding, (b, case.channels.0 as usize % 7 + 1), dtype);
    }
    let (groups, ci, co) = match case.form {
        Form::Depthwise => (a, a, a),
        Form::Grouped => (2, 2 * a, 2 * b),
        Form::Dense | Form::Transposed | Form::Chain => (1, a, b),
    };
    let weight_shape = match case.form {
        Form::Transposed => [ci, co, kh, kw],
        _ => [co, ci / groups, kh, kw],
    };
    let x = Var::from_tensor(&values(&[n, ci, h, w], 1)?.to_dtype(dtype)?)?;
    let weight = Var::from_tensor(&values(&weight_shape, 2)?.to_dtype(dtype)?)?;
    let input = Activation::from_nchw(&x)?;
    let y = match (case.form, padding) {
        (Form::Transposed, Padding::Symmetric(p)) => conv_transpose2d(&input, &weight, stride, p)?,
        (Form::Transposed, Padding::TfSame) => conv_transpose2d(&input, &weight, stride, 0)?,
        _ => conv2d(&input, &weight, &Conv2dConfig { stride, padding, groups })?,
    };
    let y = y.to_nchw()?;
    let grads = (&y * values(y.dims(), 3)?.to_dtype(dtype)?)?.sum_all()?.backward()?;
    let flat = |t: &Tensor| t.to_dtype(DType::F64)?.flatten_all()?.to_vec1();
    let grad = |v: &Var| grads.get(v).map_or_else(|| Ok(vec![0.0; v.elem_count()]), flat);
    Ok([flat(&y)?, grad(&x)?, grad(&weight)?])
}

/// The result of a chain on an image of `shape`; the first layer is pointwise where the kernel is
/// 0 wide, and the depthwise one has the kernel.
fn run_chain(
    shape: [usize; 4],
    (kh, kw): (usize, usize),
    stride: usize,
    padding: Padding,
    (hidden, output): (usize, usize),
    dtype: DType,
) -> Result<[Vec<f64>; 3]> {
    let layer = |input: usize, output, (kh, kw), stride, groups: usize, seed, kind| {
        let weight = values(&[output, input / groups, kh, kw], seed)?.to_dtype(dtype)?;
        let bias = values(&[output], seed + 1)?.to_dtype(dtype)?;
        FrozenConv2d::new(&weight, Some(&bias), Conv2dConfig { stride, padding, groups }, kind)
    };
    let first = if kw == 0 { ((1, 1), 1) } else { ((kh, kh), 1 + kw % 2) };
    let layers = [
        layer(shape[1], hidden, first.0, first.1, 1, 4, Nonlinearity::Relu6)?,
        layer(hidden, hidden, (kh, kh), stride, hidden, 6, Nonlinearity::Relu)?,
        layer(hidden, output, (1, 1), 1, 1, 8, Nonlinearity::Identity)?,
    ];
    let x = Activation::from_nchw(&values(&shape, 1)?.to_dtype(dtype)?)?;
    let layers: Vec<_> = layers.iter().collect();
    let y = frozen_layers(&x, &layers, None)?.to_nchw()?;
    Ok([y.to_dtype(DType::F64)?.flatten_all()?.to_vec1()?, Vec::new(), Vec::new()])
}

fuzz_target!(|case: Case| {
    match (run(&case, DType::F32), run(&case, DType::F64)) {
        (Ok(kernels), Ok(composed)) => {
            for (kernels, composed) in kernels.iter().zip(&composed) {
                assert_eq!(kernels.len(), composed.len());
                let scale = composed.iter().fold(1.0_f64, |m, v| m.max(v.abs()));
                for (k, c) in kernels.iter().zip(composed) {
                    assert!((k - c).abs() < 1e-3 * scale, "{k} {c}");
                }
            }
        }
        (Err(_), Err(_)) => {}
        (kernels, composed) => panic!("kernels {kernels:?}, composed {composed:?}"),
    }
});
