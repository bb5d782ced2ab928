//! Weight files: a state dict of PyTorch in either format, or a safetensors file.

use std::collections::BTreeMap;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use fmam_models::{load_tensors, read_state_dict, save_tensors};

use super::bytes::Seed;
use super::scratch::{scratch, write};

/// The bytes of a tensor of integers or floating-point numbers, of which undefined ones count too.
fn elements(tensor: &Tensor) -> Vec<u8> {
    let mut bytes = Vec::new();
    tensor.write_bytes(&mut bytes).unwrap();
    bytes
}

/// Accepted tensors come back as they were saved, in their type and shape.
pub fn weights(data: &[u8]) -> bool {
    let folder = scratch();
    let path = write(&folder, "weights", data);
    let Ok(tensors) = read_state_dict(&path) else { return false };
    let saved = folder.path().join("saved.safetensors");
    save_tensors(&saved, &tensors).unwrap();
    let read = load_tensors(&saved).unwrap();
    assert!(read.keys().eq(tensors.keys()));
    for (name, tensor) in &tensors {
        let back = &read[name];
        assert_eq!((back.dims(), back.dtype()), (tensor.dims(), tensor.dtype()), "{name}");
        assert_eq!(elements(back), elements(tensor), "{name}");
    }
    true
}

pub(super) fn seeds() -> Vec<Seed> {
    let folder = scratch();
    let path = folder.path().join("a.safetensors");
    let tensor = |dtype| Tensor::arange(0.0_f32, 6.0, &Device::Cpu).unwrap().to_dtype(dtype).unwrap();
    let tensors = [("a.weight", DType::F32), ("a.half", DType::F16), ("b", DType::I64), ("c", DType::U8)];
    let tensors: BTreeMap<String, Tensor> = tensors
        .map(|(name, dtype)| (name.to_owned(), tensor(dtype).reshape((2, 3)).unwrap()))
        .into_iter()
        .collect();
    save_tensors(&path, &tensors).unwrap();
    let mut seeds = vec![("own.safetensors".to_owned(), std::fs::read(path).unwrap())];
    let references = Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/reference/checkpoints"));
    for name in ["tiny.pth", "tiny_legacy.pth"] {
        seeds.push((name.to_owned(), std::fs::read(references.join(name)).unwrap()));
    }
    seeds
}
