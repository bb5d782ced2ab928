//! Losses over a part of the positions: the loss of that part cut out, and finite differences.

use candle_core::{DType, Result, Tensor, Var};
use fmam_losses::{
    cosine_distillation, cosine_distillation_within, flattened_cosine_distillation,
    flattened_cosine_distillation_within, hypersphere_classifier, hypersphere_classifier_within, keep,
    keep_within, multiresolution_distillation, multiresolution_distillation_within, smooth_l1_difference,
    squared_difference, weighted_mean,
};

use crate::device;

/// A loss of features and what they are compared with, over some positions or over all.
type Loss = fn(&Tensor, &Tensor, Option<&Tensor>) -> Result<Tensor>;

const LOSSES: [(&str, Loss); 7] = [
    ("cosine", |t, s, w| match w {
        Some(w) => cosine_distillation_within(t, s, w),
        None => cosine_distillation(t, s),
    }),
    ("flattened", |t, s, w| match w {
        Some(w) => flattened_cosine_distillation_within(t, s, w),
        None => flattened_cosine_distillation(t, s),
    }),
    ("squared", |t, s, w| match w {
        Some(w) => weighted_mean(&squared_difference(t, s)?, w),
        None => squared_difference(t, s)?.mean_all(),
    }),
    ("smooth l1", |t, s, w| match w {
        Some(w) => weighted_mean(&smooth_l1_difference(t, s)?, w),
        None => smooth_l1_difference(t, s)?.mean_all(),
    }),
    ("multiresolution", |t, s, w| match w {
        Some(w) => multiresolution_distillation_within(t, s, 0.7, w),
        None => multiresolution_distillation(t, s, 0.7),
    }),
    ("keep", |t, s, w| match w {
        Some(w) => keep_within(s, t, 0.3, w),
        None => keep(s, t, 0.3),
    }),
    ("hypersphere", |_, s, w| match w {
        Some(w) => hypersphere_classifier_within(&s.narrow(1, 0, 1)?.squeeze(1)?, &[false, true], w),
        None => hypersphere_classifier(&s.narrow(1, 0, 1)?.squeeze(1)?, &[false, true]),
    }),
];

const SHAPE: (usize, usize, usize, usize) = (2, 3, 2, 4);

fn features(period: f64) -> Vec<f64> {
    (0..48).map(|i| 1.4 * (f64::from(i) * period).sin() + 0.2).collect()
}

fn tensor(values: &[f64]) -> Tensor {
    Tensor::from_slice(values, SHAPE, device()).unwrap()
}

/// The left two columns of both images.
fn left() -> Tensor {
    let values: Vec<f64> = (0..16).map(|at| f64::from(u8::from(at % 4 < 2))).collect();
    Tensor::from_vec(values, (2, 2, 4), device()).unwrap()
}

fn scalar(x: &Tensor) -> f64 {
    x.to_dtype(DType::F64).unwrap().to_scalar().unwrap()
}

#[test]
fn a_loss_within_a_part_is_the_loss_of_that_part() {
    let (teacher, student, left) = (tensor(&features(0.7)), tensor(&features(1.9)), left());
    let ones = left.ones_like().unwrap();
    let cut = |x: &Tensor| x.narrow(3, 0, 2).unwrap().contiguous().unwrap();
    for (name, loss) in LOSSES {
        let within = scalar(&loss(&teacher, &student, Some(&left)).unwrap());
        let of_part = scalar(&loss(&cut(&teacher), &cut(&student), None).unwrap());
        assert!((within - of_part).abs() < 1e-12, "{name}: {within} instead of {of_part}");
        let whole = scalar(&loss(&teacher, &student, None).unwrap());
        let of_all = scalar(&loss(&teacher, &student, Some(&ones)).unwrap());
        assert!((whole - of_all).abs() < 1e-12 && (whole - within).abs() > 1e-6, "{name}");
        // f32, on the kernels of the CPU, and weights of another type.
        let single = |x: &Tensor| x.to_dtype(DType::F32).unwrap();
        let rounded = scalar(&loss(&single(&teacher), &single(&student), Some(&left)).unwrap());
        assert!((rounded - within).abs() < 1e-5, "{name}: {rounded} instead of {within}");
    }
}

#[test]
fn gradients_are_finite_differences_inside_and_zero_outside() {
    let (teacher, left) = (tensor(&features(0.7)), left());
    let inside: Vec<f64> = left.flatten_all().unwrap().to_vec1().unwrap();
    for (name, loss) in LOSSES {
        let data = features(1.9);
        let student = Var::from_tensor(&tensor(&data)).unwrap();
        let gradients = loss(&teacher, &student, Some(&left)).unwrap().backward().unwrap();
        let analytic: Vec<f64> = gradients.get(&student).unwrap().flatten_all().unwrap().to_vec1().unwrap();
        for (i, analytic) in analytic.into_iter().enumerate() {
            let at = |step: f64| {
                let mut moved = data.clone();
                moved[i] += step;
                scalar(&loss(&teacher, &tensor(&moved), Some(&left)).unwrap())
            };
            let numeric = (at(1e-6) - at(-1e-6)) / 2e-6;
            assert!((analytic - numeric).abs() < 1e-7, "{name}[{i}]: {analytic} instead of {numeric}");
            let position = i / 24 * 8 + i % 8;
            assert!(inside[position] != 0.0 || analytic == 0.0, "{name}[{i}]: {analytic} outside");
        }
    }
}

#[test]
fn weights_of_another_shape_are_refused() {
    let (teacher, student) = (tensor(&features(0.7)), tensor(&features(1.9)));
    let other = Tensor::ones((2, 4, 2), DType::F64, device()).unwrap();
    for (name, loss) in LOSSES {
        assert!(loss(&teacher, &student, Some(&other)).is_err(), "{name}");
    }
}
