//! Saved detectors: a folder with `model.toml`, which says what it is, and one safetensors file for each network.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use candle_core::{Device, Tensor};
use fmam_core::{ImageSize, Seed};
use fmam_models::{LoadedBackbone, ModelError, Precision, backbone_from_tensors};
use serde::{Deserialize, Serialize};

use crate::MethodError;

/// Version of the folder's layout.
const SCHEMA: u32 = 2;

/// No detector is fitted for larger images; a damaged size must not ask for all memory.
const MAX_SIDE: usize = 1 << 14;

/// Named tensors of one network.
pub(crate) type Tensors = BTreeMap<String, Tensor>;

/// The contents of `model.toml`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ModelDir {
    pub(crate) schema: u32,
    pub(crate) method: String,
    pub(crate) backbone: String,
    pub(crate) seed: Seed,
    pub(crate) image_size: ImageSize,
    /// What the backbone and its students compute in; absent for f32.
    #[serde(default, skip_serializing_if = "Precision::is_f32")]
    pub(crate) precision: Precision,
    pub(crate) config: toml::Table,
}

/// The file of the backbone's tensors, without its ending.
pub(crate) const TEACHER: &str = "teacher";

impl ModelDir {
    pub(crate) fn new(
        method: &str,
        backbone: &str,
        seed: Seed,
        image_size: ImageSize,
        config: toml::Table,
    ) -> Self {
        let (method, backbone, precision) = (method.into(), backbone.into(), Precision::default());
        Self { schema: SCHEMA, method, backbone, seed, image_size, precision, config }
    }

    /// Of a detector that stands on `backbone`, in its precision.
    pub(crate) fn on_backbone(
        method: &str,
        backbone: &LoadedBackbone,
        seed: Seed,
        image_size: ImageSize,
        config: toml::Table,
    ) -> Self {
        let precision = backbone.precision();
        Self { precision, ..Self::new(method, backbone.name(), seed, image_size, config) }
    }

    /// The saved backbone, in the precision that it had.
    pub(crate) fn read_backbone(
        &self,
        dir: &Path,
        device: &Device,
    ) -> Result<Arc<LoadedBackbone>, MethodError> {
        let (tensors, origin) = read_network(dir, TEACHER)?;
        let backbone = backbone_from_tensors(&self.backbone, tensors, &origin, device)?;
        Ok(Arc::new(backbone.with_precision(self.precision)))
    }

    pub(crate) fn read(dir: &Path) -> Result<Self, MethodError> {
        let path = dir.join("model.toml");
        let text = fs::read_to_string(&path).map_err(|e| read_error(&path, e))?;
        let table: toml::Table = text.parse().map_err(|e: toml::de::Error| read_error(&path, e))?;
        match table.get("schema").and_then(toml::Value::as_integer) {
            Some(schema) if schema != i64::from(SCHEMA) => {
                let message = format!("layout {schema} is not the one of this program, {SCHEMA}");
                return Err(read_error(&path, message));
            }
            _ => {}
        }
        let model: Self = table.try_into().map_err(|e: toml::de::Error| read_error(&path, e))?;
        let ImageSize { height, width } = model.image_size;
        if ![height, width].iter().all(|side| (1..=MAX_SIDE).contains(side)) {
            let message = format!("image size {} is not from 1 to {MAX_SIDE}", model.image_size);
            return Err(read_error(&path, message));
        }
        Ok(model)
    }

    /// Writes the folder beside its place and moves it there when all of it is on disk.
    pub(crate) fn write(&self, dir: &Path, networks: &[(&str, &Tensors)]) -> Result<(), MethodError> {
        if dir.exists() {
            return Err(write_error(dir, std::io::Error::from(std::io::ErrorKind::AlreadyExists)));
        }
        let partial = partial_path(dir);
        let written = self
            .write_into(&partial, networks)
            .and_then(|()| fs::rename(&partial, dir).map_err(|e| write_error(dir, e)));
        if written.is_err() {
            // Nothing half-written stays behind; the error that matters is the one already at hand.
            let _ = fs::remove_dir_all(&partial);
        }
        written
    }

    fn write_into(&self, dir: &Path, networks: &[(&str, &Tensors)]) -> Result<(), MethodError> {
        // A killed process with the same number may have left this folder.
        let _ = fs::remove_dir_all(dir);
        fs::create_dir_all(dir).map_err(|e| write_error(dir, e))?;
        for (name, tensors) in networks {
            let path = network_path(dir, name);
            fmam_models::save_tensors(&path, tensors).map_err(|e| write_error(&path, e))?;
        }
        let path = dir.join("model.toml");
        let text = toml::to_string_pretty(self).map_err(|e| write_error(&path, e))?;
        let mut file = File::create(&path).map_err(|e| write_error(&path, e))?;
        file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(|e| write_error(&path, e))
    }
}

/// The tensors of network `name` and the file that they came from.
pub(crate) fn read_network(dir: &Path, name: &str) -> Result<(Tensors, String), MethodError> {
    let path = network_path(dir, name);
    Ok((fmam_models::load_tensors(&path)?, path.display().to_string()))
}

/// The tensor `key` of those that came from `origin`, if it has the sizes that `shape` names.
pub(crate) fn saved_tensor<'a>(
    tensors: &'a Tensors,
    key: &str,
    shape: &[Option<usize>],
    origin: &str,
) -> Result<&'a Tensor, MethodError> {
    let (origin, key) = (|| origin.to_owned(), key.to_owned());
    let Some(tensor) = tensors.get(&key) else {
        return Err(ModelError::MissingKey { origin: origin(), key }.into());
    };
    let actual = tensor.dims().to_vec();
    let fits = |(size, wanted): (&usize, &Option<usize>)| wanted.is_none_or(|wanted| wanted == *size);
    if actual.len() == shape.len() && actual.iter().zip(shape).all(fits) {
        return Ok(tensor);
    }
    // Sizes that nothing was said about are those found, or 0 where there is none.
    let found = |axis| actual.get(axis).copied().unwrap_or(0);
    let expected = shape.iter().enumerate().map(|(axis, size)| size.unwrap_or_else(|| found(axis))).collect();
    Err(ModelError::MisshapenKey { origin: origin(), key, expected, actual }.into())
}

fn network_path(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}.safetensors"))
}

fn partial_path(dir: &Path) -> PathBuf {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    dir.with_file_name(format!(".{name}.partial-{}", std::process::id()))
}

fn read_error(path: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> MethodError {
    MethodError::Read { path: path.to_owned(), source: source.into() }
}

fn write_error(path: &Path, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> MethodError {
    MethodError::Write { path: path.to_owned(), source: source.into() }
}
