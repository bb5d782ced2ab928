use std::collections::BTreeMap;

use candle_core::backprop::GradStore;
use candle_core::{Device, Tensor};
use fmam_core::Seed;
use fmam_models::{
    Backbone, BackboneSpec, FeaturePyramid, LoadedBackbone, ModelError, Params, ReverseStudent, Student,
    load_backbone,
};
use fmam_ops::{Adam, AdamConfig, Optimizer};

use super::{named, teacher, trainable};
use fmam_testkit::uniform;

use crate::reference::image;

/// Sum over the scales of the mean square, a loss that every output takes part in.
pub(crate) fn squares(pyramid: &FeaturePyramid) -> Tensor {
    let terms: Vec<Tensor> =
        pyramid.scales.iter().map(|s| (s - 0.1).unwrap().sqr().unwrap().mean_all().unwrap()).collect();
    Tensor::stack(&terms, 0).unwrap().sum_all().unwrap()
}

/// Sum over the scales of the mean square distance to noise. Where a scale comes out of a batch
/// normalisation, [`squares`] depends on no parameter before it: mean and mean square are given.
pub(crate) fn distance_to_noise(pyramid: &FeaturePyramid) -> Tensor {
    let terms: Vec<Tensor> = pyramid
        .scales
        .iter()
        .map(|scale| {
            let noise = uniform("target", scale.elem_count()).into_iter().map(|u| (2.0 * u - 1.0) as f32);
            let noise = Tensor::from_iter(noise, &Device::Cpu).unwrap().reshape(scale.shape()).unwrap();
            (scale - noise).unwrap().sqr().unwrap().mean_all().unwrap()
        })
        .collect();
    Tensor::stack(&terms, 0).unwrap().sum_all().unwrap()
}

/// Largest absolute gradient of each parameter, by its name.
pub(crate) fn largest_gradients(params: &Params, grads: &GradStore) -> BTreeMap<String, f32> {
    // Both come in the order of the names; an optimizer gets no running statistics.
    let tensors = params.tensors().unwrap();
    let names = tensors.keys().filter(|name| !name.contains(".running_"));
    let vars = params.vars();
    assert_eq!(names.clone().count(), vars.len());
    names
        .zip(&vars)
        .map(|(name, var)| {
            let grad = grads.get(var).unwrap_or_else(|| panic!("{name} has no gradient"));
            assert_eq!(grad.dims(), var.dims(), "{name}");
            (name.clone(), grad.abs().unwrap().max_all().unwrap().to_scalar().unwrap())
        })
        .collect()
}

/// Rounding leaves less than this of a gradient that is zero.
const NO_GRADIENT: f32 = 3e-6;

/// Asserts that the loss depends on every parameter.
#[track_caller]
pub(crate) fn assert_every_parameter_learns(params: &Params, grads: &GradStore) {
    let gradients = largest_gradients(params, grads);
    assert!(gradients.values().all(|gradient| gradient.is_finite()), "{gradients:?}");
    let idle: Vec<_> = gradients.iter().filter(|(_, gradient)| **gradient < NO_GRADIENT).collect();
    assert!(idle.is_empty(), "{idle:?}");
}

/// Parameters that no loss depends on, with their largest gradients. Weights before another
/// normalisation have none at the start, so ten steps are taken where one seems idle.
fn idle_parameters(params: &Params, forward: impl Fn() -> FeaturePyramid) -> BTreeMap<String, f32> {
    let mut adam = Adam::new(params.vars(), AdamConfig::default()).unwrap();
    let mut idle: Option<BTreeMap<String, f32>> = None;
    for _ in 0..=10 {
        let gradients = distance_to_noise(&forward()).backward().unwrap();
        let mut largest = largest_gradients(params, &gradients);
        assert!(largest.values().all(|gradient| gradient.is_finite()), "{largest:?}");
        largest.retain(|name, gradient| {
            *gradient < NO_GRADIENT && idle.as_ref().is_none_or(|idle| idle.contains_key(name))
        });
        if largest.is_empty() {
            return largest;
        }
        idle = Some(largest);
        adam.step(&gradients).unwrap();
    }
    idle.unwrap_or_default()
}

/// Asserts that exactly the parameters that the specification declares are idle.
fn assert_others_learn(spec: &BackboneSpec, idle: &BTreeMap<String, f32>) {
    let undeclared: Vec<_> =
        idle.iter().filter(|(name, _)| !spec.idle_parameters.contains(&name.as_str())).collect();
    assert!(
        undeclared.is_empty(),
        "{}: the loss does not depend on {undeclared:?} (largest gradients), even after ten steps. A layer that the \
         forward pass leaves out is a fault; a bias that only a 1x1 convolution with a normalisation sees belongs \
         into `idle_parameters` of the specification",
        spec.name
    );
    let learning: Vec<_> = spec.idle_parameters.iter().filter(|name| !idle.contains_key(**name)).collect();
    assert!(
        learning.is_empty(),
        "{}: take {learning:?} out of `idle_parameters`: they learn, or do not exist",
        spec.name
    );
}

#[track_caller]
pub(crate) fn assert_same(actual: &FeaturePyramid, expected: &FeaturePyramid, tolerance: f32) {
    assert_eq!(actual.scales.len(), expected.scales.len());
    for (a, e) in actual.scales.iter().zip(&expected.scales) {
        assert_eq!(a.dims(), e.dims());
        let values = |t: &Tensor| -> Vec<f32> { t.flatten_all().unwrap().to_vec1().unwrap() };
        fmam_testkit::assert_close(&values(a), &values(e), 0.0, tolerance);
    }
}

fn check_shapes(actual: &FeaturePyramid, teacher: &LoadedBackbone, [n, _, h, w]: [usize; 4]) {
    let shapes = teacher.channels().iter().zip(teacher.strides()).map(|(&c, s)| vec![n, c, h / s, w / s]);
    assert!(actual.scales.iter().map(|s| s.dims().to_vec()).eq(shapes), "{}", teacher.name());
}

const SHAPE: [usize; 4] = [2, 3, 32, 64];

#[test]
fn students_have_the_teachers_shapes_and_every_parameter_learns() {
    for spec in trainable() {
        let teacher = teacher(spec);
        let images = image(&SHAPE);
        let features = teacher.features(&images).unwrap();
        check_shapes(&features, &teacher, SHAPE);
        assert!(features.scales.iter().all(|scale| !scale.track_op()), "{}", spec.name);

        let params = Params::trainable(Seed::new(1).derive("symmetric"), &Device::Cpu);
        let student = teacher.symmetric_student(&params).unwrap();
        check_shapes(&student.forward(&images).unwrap(), &teacher, SHAPE);
        let mut idle = idle_parameters(&params, || student.forward(&images).unwrap());

        let params = Params::trainable(Seed::new(1).derive("reverse"), &Device::Cpu);
        let student = teacher.reverse_student(&params).unwrap();
        check_shapes(&student.forward(&features).unwrap(), &teacher, SHAPE);
        idle.extend(idle_parameters(&params, || student.forward(&features).unwrap()));
        assert_others_learn(spec, &idle);
    }
}

/// A network whose running statistics have settled on one batch, its tensors, and the frozen form
/// built from them.
struct Settled<S: ?Sized> {
    trained: Box<S>,
    tensors: BTreeMap<String, Tensor>,
    frozen: Box<S>,
}

fn settle<S: ?Sized>(build: impl Fn(&Params) -> Box<S>, forward: impl Fn(&S)) -> Settled<S> {
    let params = Params::trainable(Seed::new(2), &Device::Cpu);
    let trained = build(&params);
    for _ in 0..150 {
        forward(&trained);
    }
    let tensors = params.tensors().unwrap();
    let given = Params::frozen(tensors.clone(), "snapshot", &Device::Cpu);
    let frozen = build(&given);
    given.finish(|_| false).unwrap();
    Settled { trained, tensors, frozen }
}

// The running statistics become those of the one batch, but for the unbiased variance: with 8 * 4 *
// 4 values a channel at stride 32 a factor of 128 / 127, less elsewhere.
#[test]
fn a_frozen_student_evaluates_as_the_trained_one() {
    let teacher = load_backbone("tiny", None, &Device::Cpu).unwrap();
    let images = image(&[8, 3, 128, 128]);
    let features = teacher.features(&images).unwrap();

    let symmetric: Settled<dyn Student> =
        settle(|p| teacher.symmetric_student(p).unwrap(), |s| drop(s.forward(&images).unwrap()));
    let evaluated = symmetric.frozen.forward(&images).unwrap();
    assert_same(&evaluated, &symmetric.trained.forward(&images).unwrap(), 0.1);
    assert!(evaluated.scales.iter().all(|scale| !scale.track_op()));

    let reverse: Settled<dyn ReverseStudent> =
        settle(|p| teacher.reverse_student(p).unwrap(), |s| drop(s.forward(&features).unwrap()));
    let evaluated = reverse.frozen.forward(&features).unwrap();
    assert_same(&evaluated, &reverse.trained.forward(&features).unwrap(), 0.1);
    assert!(evaluated.scales.iter().all(|scale| !scale.track_op()));

    // From a file the result is the same to the bit.
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("student.safetensors");
    fmam_models::save_tensors(&path, &reverse.tensors).unwrap();
    let loaded = Params::frozen(fmam_models::load_tensors(&path).unwrap(), "file", &Device::Cpu);
    let again = teacher.reverse_student(&loaded).unwrap().forward(&features).unwrap();
    assert_same(&again, &evaluated, 0.0);
}

#[test]
fn the_same_seed_gives_the_same_student() {
    let teacher = load_backbone("efficientnet-lite0", None, &Device::Cpu).unwrap();
    let draw = |seed| {
        let params = Params::trainable(Seed::new(seed), &Device::Cpu);
        teacher.reverse_student(&params).unwrap();
        params.tensors().unwrap()
    };
    let values = |t: &Tensor| -> Vec<f32> { t.flatten_all().unwrap().to_vec1().unwrap() };
    let (a, b, c) = (draw(1), draw(1), draw(2));
    assert!(a.iter().map(|(k, v)| (k, values(v))).eq(b.iter().map(|(k, v)| (k, values(v)))));
    let weight = a.keys().find(|k| k.ends_with("_project_conv.weight")).unwrap();
    assert_ne!(values(&a[weight]), values(&c[weight]));
}

#[test]
fn images_and_pyramids_of_another_shape_are_refused() {
    let teacher = load_backbone("tiny", None, &Device::Cpu).unwrap();
    let params = Params::trainable(Seed::new(0), &Device::Cpu);
    let student = teacher.symmetric_student(&params.pp("symmetric")).unwrap();
    for shape in [&[2, 3, 32, 40][..], &[2, 3, 0, 32], &[2, 1, 32, 32], &[3, 32, 32], &[0, 3, 32, 32]] {
        let images = Tensor::zeros(shape, candle_core::DType::F32, &Device::Cpu).unwrap();
        for result in [teacher.features(&images), student.forward(&images)] {
            assert!(matches!(result, Err(ModelError::InputShape { stride: 16, actual }) if actual == shape));
        }
    }
    let reverse = teacher.reverse_student(&params.pp("reverse")).unwrap();
    let odd = teacher.features(&image(&[2, 3, 48, 32])).unwrap();
    let result = reverse.forward(&odd);
    assert!(matches!(result, Err(ModelError::InputShape { stride: 32, actual }) if actual == [2, 3, 48, 32]));
    let mut short = teacher.features(&image(&[2, 3, 32, 32])).unwrap();
    short.scales.pop();
    assert!(matches!(reverse.forward(&short), Err(ModelError::PyramidShape { .. })));
}

// The documentation of the networks states these figures.
#[test]
fn students_have_as_many_parameters_as_documented() {
    for (name, symmetric, reverse) in
        [("efficientnet-lite0", 700_768, 888_088), ("resnet18", 2_782_784, 15_383_168)]
    {
        let teacher = teacher(named(name));
        let params = Params::trainable(Seed::new(0), &Device::Cpu);
        teacher.symmetric_student(&params.pp("symmetric")).unwrap();
        let count = || params.vars().iter().map(|var| var.elem_count()).sum::<usize>();
        assert_eq!(count(), symmetric, "{name}");
        teacher.reverse_student(&params.pp("reverse")).unwrap();
        assert_eq!(count() - symmetric, reverse, "{name}");
    }
}
