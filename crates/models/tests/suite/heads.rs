//! Networks that are no backbone: the one-class head, the cloner, the U-Net.

use candle_core::{DType, Device, Tensor, Var};
use fmam_core::Seed;
use fmam_models::{AnomalyHead, Backbone, ModelError, Params, UNet, Weights};

use crate::backbones::{teacher, trainable as trainable_backbones};
use crate::reference::image;

fn trainable() -> Params {
    Params::trainable(Seed::new(1), &Device::Cpu)
}

fn values(tensor: &Tensor) -> Vec<f32> {
    tensor.flatten_all().unwrap().to_vec1().unwrap()
}

#[test]
fn a_cloner_gives_the_shapes_of_its_teacher_and_is_smaller() {
    // Drawn networks are small themselves.
    for spec in trainable_backbones().filter(|spec| !matches!(spec.weights, Weights::Seeded(_))) {
        let (backbone, params) = (teacher(spec), trainable());
        let images = image(&[1, 3, 64, 32]);
        let cloned = backbone.cloner(&params).unwrap().forward(&images).unwrap();
        let features = backbone.features(&images).unwrap();
        for (cloned, feature) in cloned.scales.iter().zip(&features.scales) {
            assert_eq!(cloned.dims(), feature.dims(), "{}", spec.name);
        }
        let count = |tensors: &std::collections::BTreeMap<String, Tensor>| -> usize {
            tensors.values().map(Tensor::elem_count).sum()
        };
        let (cloner, whole) = (count(&params.tensors().unwrap()), count(backbone.tensors()));
        assert!(cloner < whole, "{}: {cloner} of {whole}", spec.name);
    }
}

#[test]
fn a_head_gives_one_value_a_position() {
    let params = trainable();
    let features = image(&[2, 5, 6, 4]);
    let outputs = AnomalyHead::new(5, 7, &params).unwrap().forward(&features).unwrap();
    assert_eq!(outputs.dims(), [2, 6, 4]);
    let frozen = Params::frozen(params.tensors().unwrap(), "test", &Device::Cpu);
    let head = AnomalyHead::new(5, 7, &frozen).unwrap();
    frozen.finish(|_| false).unwrap();
    assert_eq!(head.forward(&features).unwrap().dims(), [2, 6, 4]);
    assert!(head.forward(&image(&[2, 4, 6, 4])).is_err());
}

#[test]
fn a_u_net_keeps_the_shape_and_each_output_sees_far() {
    let params = trainable();
    let network = UNet::new(4, &params).unwrap();
    let images = image(&[2, 3, 48, 32]);
    assert_eq!(network.forward(&images).unwrap().dims(), images.dims());
    assert!(matches!(network.forward(&image(&[1, 3, 40, 32])), Err(ModelError::InputShape { .. })));

    // Frozen, an output depends on its own image alone, on near and far pixels.
    let frozen = Params::frozen(params.tensors().unwrap(), "test", &Device::Cpu);
    let network = UNet::new(4, &frozen).unwrap();
    frozen.finish(|_| false).unwrap();
    let whole = network.forward(&images).unwrap();
    let alone = network.forward(&images.narrow(0, 1, 1).unwrap()).unwrap();
    fmam_testkit::assert_close(&values(&alone), &values(&whole.narrow(0, 1, 1).unwrap()), 1e-4, 1e-5);
    let passing = Params::frozen(params.tensors().unwrap(), "test", &Device::Cpu).passing_gradients();
    let input = Var::from_tensor(&image(&[1, 3, 64, 64])).unwrap();
    let output = UNet::new(4, &passing).unwrap().forward(&input).unwrap();
    let pixel = output.narrow(2, 32, 1).unwrap().narrow(3, 32, 1).unwrap().sum_all().unwrap();
    let gradients = pixel.backward().unwrap();
    let gradient = gradients.get(&input).unwrap().abs().unwrap().sum((0, 1)).unwrap();
    let at = |y: usize, x: usize| gradient.get(y).unwrap().get(x).unwrap().to_dtype(DType::F32).unwrap();
    let reach = |y, x| at(y, x).to_scalar::<f32>().unwrap() > 0.0;
    assert!(reach(32, 32) && reach(32, 20));
}
