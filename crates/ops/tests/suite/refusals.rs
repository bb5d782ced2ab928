//! Arguments that do not fit are refused with an error that has the facts, by either
//! implementation.

use candle_core::{DType, Error, Tensor, Var};
use fmam_ops::{
    Activation, Adam, AdamConfig, Conv2dConfig, FrozenConv2d, Kernels, LayerKind, Nonlinearity, Optimizer,
    Padding, TrainLayer, add_nonlinearity, batch_norm_train, channel_affine, conv_transpose2d, conv2d,
    cosine_distance_with, frozen_layers, max_pool2d, train_layers, upsample_bilinear_with,
};

use crate::support::device;

const BOTH: [Kernels; 2] = [Kernels::Native, Kernels::Composed];

fn zeros(shape: &[usize]) -> Tensor {
    Tensor::zeros(shape, DType::F32, device()).unwrap()
}

fn act(kernels: Kernels, shape: &[usize]) -> Activation {
    Activation::from_nchw_with(&zeros(shape), kernels).unwrap()
}

/// The error without the backtrace that candle adds where the environment asks for one.
fn refusal<T>(result: candle_core::Result<T>) -> Error {
    let mut error = result.err().unwrap();
    while let Error::WithBacktrace { inner, .. } = error {
        error = *inner;
    }
    error
}

/// The text of an error of this crate's own.
fn facts<T>(result: candle_core::Result<T>) -> String {
    match refusal(result) {
        Error::Wrapped(error) => error.to_string(),
        other => panic!("{other}"),
    }
}

/// Shapes on both sides of an operator.
fn mismatch<T>(result: candle_core::Result<T>) -> (Vec<usize>, Vec<usize>) {
    match refusal(result) {
        Error::ShapeMismatchBinaryOp { lhs, rhs, .. } => (lhs.dims().to_vec(), rhs.dims().to_vec()),
        other => panic!("{other}"),
    }
}

/// The fuzz target `shapes` found the first ones.
#[test]
fn convolutions_of_nothing() {
    for kernels in BOTH {
        let x = act(kernels, &[1, 2, 5, 4]);
        for padding in [Padding::TfSame, Padding::Symmetric(1)] {
            let config = Conv2dConfig { stride: 0, padding, groups: 1 };
            let text = facts(conv2d(&x, &zeros(&[3, 2, 3, 3]), &config));
            assert!(text.contains("[3, 2, 3, 3]") && text.contains("[1, 2, 5, 4]"), "{text}");
            assert!(text.contains(&format!("{config:?}")), "{text}");
        }
        let text = facts(conv_transpose2d(&x, &zeros(&[2, 3, 2, 2]), 0, 0));
        assert!(text.contains("[2, 3, 2, 2]") && text.contains("stride 0"), "{text}");
        for shape in [[2, 3, 2, 0], [2, 3, 0, 2], [4, 3, 2, 2]] {
            assert!(facts(conv_transpose2d(&x, &zeros(&shape), 2, 0)).contains(&format!("{shape:?}")));
        }
        assert!(
            facts(conv_transpose2d(&x, &zeros(&[2, 3, 2, 2]), 1, 3)).contains("padding 3 leaves nothing")
        );
        for (image, weight) in
            [([1, 3, 0, 4], [2, 3, 3, 3]), ([1, 3, 4, 4], [0, 3, 3, 3]), ([1, 0, 4, 4], [2, 0, 3, 3])]
        {
            for dtype in [DType::F32, DType::F64] {
                let x = zeros(&image).to_dtype(dtype).unwrap();
                let x = Activation::from_nchw_with(&x, kernels).unwrap();
                let zeros = |shape: [usize; 4]| zeros(&shape).to_dtype(dtype).unwrap();
                assert!(facts(conv2d(&x, &zeros(weight), &Conv2dConfig::same(3))).starts_with("conv2d"));
                let [co, ci, kh, kw] = weight;
                let refused = conv_transpose2d(&x, &zeros([ci, co, kh, kw]), 1, 0);
                assert!(facts(refused).starts_with("conv_transpose2d"));
            }
        }
    }
}

#[test]
fn layers_without_a_result_to_add_to() {
    let (weight, scale) = (zeros(&[5, 3, 1, 1]), zeros(&[5]));
    let layer = TrainLayer {
        weight: &weight,
        kind: LayerKind::Conv(Conv2dConfig::same(1)),
        norm_weight: &scale,
        norm_bias: &scale,
        epsilon: 1e-3,
        nonlinearity: Nonlinearity::Relu,
        running: None,
    };
    let frozen = FrozenConv2d::new(&weight, None, Conv2dConfig::same(1), Nonlinearity::Identity).unwrap();
    for kernels in BOTH {
        let x = act(kernels, &[1, 3, 4, 4]);
        let (one, other) = mismatch(train_layers(&x, &[layer], Some(Nonlinearity::Relu)));
        assert_eq!([&one, &other].iter().map(|shape| shape[1]).sum::<usize>(), 3 + 5);
        assert_eq!(facts(train_layers(&x, &[], None)), "train_layers: no layer");
        assert_eq!(facts(frozen_layers(&x, &[], None)), "frozen_layers: no layer");
        let shapes = mismatch(frozen.forward_add(&x, &x, Nonlinearity::Relu));
        assert_eq!(shapes, (vec![1, 5, 4, 4], vec![1, 3, 4, 4]));
    }
}

#[test]
fn statistics_of_a_single_value_and_parameters_of_another_length() {
    let (three, four) = (zeros(&[3]), zeros(&[4]));
    for kernels in BOTH {
        let single =
            batch_norm_train(&act(kernels, &[1, 3, 1, 1]), &three, &three, 1e-3, Nonlinearity::Relu, None);
        assert!(facts(single).contains("there are 1"));
        let x = act(kernels, &[2, 3, 4, 4]);
        for (weight, bias) in [(&three, &four), (&four, &three)] {
            match refusal(batch_norm_train(&x, weight, bias, 1e-3, Nonlinearity::Relu, None)) {
                Error::UnexpectedShape { expected, got, .. } => {
                    assert_eq!((expected.dims(), got.dims()), (&[3][..], &[4][..]));
                }
                other => panic!("{other}"),
            }
            assert_eq!(mismatch(channel_affine(&x, weight, bias)).1.len(), 1);
        }
    }
}

#[test]
fn maps_and_windows_of_other_sizes() {
    for kernels in BOTH {
        let x = act(kernels, &[1, 2, 5, 4]);
        for (kernel, stride, padding) in [(0, 1, 0), (2, 0, 0), (2, 1, 2), (6, 1, 0)] {
            let text = facts(max_pool2d(&x, kernel, stride, padding));
            assert!(text.contains(&format!("kernel {kernel}, stride {stride}, padding {padding}")), "{text}");
            assert!(text.contains("[5, 4]"), "{text}");
        }
        let text = facts(upsample_bilinear_with(&zeros(&[1, 2, 5, 4]), 0, 7, false, kernels));
        assert!(text.contains("[5, 4] to [0, 7]"), "{text}");
        let (a, b) = (zeros(&[1, 2, 5, 4]), zeros(&[1, 2, 5, 3]));
        assert_eq!(mismatch(cosine_distance_with(&a, &b, kernels)), (a.dims().to_vec(), b.dims().to_vec()));
        let shapes = mismatch(add_nonlinearity(&x, &act(kernels, &[1, 2, 4, 5]), Nonlinearity::Relu));
        assert_eq!(shapes, (vec![1, 2, 5, 4], vec![1, 2, 4, 5]));
    }
}

/// Of equal sides, so that a mixture of the layouts would go unnoticed.
#[test]
fn activations_for_different_kernels() {
    let [native, composed] = BOTH.map(|kernels| act(kernels, &[3, 3, 3, 3]));
    assert_eq!([&native, &composed].map(Activation::kernels), BOTH);
    let conv = FrozenConv2d::new(&zeros(&[3, 3, 1, 1]), None, Conv2dConfig::same(1), Nonlinearity::Identity);
    let conv = conv.unwrap();
    for (a, b) in [(&native, &composed), (&composed, &native)] {
        for text in [
            facts(a.add(b)),
            facts(Activation::cat(&[a, b])),
            facts(conv.forward_add(a, b, Nonlinearity::Relu)),
            facts(frozen_layers(a, &[&conv, &conv], Some((b, Nonlinearity::Relu)))),
        ] {
            assert!(text.contains("native") && text.contains("composed"), "{text}");
        }
    }
}

#[test]
fn parameters_of_another_type_beside_native_kernels() {
    let weight = zeros(&[3, 3, 1, 1]).to_dtype(DType::F64).unwrap();
    let y = conv2d(&act(Kernels::Native, &[1, 3, 4, 4]), &weight, &Conv2dConfig::same(1));
    assert!(matches!(refusal(y), Error::UnexpectedDType { .. } | Error::DTypeMismatchBinaryOp { .. }));
    let scale = zeros(&[3]).to_dtype(DType::F64).unwrap();
    match refusal(channel_affine(&act(Kernels::Native, &[1, 3, 4, 4]), &scale, &scale)) {
        Error::UnexpectedDType { expected, got, .. } => assert_eq!((expected, got), (DType::F32, DType::F64)),
        other => panic!("{other}"),
    }
}

#[test]
fn the_state_of_another_optimizer() {
    for kernels in BOTH {
        let adam = |shapes: &[usize]| {
            let vars = shapes.iter().map(|&len| Var::from_tensor(&zeros(&[len])).unwrap()).collect();
            Adam::with_kernels(vars, AdamConfig::default(), kernels).unwrap()
        };
        let mut optimizer = adam(&[4]);
        assert_eq!(
            facts(optimizer.restore(&adam(&[4, 4]).state().unwrap())),
            "optimizer state of 4 tensors, expected 2"
        );
        match refusal(optimizer.restore(&adam(&[5]).state().unwrap())) {
            Error::UnexpectedShape { expected, got, .. } => {
                assert_eq!((expected.dims(), got.dims()), (&[4][..], &[5][..]));
            }
            other => panic!("{other}"),
        }
    }
}
