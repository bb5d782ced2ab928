use std::collections::{BTreeMap, HashMap};
use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};

use candle_core::{Device, Tensor};

use crate::ModelError;

/// Writes `tensors` as a safetensors file, each in its own type. The file appears whole or not at all; the same tensors give the same
/// bytes.
///
/// # Errors
/// [`ModelError::Write`] when the folder is missing or not writable or the disk is full.
pub fn save_tensors(path: &Path, tensors: &BTreeMap<String, Tensor>) -> Result<(), ModelError> {
    save(path, tensors, None)
}

/// Reads what [`save_tensors`] wrote, or any other safetensors file, onto the CPU.
///
/// # Errors
/// [`ModelError::Read`] when the file is missing, truncated or no safetensors file.
pub fn load_tensors(path: &Path) -> Result<BTreeMap<String, Tensor>, ModelError> {
    let error = |source| ModelError::Read { path: path.to_owned(), source };
    let bytes = std::fs::read(path).map_err(|e| error(e.into()))?;
    from_bytes(&bytes).map_err(|e| error(e.into()))
}

/// The tensors of a safetensors file in memory.
pub(crate) fn from_bytes(bytes: &[u8]) -> candle_core::Result<BTreeMap<String, Tensor>> {
    Ok(candle_core::safetensors::load_buffer(bytes, &Device::Cpu)?.into_iter().collect())
}

/// [`save_tensors`] with metadata. Metadata of more than one entry makes the bytes depend on the hasher.
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
    write_atomically(path, &bytes).map_err(|e| error(e.into()))
}

/// Writes to a neighbouring file, then renames it.
fn write_atomically(path: &Path, bytes: &[u8]) -> std::io::Result<()> {
    let mut name = path.file_name().ok_or(std::io::ErrorKind::InvalidInput)?.to_owned();
    name.push(format!(".{}.part", std::process::id()));
    let part: PathBuf = path.with_file_name(name);
    let written = File::create(&part)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| file.sync_all()))
        .and_then(|()| std::fs::rename(&part, path));
    if written.is_err() {
        // The first error is the one to tell; the remains may not exist.
        let _ = std::fs::remove_file(&part);
    }
    written
}
