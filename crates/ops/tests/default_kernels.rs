//! The default kernels of a process. A program of its own: the default is set once.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use candle_core::{DType, Device, Tensor};
use fmam_ops::{Activation, Kernels, default_kernels, set_default_kernels};

#[test]
fn the_first_default_stays() {
    assert_eq!(set_default_kernels(Kernels::Composed), Kernels::Composed);
    assert_eq!(set_default_kernels(Kernels::Native), Kernels::Composed);
    assert_eq!(default_kernels(), Kernels::Composed);
    let tensor = |dtype| Tensor::zeros((1, 2, 3, 4), dtype, &Device::Cpu).unwrap();
    assert_eq!(Activation::from_nchw(&tensor(DType::F32)).unwrap().kernels(), Kernels::Composed);
    // A value goes before the default, and a type that native kernels do not take before the value.
    let native = |dtype| Activation::from_nchw_with(&tensor(dtype), Kernels::Native).unwrap().kernels();
    assert_eq!(native(DType::F32), Kernels::Native);
    assert_eq!(native(DType::F64), Kernels::Composed);
}
