//! Networks on composed kernels against the same on native ones, in one process.

use candle_core::{Device, Tensor, Var};
use fmam_core::Seed;
use fmam_models::{
    AnomalyHead, Backbone, FeatureMapping, FeatureMappingConfig, FeaturePyramid, LoadedBackbone,
    OutputAffine, Params, UNet,
};
use fmam_ops::Kernels;

use crate::backbones::{distance_to_noise, named, teacher};
use crate::reference::image;

const SHAPE: [usize; 4] = [2, 3, 64, 96];

/// A residual network: Winograd's method, of native kernels alone, rounds otherwise. The frozen
/// `tiny` has the same bits on both.
fn resnet(kernels: Kernels) -> LoadedBackbone {
    teacher(named("resnet18")).with_kernels(kernels)
}

fn pyramid(scale: Tensor) -> FeaturePyramid {
    FeaturePyramid { scales: vec![scale] }
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

/// Asserts that results differ in their last digits at most.
#[track_caller]
fn assert_same_but_rounding(what: &str, [native, composed]: &[Vec<f32>; 2]) {
    assert_eq!(native.len(), composed.len(), "{what}");
    let largest = native.iter().fold(0.0_f32, |largest, v| largest.max(v.abs()));
    let difference = native.iter().zip(composed).map(|(n, c)| (n - c).abs()).fold(0.0, f32::max);
    // The U-Net's gradients differ most, by 1.3e-4 of the largest.
    assert!(difference < 1e-3 * largest, "{what}: {difference} of {largest}");
}

/// Asserts that results differ in their last digits at most, and in some of these: equal bits would
/// say that one implementation ran twice.
#[track_caller]
fn assert_rounding_differs(what: &str, results: &[Vec<f32>; 2]) {
    assert_same_but_rounding(what, results);
    assert!(results[0] != results[1], "{what}: the same bits");
}

/// The outputs of networks built from trainable parameters, and the gradients of these, native and
/// composed.
fn run_both(build: impl Fn(&Params) -> FeaturePyramid) -> [[Vec<f32>; 2]; 2] {
    let [native, composed] = [Kernels::Native, Kernels::Composed].map(|kernels| {
        let params = Params::trainable(Seed::new(1), &Device::Cpu).with_kernels(kernels);
        assert_eq!((params.kernels(), params.pp("below").kernels()), (kernels, kernels));
        let output = build(&params);
        let gradients = distance_to_noise(&output).backward().unwrap();
        let gradient = |var: &Var| gradients.get(var).map_or_else(Vec::new, values);
        (
            output.scales.iter().flat_map(values).collect::<Vec<_>>(),
            params.vars().iter().flat_map(gradient).collect::<Vec<_>>(),
        )
    });
    [[native.0, composed.0], [native.1, composed.1]]
}

/// Compares networks whose implementations round otherwise.
#[track_caller]
fn assert_alike(what: &str, build: impl Fn(&Params) -> FeaturePyramid) {
    let [outputs, gradients] = run_both(build);
    assert_rounding_differs(what, &outputs);
    assert_rounding_differs(&format!("gradients of {what}"), &gradients);
}

#[test]
fn a_teacher_and_its_copies_run_the_kernels_that_they_are_given() {
    let teachers = [Kernels::Native, Kernels::Composed].map(resnet);
    let all = |pyramid: FeaturePyramid| pyramid.scales.iter().flat_map(values).collect::<Vec<_>>();
    let features = teachers.each_ref().map(|teacher| all(teacher.features(&image(&SHAPE)).unwrap()));
    assert_rounding_differs("features", &features);
    let passing = teachers.each_ref().map(|teacher| {
        all(teacher.passing_gradients(&Device::Cpu).unwrap().forward(&image(&SHAPE)).unwrap())
    });
    assert_rounding_differs("passing gradients", &passing);
    let block = teachers.each_ref().map(|teacher| {
        let (student, _) = teacher.with_trainable_last_block(&Device::Cpu).unwrap();
        all(student.forward(&image(&SHAPE)).unwrap())
    });
    assert_rounding_differs("last block", &block);
}

#[test]
fn students_run_the_kernels_of_their_parameters() {
    let teacher = teacher(named("tiny"));
    let features = teacher.features(&image(&SHAPE)).unwrap();
    assert_alike("symmetric", |params| {
        teacher.symmetric_student(params).unwrap().forward(&image(&SHAPE)).unwrap()
    });
    assert_alike("reverse", |params| teacher.reverse_student(params).unwrap().forward(&features).unwrap());
    assert_alike("cloner", |params| teacher.cloner(params).unwrap().forward(&image(&SHAPE)).unwrap());
}

#[test]
fn other_networks_run_the_kernels_of_their_parameters() {
    assert_alike("U-Net", |params| pyramid(UNet::new(4, params).unwrap().forward(&image(&SHAPE)).unwrap()));
    assert_alike("head", |params| {
        let outputs = AnomalyHead::new(3, 7, params).unwrap().forward(&image(&SHAPE)).unwrap();
        pyramid(outputs.unsqueeze(1).unwrap())
    });
    // A projection is a product of matrices, which both implementations leave to one function.
    let projections = run_both(|params| {
        OutputAffine::projected(&[3], params).unwrap().forward(&pyramid(image(&SHAPE))).unwrap()
    });
    projections.iter().for_each(|results| assert_same_but_rounding("projection", results));
    assert_alike("mapping", |params| {
        let config = FeatureMappingConfig { kernel: 3, whiten: false, ..Default::default() };
        let mapping = FeatureMapping::new(&[3], &config, params).unwrap();
        // The last convolution starts at zero, where both implementations have the same bits.
        for var in params.vars() {
            var.set(&(var.as_detached_tensor() + 0.1).unwrap()).unwrap();
        }
        mapping.forward(&pyramid(image(&SHAPE))).unwrap()
    });
}
