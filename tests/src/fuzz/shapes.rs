//! Convolutions of any shape, and frozen chains of three: the f32 kernels and the composed f64 form
//! agree in value and gradients, or both refuse.

use candle_core::{DType, Device, Result, Tensor, Var};
use fmam_ops::{
    Activation, Conv2dConfig, FrozenConv2d, Nonlinearity, Padding, conv_transpose2d, conv2d, frozen_layers,
};

use super::bytes::Choices;
use super::bytes::Seed;

#[derive(Debug, Clone, Copy)]
enum Form {
    Dense,
    Depthwise,
    Grouped,
    Transposed,
    /// Dense, depthwise and pointwise, frozen.
    Chain,
}

const FORMS: [Form; 5] = [Form::Dense, Form::Depthwise, Form::Grouped, Form::Transposed, Form::Chain];

#[derive(Debug)]
struct Case {
    form: Form,
    shape: (usize, usize, usize),
    kernel: (usize, usize),
    stride: usize,
    padding: Padding,
    channels: (usize, usize),
}

impl Case {
    fn read(mut choices: Choices<'_>) -> Self {
        Self {
            form: FORMS[choices.below(FORMS.len())],
            shape: (1 + choices.below(3), choices.below(24), choices.below(24)),
            kernel: (choices.below(8), choices.below(8)),
            stride: choices.below(5),
            padding: match choices.below(7) {
                6 => Padding::TfSame,
                padding => Padding::Symmetric(padding),
            },
            channels: (1 + choices.below(40), 1 + choices.below(40)),
        }
    }
}

fn values(shape: &[usize], seed: usize) -> Result<Tensor> {
    let count: usize = shape.iter().product();
    let data: Vec<f64> = (0..count).map(|i| ((i * 7919 + seed) as f64 * 0.618_034).fract() - 0.5).collect();
    Tensor::from_vec(data, shape, &Device::Cpu)
}

/// The result and the gradients of input and weight.
fn run(case: &Case, dtype: DType) -> Result<[Vec<f64>; 3]> {
    let &Case { form, shape: (n, h, w), kernel: (kh, kw), stride, padding, channels: (a, b) } = case;
    if matches!(form, Form::Chain) {
        return run_chain([n, a, h, w], (kh, kw), stride, padding, (b, a % 7 + 1), dtype);
    }
    let (groups, ci, co) = match form {
        Form::Depthwise => (a, a, a),
        Form::Grouped => (2, 2 * a, 2 * b),
        Form::Dense | Form::Transposed | Form::Chain => (1, a, b),
    };
    let weight_shape = match form {
        Form::Transposed => [ci, co, kh, kw],
        _ => [co, ci / groups, kh, kw],
    };
    let x = Var::from_tensor(&values(&[n, ci, h, w], 1)?.to_dtype(dtype)?)?;
    let weight = Var::from_tensor(&values(&weight_shape, 2)?.to_dtype(dtype)?)?;
    let input = Activation::from_nchw(&x)?;
    let y = match (form, padding) {
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

/// An accepted shape has the same values and gradients by both forms.
pub fn shapes(data: &[u8]) -> bool {
    let case = Case::read(Choices(data));
    match (run(&case, DType::F32), run(&case, DType::F64)) {
        (Ok(kernels), Ok(composed)) => {
            for (kernels, composed) in kernels.iter().zip(&composed) {
                assert_eq!(kernels.len(), composed.len());
                let scale = composed.iter().fold(1.0_f64, |m, v| m.max(v.abs()));
                for (k, c) in kernels.iter().zip(composed) {
                    assert!((k - c).abs() < 1e-3 * scale, "{k} {c} in {case:?}");
                }
            }
            true
        }
        (Err(_), Err(_)) => false,
        (kernels, composed) => panic!("kernels {kernels:?}, composed {composed:?} in {case:?}"),
    }
}

pub(super) fn seeds() -> Vec<Seed> {
    let case = |form: u8, name: &str| (name.to_owned(), vec![form, 1, 11, 9, 3, 3, 1, 1, 4, 6]);
    let names = ["dense", "depthwise", "grouped", "transposed", "chain"];
    names.iter().enumerate().map(|(form, name)| case(form as u8, name)).collect()
}
