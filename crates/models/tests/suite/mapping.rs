use candle_core::{Device, Var};
use fmam_core::Seed;
use fmam_models::{FeatureMapping, FeatureMappingConfig, FeatureMoments, FeaturePyramid, ModelError, Params};
use fmam_ops::{Optimizer, Sgd, SgdConfig};

use crate::backbones::{assert_every_parameter_learns, assert_same, largest_gradients, squares};
use crate::reference::image;

fn pyramid() -> FeaturePyramid {
    FeaturePyramid { scales: vec![image(&[2, 4, 8, 6]), image(&[2, 6, 4, 3])] }
}

#[test]
fn the_mapping_starts_as_the_identity() {
    for kernel in [1, 3] {
        let config = FeatureMappingConfig { kernel, whiten: false, ..Default::default() };
        let params = Params::trainable(Seed::new(1), &Device::Cpu);
        let mapping = FeatureMapping::new(&[4, 6], &config, &params).unwrap();
        assert_same(&mapping.forward(&pyramid()).unwrap(), &pyramid(), 0.0);
        // Two convolutions and a normalisation for each scale.
        assert_eq!(params.vars().len(), 8);
    }
}

#[test]
fn a_trained_mapping_comes_back_frozen() {
    let params = Params::trainable(Seed::new(1), &Device::Cpu);
    let config = FeatureMappingConfig { kernel: 3, whiten: false, ..Default::default() };
    let mapping = FeatureMapping::new(&[4, 6], &config, &params).unwrap();
    let mut sgd =
        Sgd::new(params.vars(), SgdConfig { learning_rate: 1e-2, momentum: 0.0, weight_decay: 0.0 }).unwrap();
    for step in 0..150 {
        let loss = squares(&mapping.forward(&pyramid()).unwrap());
        let grads = loss.backward().unwrap();
        if step == 0 {
            // The last convolution starts at zero and lets nothing through to what is before it.
            let learning =
                largest_gradients(&params, &grads).into_iter().filter(|(_, largest)| *largest > 0.0);
            assert!(learning.map(|(name, _)| name).eq(["0.conv2.weight", "1.conv2.weight"]));
        } else {
            assert_every_parameter_learns(&params, &grads);
        }
        sgd.step(&grads).unwrap();
    }
    let trained = mapping.forward(&pyramid()).unwrap();
    let frozen = Params::frozen(params.tensors().unwrap(), "snapshot", &Device::Cpu);
    let rebuilt = FeatureMapping::new(&[4, 6], &config, &frozen).unwrap();
    frozen.finish(|_| false).unwrap();
    // The running statistics have come close to those of the one batch, up to the unbiased
    // variance.
    assert_same(&rebuilt.forward(&pyramid()).unwrap(), &trained, 0.1);
    let far = pyramid().scales[0].sub(&trained.scales[0]).unwrap().abs().unwrap().max_all().unwrap();
    assert!(far.to_scalar::<f32>().unwrap() > 0.1);
}

#[test]
fn whitening_alone_can_be_taken_over_and_stands_before_the_trained_part() {
    let config = FeatureMappingConfig::default();
    let new = |seed| {
        let params = Params::trainable(Seed::new(seed), &Device::Cpu);
        FeatureMapping::new(&[4, 6], &config, &params).map(|mapping| (mapping, params)).unwrap()
    };
    let mut moments = FeatureMoments::default();
    moments.add(&pyramid()).unwrap();
    let (mut measured, _) = new(1);
    measured.measure(&moments, &config).unwrap();
    let (mut mapping, params) = new(2);
    mapping.copy_whitening(&measured).unwrap();
    let whitened = measured.whiten(&pyramid()).unwrap();
    assert_same(&mapping.whiten(&pyramid()).unwrap(), &whitened, 0.0);
    // The whitening that was taken over is saved with the mapping.
    let frozen = Params::frozen(params.tensors().unwrap(), "snapshot", &Device::Cpu);
    let rebuilt = FeatureMapping::new(&[4, 6], &config, &frozen).unwrap();
    assert_same(&rebuilt.whiten(&pyramid()).unwrap(), &whitened, 0.0);
    for scale in &whitened.scales {
        let mean = scale.mean_all().unwrap().to_scalar::<f32>().unwrap();
        assert!((mean - 1.0).abs() < 1e-3, "{mean} is not the offset");
    }
    // The trained part does something once its last convolution is not zero.
    for var in params.vars() {
        var.set(&(var.as_tensor() + 0.05).unwrap().detach()).unwrap();
    }
    let mapped = mapping.adapt(&whitened).unwrap();
    // Features get a gradient from the trained part and none through the whitening.
    let features = Var::from_tensor(&pyramid().scales[0]).unwrap();
    let given = FeaturePyramid { scales: vec![features.as_tensor().clone(), pyramid().scales[1].clone()] };
    let reaches = |output: FeaturePyramid| {
        squares(&output).backward().is_ok_and(|grads| grads.get(features.as_tensor()).is_some())
    };
    assert!(reaches(mapping.adapt(&given).unwrap()));
    assert!(!reaches(mapping.forward(&given).unwrap()));
    let moved = mapped.scales[0].sub(&whitened.scales[0]).unwrap().abs().unwrap().max_all().unwrap();
    assert!(moved.to_scalar::<f32>().unwrap() > 1e-2);
}

#[test]
fn values_out_of_range_and_other_pyramids_are_refused() {
    let params = Params::trainable(Seed::new(1), &Device::Cpu);
    let new = |kernel, width| {
        let config = FeatureMappingConfig { kernel, width, whiten: false, ..Default::default() };
        FeatureMapping::new(&[4], &config, &params)
    };
    assert!(matches!(new(2, 2), Err(ModelError::MappingConfig { key: "kernel", .. })));
    assert!(matches!(new(1, 0), Err(ModelError::MappingConfig { key: "width", .. })));
    let mapping = new(1, 1).unwrap();
    assert!(matches!(mapping.forward(&pyramid()), Err(ModelError::PyramidShape { .. })));
    let other = FeaturePyramid { scales: vec![image(&[1, 5, 2, 2])] };
    assert!(matches!(mapping.forward(&other), Err(ModelError::Tensor(_))));
}

#[test]
fn the_configuration_takes_no_unknown_key() {
    let parse = serde_json::from_str::<FeatureMappingConfig>;
    assert_eq!(parse("{}").unwrap(), FeatureMappingConfig::default());
    assert!(parse(r#"{"widht": 3}"#).is_err());
}
