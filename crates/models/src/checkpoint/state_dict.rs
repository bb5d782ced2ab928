use std::collections::{BTreeMap, HashMap};
use std::io::{Cursor, Read};
use std::path::Path;
use std::rc::Rc;

use candle_core::{DType, Device, Tensor};
use fmam_files::{Digest, Placeholder};

use super::budget::Budget;
use super::pickle::{Pickle, PickleError, unpickle};
use super::pickle_value::{StridedTensor, Value};
use super::tensor_file::{self, MAX_BYTES};
use super::wrapping::{Wrapping, inner_dict};
use crate::ModelError;

/// The 80-bit number that opens a file of PyTorch's older format, as a pickle of its own.
const LEGACY_MAGIC: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.";
/// Bytes at the front of a file that tell its kind.
const HEAD: u64 = 1024;
const ZIP_MAGIC: &[u8] = b"PK\x03\x04";

/// Names that may stand for the same elements, on average: tied weights are a few.
const MAX_SHARING: usize = 16;

/// Reads a state dict onto the CPU: a safetensors file, or what `torch.save(model.state_dict(),
/// path)` writes, in its zip format or the one before PyTorch 1.6. The content decides, not the
/// file's name. Tensors are contiguous and keep their type: a float of 16, 32 or 64 bits or an
/// integer. Nothing in the file is executed.
///
/// A training checkpoint serves too: the state dict may be the entry `state_dict`,
/// `model_state_dict` or `model` of a dict, whose other entries are passed over. A prefix that all
/// names share, `module.`, `model.` or `_orig_mod.`, is taken off. Both are logged as a warning.
///
/// # Errors
/// [`ModelError::Read`] when the file is missing, damaged, or holds no tensors by name.
pub fn read_state_dict(path: &Path) -> Result<BTreeMap<String, Tensor>, ModelError> {
    Ok(read_with_digest(path)?.0)
}

/// [`read_state_dict`], and the SHA-256 of the bytes that were read.
pub(crate) fn read_with_digest(path: &Path) -> Result<(BTreeMap<String, Tensor>, String), ModelError> {
    let error = |source| ModelError::Read { path: path.to_owned(), source };
    // Only the front of a file of another kind is read, which may be of any size.
    let head = fmam_files::read_head(path, HEAD).map_err(|e| error(e.into()))?;
    if !(head.starts_with(ZIP_MAGIC) || head.starts_with(&LEGACY_MAGIC[..4]) || tensor_file::may_begin(&head))
    {
        let found = from_bytes(&head, &mut Wrapping::default());
        found.map_err(|e| error(e.into()))?;
    }
    let bytes = fmam_files::read_limited(path, MAX_BYTES).map_err(|e| error(e.into()))?;
    let mut wrapping = Wrapping::default();
    let tensors = from_bytes(&bytes, &mut wrapping).map_err(|e| error(e.into()))?;
    let tensors = wrapping.without_prefix(tensors);
    if let Some(unwrapped) = wrapping.description() {
        tracing::warn!("{}: {unwrapped}", path.display());
    }
    Ok((tensors, Digest::of(&bytes).to_string()))
}

fn from_bytes(bytes: &[u8], wrapping: &mut Wrapping) -> Result<BTreeMap<String, Tensor>, StateDictError> {
    if bytes.starts_with(ZIP_MAGIC) {
        zipped(bytes, wrapping)
    } else if bytes.starts_with(&LEGACY_MAGIC[..4]) {
        legacy(bytes, wrapping)
    } else if let Some(placeholder) = Placeholder::of(bytes) {
        Err(StateDictError::Placeholder(placeholder))
    } else {
        tensor_file::from_bytes(bytes).map_err(StateDictError::Unknown)
    }
}

#[derive(Debug, thiserror::Error)]
enum StateDictError {
    #[error("neither a safetensors file nor one of torch.save, or damaged")]
    Unknown(#[source] candle_core::Error),
    #[error(transparent)]
    Placeholder(Placeholder),
    #[error("the zip archive is damaged")]
    Zip(#[from] zip::result::ZipError),
    #[error("the zip archive is damaged")]
    Entry(#[from] std::io::Error),
    #[error("the entry `{0}` of the zip archive is compressed; torch.save compresses none")]
    Compressed(String),
    #[error("the entries of the zip archive have more bytes than the archive")]
    Overlap,
    #[error("the zip archive holds no `data.pkl`, so it is none of torch.save")]
    NoPickle,
    #[error("the file was written on a big-endian machine")]
    BigEndian,
    #[error("cannot read its pickle")]
    Pickle(#[from] PickleError),
    #[error(
        "no state dict: it holds something else than tensors by name; save model.state_dict() and nothing else"
    )]
    NoStateDict,
    #[error("no state dict: it refers to the Python object `{0}`; save model.state_dict() and nothing else")]
    Foreign(String),
    #[error("the file ends too early")]
    Truncated,
    #[error("the elements of tensor `{key}` are missing or incomplete")]
    Storage { key: String },
    #[error("tensor `{key}` lies outside its storage")]
    OutOfBounds { key: String },
    #[error("its tensors take far more memory than the file has bytes, from `{key}` on: no state dict does")]
    Budget { key: String },
    #[error("tensor operation failed")]
    Tensor(#[from] candle_core::Error),
}

/// A zip archive: `NAME/data.pkl` with the dict, `NAME/data/KEY` with the elements of storage KEY.
fn zipped(bytes: &[u8], wrapping: &mut Wrapping) -> Result<BTreeMap<String, Tensor>, StateDictError> {
    let mut archive = zip::ZipArchive::new(Cursor::new(bytes))?;
    // The entries of an honest archive lie one after another.
    let mut left = bytes.len() as u64;
    let mut read = |name: &str| -> Result<Vec<u8>, StateDictError> {
        let mut content = Vec::new();
        let mut entry = archive.by_name(name)?;
        if entry.compression() != zip::CompressionMethod::Stored {
            return Err(StateDictError::Compressed(name.to_owned()));
        }
        let size = entry.size();
        left = left.checked_sub(size).ok_or(StateDictError::Overlap)?;
        // The checksum is compared at the end of the entry, which one byte more reaches.
        entry.by_ref().take(size.saturating_add(1)).read_to_end(&mut content)?;
        Ok(content)
    };
    let names = zip::ZipArchive::new(Cursor::new(bytes))?;
    let name = names.file_names().filter_map(Result::ok).find(|name| name.ends_with("data.pkl"));
    let pickle = name.ok_or(StateDictError::NoPickle)?.into_owned();
    let folder = pickle.strip_suffix("data.pkl").unwrap_or_default();
    if read(&format!("{folder}byteorder")).is_ok_and(|order| order != b"little") {
        return Err(StateDictError::BigEndian);
    }
    let mut budget = Budget::of_file(bytes.len(), 1);
    let entries = entries(&unpickle(&read(&pickle)?, &mut budget)?.value, wrapping, &mut budget)?;
    let mut storages = HashMap::new();
    for (key, tensor) in &entries {
        let storage = &tensor.storage;
        if !storages.contains_key(&*storage.key) {
            let content = read(&format!("{folder}data/{}", storage.key)).map_err(|error| match error {
                StateDictError::Compressed(_) | StateDictError::Overlap => error,
                _ => StateDictError::Storage { key: key.clone() },
            })?;
            storages.insert(storage.key.to_string(), content);
        }
    }
    tensors(&entries, &storages, bytes.len())
}

/// Pickles in a row: magic number, protocol version, facts on the machine, the dict, the keys of
/// the storages; then for each storage the number of its elements (i64) and the elements.
fn legacy(bytes: &[u8], wrapping: &mut Wrapping) -> Result<BTreeMap<String, Tensor>, StateDictError> {
    let mut rest = bytes.strip_prefix(LEGACY_MAGIC).ok_or(StateDictError::Truncated)?;
    let mut budget = Budget::of_file(bytes.len(), 1);
    let mut next = |budget: &mut Budget| -> Result<Pickle, StateDictError> {
        let pickle = unpickle(rest, budget)?;
        rest = &rest[pickle.length..];
        Ok(pickle)
    };
    let (_protocol, machine, dict) = (next(&mut budget)?, next(&mut budget)?, next(&mut budget)?);
    if let Value::Dict(facts, _) = &machine.value
        && facts
            .iter()
            .any(|fact| matches!(fact, (Value::Text(name), Value::Bool(false)) if &**name == "little_endian"))
    {
        return Err(StateDictError::BigEndian);
    }
    let entries = entries(&dict.value, wrapping, &mut budget)?;
    let Value::List(keys, _) = next(&mut budget)?.value else { return Err(StateDictError::NoStateDict) };
    let dtypes: HashMap<&str, DType> =
        dict.storages.iter().map(|storage| (&*storage.key, storage.dtype)).collect();
    let mut storages = HashMap::new();
    for key in keys.iter() {
        let Value::Text(key) = key else { return Err(StateDictError::NoStateDict) };
        // The size of an element is known only from the tensors that use it.
        let dtype = dtypes.get(&**key).ok_or(StateDictError::NoStateDict)?;
        let (length, after) = rest.split_first_chunk::<8>().ok_or(StateDictError::Truncated)?;
        let size = usize::try_from(i64::from_le_bytes(*length))
            .ok()
            .and_then(|length| length.checked_mul(dtype.size_in_bytes()))
            .filter(|size| *size <= after.len())
            .ok_or(StateDictError::Truncated)?;
        let (content, after) = after.split_at(size);
        storages.insert(key.to_string(), content);
        rest = after;
    }
    tensors(&entries, &storages, bytes.len())
}

/// The tensors of the state dict in `value`; anything else in it is an error.
fn entries(
    value: &Value,
    wrapping: &mut Wrapping,
    budget: &mut Budget,
) -> Result<Vec<(String, Rc<StridedTensor>)>, StateDictError> {
    let entry = |entry: &(Value, Value)| match entry {
        // A name of a million letters can be that of a million entries.
        (Value::Text(key), Value::Tensor(_)) if !budget.take(key.len()) => {
            Err(StateDictError::Pickle(PickleError::Budget))
        }
        (Value::Text(key), Value::Tensor(tensor)) => Ok((key.to_string(), Rc::clone(tensor))),
        (_, Value::Foreign(name)) => Err(StateDictError::Foreign(name.to_string())),
        _ => Err(StateDictError::NoStateDict),
    };
    match inner_dict(value, wrapping) {
        Value::Dict(entries, _) => entries.iter().map(entry).collect(),
        Value::Foreign(name) => Err(StateDictError::Foreign(name.to_string())),
        _ => Err(StateDictError::NoStateDict),
    }
}

/// The tensors of a file of `length` bytes. Names of the same view, as tied weights have, share a
/// tensor.
fn tensors(
    entries: &[(String, Rc<StridedTensor>)],
    storages: &HashMap<String, impl AsRef<[u8]>>,
    length: usize,
) -> Result<BTreeMap<String, Tensor>, StateDictError> {
    let (mut memory, mut named) = (Budget::of_file(length, 1), Budget::of_file(length, MAX_SHARING));
    let mut made: HashMap<&StridedTensor, Tensor> = HashMap::new();
    let mut tensors = BTreeMap::new();
    for (key, view) in entries {
        let content = storages.get(&*view.storage.key).map(AsRef::as_ref);
        let width = view.storage.dtype.size_in_bytes();
        let content = content
            .filter(|content| view.storage.len.checked_mul(width) == Some(content.len()))
            .ok_or_else(|| StateDictError::Storage { key: key.clone() })?;
        let count = view.n_elements().ok_or_else(|| StateDictError::OutOfBounds { key: key.clone() })?;
        let shared = made.get(&**view).cloned();
        if !named.take(count * width) || (shared.is_none() && !memory.take(count * width)) {
            return Err(StateDictError::Budget { key: key.clone() });
        }
        let tensor = match shared {
            Some(tensor) => tensor,
            None => gathered(view, content, count)?,
        };
        made.insert(view, tensor.clone());
        tensors.insert(key.clone(), tensor);
    }
    Ok(tensors)
}

/// Gathers the `count` elements of a view into a contiguous tensor.
fn gathered(view: &StridedTensor, content: &[u8], count: usize) -> candle_core::Result<Tensor> {
    let StridedTensor { storage, offset, shape, strides } = view;
    let width = storage.dtype.size_in_bytes();
    if count > 0 && view.is_contiguous() {
        let content = &content[offset * width..][..count * width];
        return Tensor::from_raw_buffer(content, storage.dtype, shape, &Device::Cpu);
    }
    let mut bytes = Vec::with_capacity(count * width);
    let mut index = vec![0; shape.len()];
    for _ in 0..count {
        let position = offset + index.iter().zip(strides).map(|(i, stride)| i * stride).sum::<usize>();
        bytes.extend_from_slice(&content[position * width..][..width]);
        for (i, size) in index.iter_mut().zip(shape).rev() {
            *i += 1;
            if *i < *size {
                break;
            }
            *i = 0;
        }
    }
    Tensor::from_raw_buffer(&bytes, storage.dtype, shape, &Device::Cpu)
}
