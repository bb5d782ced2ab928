//! Weight files: a state dict of PyTorch in either format, or a safetensors file.

use std::collections::BTreeMap;

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
    let numbers: Vec<u8> = (0..6).flat_map(|number| (number as f32).to_le_bytes()).collect();
    vec![
        ("own.safetensors".to_owned(), std::fs::read(path).unwrap()),
        ("zipped.pth".to_owned(), zipped(&numbers)),
        ("legacy.pth".to_owned(), legacy(&numbers)),
    ]
}

/// The pickle of a state dict: one tensor of 2 by 3 numbers, in the storage `0`.
fn state_dict() -> Vec<u8> {
    let text = |text: &str| [&b"X"[..], &(text.len() as u32).to_le_bytes(), text.as_bytes()].concat();
    [
        &b"\x80\x02}"[..],
        &text("a.weight"),
        b"ctorch._utils\n_rebuild_tensor_v2\n((",
        &text("storage"),
        b"ctorch\nFloatStorage\n",
        &text("0"),
        &text("cpu"),
        b"K\x06tQK\x00K\x02K\x03\x86K\x03K\x01\x86\x89ccollections\nOrderedDict\n)RtRs.",
    ]
    .concat()
}

/// The format of PyTorch 1.6 and later.
fn zipped(numbers: &[u8]) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
    let pickle = state_dict();
    for (name, content) in [("a/data.pkl", &pickle[..]), ("a/byteorder", b"little"), ("a/data/0", numbers)] {
        let stored = zip::CompressionMethod::Stored;
        let options = zip::write::SimpleFileOptions::default().compression_method(stored);
        zip.start_file(name, options).unwrap();
        std::io::Write::write_all(&mut zip, content).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

/// The format before.
fn legacy(numbers: &[u8]) -> Vec<u8> {
    let magic = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
    let before = b"\x80\x02M\xe9\x03.\x80\x02}.";
    let keys = b"\x80\x02]X\x01\0\0\x000a.";
    [&magic[..], before, &state_dict(), keys, &6_u64.to_le_bytes(), numbers].concat()
}
