use std::collections::BTreeMap;

use candle_core::{DType, Device, Tensor};
use fmam_core::Seed;
use fmam_models::{Init, ModelError, Params};

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

const INIT: Init = Init::Normal { std: 1.0 };

#[test]
fn a_parameter_depends_on_seed_and_name_alone() {
    let device = Device::Cpu;
    let forwards = Params::trainable(Seed::new(5), &device);
    let a = forwards.pp("layer").pp(0).get("weight", (3, 4), INIT).unwrap();
    let b = forwards.get("bias", 7, INIT).unwrap();
    let backwards = Params::trainable(Seed::new(5), &device);
    assert_eq!(values(&backwards.get("bias", 7, INIT).unwrap()), values(&b));
    assert_eq!(values(&backwards.get("layer.0.weight", (3, 4), INIT).unwrap()), values(&a));
    let other = Params::trainable(Seed::new(6), &device);
    assert_ne!(values(&other.get("bias", 7, INIT).unwrap()), values(&b));
    assert_ne!(values(&other.get("bias2", 7, INIT).unwrap()), values(&b));
}

#[test]
fn a_name_is_one_variable_of_one_shape() {
    let params = Params::trainable(Seed::new(0), &Device::Cpu);
    let first = params.get("w", 3, INIT).unwrap();
    assert_eq!(params.get("w", 3, INIT).unwrap().id(), first.id());
    assert!(matches!(params.get("w", 4, INIT), Err(ModelError::MisshapenKey { .. })));
}

#[test]
fn an_optimizer_gets_parameters_in_the_order_of_names_and_no_statistics() {
    let params = Params::trainable(Seed::new(0), &Device::Cpu);
    let b = params.get("b", 1, INIT).unwrap();
    params.buffer("a", 1, Init::Const(0.0)).unwrap();
    let a = params.pp("a").get("w", 1, INIT).unwrap();
    let ids: Vec<_> = params.vars().iter().map(|var| var.id()).collect();
    assert_eq!(ids, [a.id(), b.id()]);
    assert!(params.tensors().unwrap().keys().eq(["a", "a.w", "b"]));
    params.finish(|_| false).unwrap();
}

#[test]
fn a_snapshot_does_not_follow_later_training() {
    let params = Params::trainable(Seed::new(0), &Device::Cpu);
    let buffer = params.buffer("mean", 2, Init::Const(1.0)).unwrap();
    let snapshot = params.tensors().unwrap();
    buffer.set(&Tensor::zeros(2, DType::F32, &Device::Cpu).unwrap()).unwrap();
    assert_eq!(values(&snapshot["mean"]), [1.0, 1.0]);
    assert_eq!(values(&params.tensors().unwrap()["mean"]), [0.0, 0.0]);
}

#[test]
fn frozen_parameters_are_given_once_checked_and_counted() {
    let tensor = |n: usize| Tensor::ones(n, DType::F64, &Device::Cpu).unwrap();
    let given: BTreeMap<String, Tensor> =
        [("a.w", 2), ("a.x", 3), ("b", 4)].map(|(name, n)| (name.to_owned(), tensor(n))).into();
    let params = Params::frozen(given, "here", &Device::Cpu);
    assert!(params.is_frozen() && params.vars().is_empty());
    let w = params.pp("a").get("w", 2, INIT).unwrap();
    assert_eq!((w.dtype(), values(&w)), (DType::F32, vec![1.0, 1.0]));
    assert!(matches!(
        params.get("b", 5, INIT),
        Err(ModelError::MisshapenKey { expected, actual, .. }) if expected == [5] && actual == [4]
    ));
    assert!(matches!(params.get("c", 5, INIT), Err(ModelError::MissingKey { key, .. }) if key == "c"));
    assert!(matches!(
        params.finish(|key| key == "b"),
        Err(ModelError::SurplusKeys { keys, .. }) if keys == ["a.x"]
    ));
    params.finish(|key| key == "b" || key == "a.x").unwrap();
    assert!(params.tensors().unwrap().keys().eq(["a.w"]));
}
