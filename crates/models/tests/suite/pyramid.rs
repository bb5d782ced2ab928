use candle_core::{Device, Tensor};
use fmam_models::{Backbone, FeaturePyramid, ModelError, load_backbone};

use crate::backbones::assert_same;
use crate::reference::image;

#[test]
fn images_taken_apart_and_put_together_are_the_batch() {
    let channels_first = FeaturePyramid { scales: vec![image(&[3, 4, 8, 6]), image(&[3, 6, 4, 3])] };
    // As a network leaves them: channels last in memory.
    let backbone = load_backbone("tiny", None, &Device::Cpu).unwrap();
    let of_network = backbone.features(&image(&[3, 3, 32, 32])).unwrap();
    for pyramid in [channels_first, of_network] {
        let images: Vec<_> = (0..3).map(|n| pyramid.image(n).unwrap()).collect();
        assert_same(&FeaturePyramid::concat(&images.iter().collect::<Vec<_>>()).unwrap(), &pyramid, 0.0);
        let turned = FeaturePyramid::concat(&[&images[2], &images[0]]).unwrap();
        for (turned, scale) in turned.scales.iter().zip(&pyramid.scales) {
            let expected = Tensor::cat(&[scale.narrow(0, 2, 1).unwrap(), scale.narrow(0, 0, 1).unwrap()], 0);
            let values = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(values(turned), values(&expected.unwrap()));
        }
    }
}

#[test]
fn parts_that_do_not_fit_are_refused() {
    assert!(matches!(FeaturePyramid::concat(&[]), Err(ModelError::EmptyBatch)));
    let one = FeaturePyramid { scales: vec![image(&[1, 4, 2, 2])] };
    let two = FeaturePyramid { scales: vec![image(&[1, 4, 2, 2]), image(&[1, 4, 1, 1])] };
    assert!(matches!(FeaturePyramid::concat(&[&one, &two]), Err(ModelError::PyramidShape { .. })));
    let other = FeaturePyramid { scales: vec![image(&[1, 5, 2, 2])] };
    assert!(matches!(FeaturePyramid::concat(&[&one, &other]), Err(ModelError::Tensor(_))));
    assert!(matches!(one.image(1), Err(ModelError::Tensor(_))));
}
