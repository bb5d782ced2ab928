use std::collections::BTreeSet;

use candle_core::{DType, Device, Tensor};
use fmam_models::{BACKBONES, Weights, backbone_from_tensors};

use super::fixture::fixture;
use super::{registered, teacher};

#[test]
fn specifications_hold_together() {
    let names: BTreeSet<_> = BACKBONES.iter().map(|spec| spec.name).collect();
    assert_eq!(names.len(), BACKBONES.len(), "two backbones of BACKBONES have one name");
    for spec in registered() {
        let name = spec.name;
        assert!(!spec.summary.is_empty(), "{name}: `summary` is empty");
        assert!(
            !spec.channels.is_empty() && spec.channels.len() == spec.strides.len(),
            "{name}: `channels` and `strides` need one value for each scale"
        );
        assert!(spec.strides.is_sorted(), "{name}: `strides` are finest first, got {:?}", spec.strides);
        if let Weights::File(Some(published)) = spec.weights {
            let digest = published.sha256;
            let is_hex = digest.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
            assert!(
                is_hex && (digest.len() == 64 || digest.len() == 8 && published.url.contains(digest)),
                "{name}: `sha256` is the 64 digits of the published file, or the 8 digits of its name, got {digest}"
            );
            assert!(
                !published.title.is_empty() && !published.licence.is_empty(),
                "{name}: published weights need a title and a licence"
            );
        }
    }
}

#[test]
fn whole_checkpoints_are_taken_and_foreign_keys_are_not() {
    for spec in registered() {
        let Some(fixture) = fixture(spec) else { continue };
        let backbone = teacher(spec);
        let mut tensors = backbone.tensors().clone();
        for key in fixture.keys {
            // Unused tensors may have any shape.
            tensors.entry(key.name).or_insert(Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap());
        }
        let load = |tensors| backbone_from_tensors(spec.name, tensors, "x.pth", &Device::Cpu);
        let whole = load(tensors.clone()).unwrap_or_else(|error| {
            panic!("{}: {error}; keys that features do not need belong into `unused_keys`", spec.name)
        });
        assert!(whole.tensors().keys().eq(backbone.tensors().keys()), "{}", spec.name);
        tensors.insert("foreign.weight".to_owned(), Tensor::zeros(1, DType::F32, &Device::Cpu).unwrap());
        assert!(load(tensors).is_err(), "{}: `unused_keys` accept the key foreign.weight", spec.name);
    }
}
