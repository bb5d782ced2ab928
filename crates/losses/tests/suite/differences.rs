//! The differences of features against SciPy and scikit-learn, and their gradients against finite
//! differences.

use candle_core::{DType, Result, Tensor, Var};
use fmam_losses::{smooth_l1_difference, squared_difference};
use serde::Deserialize;

use crate::device;

#[derive(Deserialize)]
struct Fixture {
    shape: Vec<usize>,
    teacher: Vec<f64>,
    student: Vec<f64>,
    squared: Vec<f64>,
    smooth_l1: Vec<f64>,
}

type Difference = fn(&Tensor, &Tensor) -> Result<Tensor>;

fn fixture() -> Fixture {
    serde_json::from_str(include_str!("../../../../tests/reference/losses/differences.json")).unwrap()
}

fn tensor(values: &[f64], shape: &[usize]) -> Tensor {
    Tensor::from_slice(values, shape, device()).unwrap()
}

#[test]
fn maps_are_those_of_scipy_and_scikit_learn() {
    let Fixture { shape, teacher, student, squared, smooth_l1 } = fixture();
    let (teacher, student) = (tensor(&teacher, &shape), tensor(&student, &shape));
    for (difference, expected) in
        [(squared_difference as Difference, squared), (smooth_l1_difference, smooth_l1)]
    {
        for dtype in [DType::F64, DType::F32] {
            let (t, s) = (teacher.to_dtype(dtype).unwrap(), student.to_dtype(dtype).unwrap());
            let map = difference(&t, &s).unwrap();
            assert_eq!(map.dims(), [shape[0], shape[2], shape[3]]);
            let map = map.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
            for (actual, expected) in map.iter().zip(&expected) {
                assert!((actual - expected).abs() < 1e-6, "{actual} {expected}");
            }
        }
    }
}

#[test]
fn gradients_are_those_of_finite_differences() {
    let Fixture { shape, teacher, student, .. } = fixture();
    let t = tensor(&teacher, &shape);
    for difference in [squared_difference as Difference, smooth_l1_difference] {
        let loss = |student: &Tensor| difference(&t, student).unwrap().mean_all().unwrap();
        let var = Var::from_tensor(&tensor(&student, &shape)).unwrap();
        let gradients = loss(var.as_tensor()).backward().unwrap();
        let gradient = gradients.get(&var).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap();
        for index in (0..student.len()).step_by(7) {
            let at = |step: f64| {
                let mut moved = student.clone();
                moved[index] += step;
                loss(&tensor(&moved, &shape)).to_scalar::<f64>().unwrap()
            };
            let expected = (at(1e-5) - at(-1e-5)) / 2e-5;
            assert!((gradient[index] - expected).abs() < 1e-8, "{} {expected}", gradient[index]);
        }
    }
}

#[test]
fn features_of_other_shapes_are_refused() {
    let (a, b) = (tensor(&[0.0; 8], &[1, 2, 2, 2]), tensor(&[0.0; 12], &[1, 3, 2, 2]));
    assert!(squared_difference(&a, &b).is_err() && smooth_l1_difference(&a, &b).is_err());
}
