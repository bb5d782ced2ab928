use std::collections::{BTreeMap, HashMap};
use std::io::Write;
use std::path::Path;

use candle_core::{DType, Device, Tensor};
use fmam_files::{Digest, Hasher};

use crate::ModelError;

/// Bytes of a file of weights, at most: it is read whole.
pub const MAX_BYTES: u64 = 32 << 30;

/// Bytes of the header of a safetensors file, at most, as its own library has it.
const MAX_HEADER: u64 = 100_000_000;

/// Writes `tensors` as a safetensors file, each in its own type. The file appears whole or not at
/// all, and a missing folder is made; the same tensors give the same bytes.
///
/// # Errors
/// [`ModelError::Write`] when the folder is not writable or the disk is full.
pub fn save_tensors(path: &Path, tensors: &BTreeMap<String, Tensor>) -> Result<(), ModelError> {
    save(path, tensors, None)
}

/// Reads what [`save_tensors`] wrote, or any other safetensors file, onto the CPU.
///
/// # Errors
/// [`ModelError::Read`] when the file is missing, truncated or no safetensors file.
pub fn load_tensors(path: &Path) -> Result<BTreeMap<String, Tensor>, ModelError> {
    let bytes = fmam_files::read_limited(path, MAX_BYTES)
        .map_err(|source| ModelError::Read { path: path.to_owned(), source: source.into() })?;
    tensors_in(&bytes, path)
}

/// The tensors in the `bytes` of the safetensors file `path`, on the CPU.
///
/// # Errors
/// [`ModelError::Read`] when they are truncated or no safetensors file.
pub fn tensors_in(bytes: &[u8], path: &Path) -> Result<BTreeMap<String, Tensor>, ModelError> {
    from_bytes(bytes).map_err(|source| ModelError::Read { path: path.to_owned(), source: source.into() })
}

/// The digest over the names, shapes and values of `tensors`, of which all but bytes are taken as
/// f32.
///
/// # Errors
/// [`ModelError::Tensor`] when the device fails.
pub fn tensors_digest(tensors: &BTreeMap<String, Tensor>) -> Result<Digest, ModelError> {
    let mut hasher = Hasher::default();
    for (name, tensor) in tensors {
        hasher.update(format!("{name} {:?} {:?}\n", tensor.dims(), tensor.dtype()));
        let flat = tensor.flatten_all()?;
        if flat.dtype() == DType::U8 {
            hasher.update(flat.to_vec1::<u8>()?);
        } else {
            let values = flat.to_dtype(DType::F32)?.to_vec1::<f32>()?;
            hasher.update(values.iter().flat_map(|value| value.to_le_bytes()).collect::<Vec<u8>>());
        }
    }
    Ok(hasher.finish())
}

/// The tensors of a safetensors file in memory.
pub(crate) fn from_bytes(bytes: &[u8]) -> candle_core::Result<BTreeMap<String, Tensor>> {
    Ok(candle_core::safetensors::load_buffer(bytes, &Device::Cpu)?.into_iter().collect())
}

/// True if a file that begins with `head` may be a safetensors file: eight bytes for the length of
/// the header, then the header.
pub(super) fn may_begin(head: &[u8]) -> bool {
    head.split_first_chunk().is_some_and(|(length, header)| {
        u64::from_le_bytes(*length) <= MAX_HEADER && header.first() == Some(&b'{')
    })
}

/// [`save_tensors`] with metadata. Metadata of more than one entry makes the bytes depend on the
/// hasher.
pub(crate) fn save(
    path: &Path,
    tensors: &BTreeMap<String, Tensor>,
    metadata: Option<HashMap<String, String>>,
) -> Result<(), ModelError> {
    let tensors = tensors
        .iter()
        .map(|(name, tensor)| Ok((name, tensor.to_device(&Device::Cpu)?)))
        .collect::<candle_core::Result<Vec<_>>>()?;
    let error = |source| ModelError::Write { path: path.to_owned(), source };
    let bytes = safetensors::serialize(tensors, metadata).map_err(|e| error(e.into()))?;
    fmam_files::write_atomic(path, |file| file.write_all(&bytes)).map_err(|e| error(e.into()))
}
