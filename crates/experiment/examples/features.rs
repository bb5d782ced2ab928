//! Writes one category as safetensors files for other programs to compute with.
//!
//! `train.safetensors` and `test.safetensors` hold `images`, `[N, 3, SIZE, SIZE]`, as the backbone
//! takes them, and its features `scale0`, `scale1`, ..., each `[N, C, H, W]`. The test file has
//! `labels`, `[N]`, and `masks`, `[N, SIZE, SIZE]`, of 0 and 1 as well. SIZE is 256 by default.
//!
//! ```text
//! cargo run --release -p fmam-experiment --example features -- DATA magnetic-tile magnetic-tile efficientnet-lite0 OUT
//! cargo run --release -p fmam-experiment --example features -- - demo flange efficientnet-lite0 OUT 128
//! ```

use std::collections::HashMap;
use std::error::Error;
use std::path::Path;

use candle_core::{Device, Tensor};
use fmam_core::{ImageSize, Label, SampleSource};
use fmam_datasets::{DatasetOptions, dataset};
use fmam_models::{Backbone, LoadedBackbone, load_backbone, to_batch};

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [root, dataset_name, category, backbone, out, size @ ..] = arguments.as_slice() else {
        return Err("expected: DATA DATASET CATEGORY BACKBONE OUT [SIZE]".into());
    };
    let size = ImageSize::square(size.first().map_or(Ok(256), |side| side.parse())?);
    let options = DatasetOptions { root: Some(root.into()), ..DatasetOptions::default() };
    let category = (dataset(dataset_name)?.open)(&options)?.category(category, &size.into())?;
    let backbone = load_backbone(backbone, None, &Device::Cpu)?;
    std::fs::create_dir_all(out)?;
    let (test, out) = (category.test.as_ref(), Path::new(out));

    let train = features(category.train.as_ref(), &backbone)?;
    candle_core::safetensors::save(&train, out.join("train.safetensors"))?;

    let mut tensors = features(test, &backbone)?;
    let labels: Vec<u8> =
        (0..test.len()).map(|k| u8::from(test.sample(k).label == Label::Anomalous)).collect();
    let mut masks = Vec::with_capacity(test.len() * size.pixels());
    for index in 0..test.len() {
        let mask = test.mask(index)?.ok_or("an anomalous image without a mask")?;
        masks.extend(mask.data().iter().map(|&value| u8::from(value != 0)));
    }
    tensors.insert("labels".into(), Tensor::from_vec(labels, test.len(), &Device::Cpu)?);
    let shape = (test.len(), size.height, size.width);
    tensors.insert("masks".into(), Tensor::from_vec(masks, shape, &Device::Cpu)?);
    candle_core::safetensors::save(&tensors, out.join("test.safetensors"))?;
    Ok(())
}

/// All images, and their features scale by scale.
fn features(
    source: &dyn SampleSource,
    backbone: &LoadedBackbone,
) -> Result<HashMap<String, Tensor>, Box<dyn Error + Send + Sync>> {
    let mut images = Vec::with_capacity(source.len());
    let mut scales: Vec<Vec<Tensor>> = vec![Vec::new(); backbone.channels().len()];
    for index in 0..source.len() {
        let batch = to_batch(&[source.image(index)?], backbone.preprocess(), &Device::Cpu)?;
        for (all, scale) in scales.iter_mut().zip(backbone.features(&batch)?.scales) {
            all.push(scale.detach().contiguous()?);
        }
        images.push(batch);
    }
    let mut tensors = HashMap::from([("images".to_owned(), Tensor::cat(&images, 0)?)]);
    for (k, scale) in scales.into_iter().enumerate() {
        tensors.insert(format!("scale{k}"), Tensor::cat(&scale, 0)?);
    }
    Ok(tensors)
}
