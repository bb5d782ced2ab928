//! The network files of a saved model, and the digests by which a replaced one is found.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use fmam_files::Digest;
use serde::{Deserialize, Serialize};

use crate::MethodError;
use crate::checkpoint::Checkpoint;

/// The ending of a network file, with its dot.
const ENDING: &str = ".safetensors";

/// The SHA-256 of each network file of a model, in hexadecimal digits, by the name of the file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct NetworkFiles(BTreeMap<String, String>);

impl NetworkFiles {
    /// The network files that lie in `dir` now.
    ///
    /// # Errors
    /// [`MethodError::Read`] naming the path.
    pub(crate) fn in_folder(dir: &Path) -> Result<Self, MethodError> {
        let entry = |name: String| {
            let path = dir.join(&name);
            let digest = Digest::of_file(&path).map_err(|e| MethodError::read(&path, e))?;
            Ok((name, digest.to_string()))
        };
        names(dir)?.into_iter().map(entry).collect::<Result<_, _>>().map(Self)
    }

    /// Compares the names with those of the network files in `dir`, and reads none of them.
    ///
    /// # Errors
    /// [`MethodError::MissingFile`], [`MethodError::SurplusFile`]; [`MethodError::Read`] for a
    /// folder that cannot be listed.
    pub(crate) fn check_names(&self, dir: &Path) -> Result<(), MethodError> {
        let found = names(dir)?;
        if let Some(name) = self.0.keys().find(|name| !found.contains(*name)) {
            return Err(MethodError::MissingFile { path: dir.join(name) });
        }
        match found.iter().find(|name| !self.0.contains_key(*name)) {
            Some(name) => Err(MethodError::SurplusFile { path: dir.join(name) }),
            None => Ok(()),
        }
    }

    /// The tensors of the network `name` in `dir`.
    ///
    /// # Errors
    /// [`MethodError::ReplacedFile`] for another content than the saved one;
    /// [`MethodError::MissingFile`] for a network that the model was saved without.
    pub(crate) fn load(&self, dir: &Path, name: &str) -> Result<Checkpoint, MethodError> {
        let path = network_path(dir, name);
        let expected = self.0.get(&format!("{name}{ENDING}"));
        let expected = expected.ok_or_else(|| MethodError::MissingFile { path: path.clone() })?;
        let bytes = fs::read(&path).map_err(|e| MethodError::read(&path, e))?;
        if Digest::of(&bytes).to_string() != *expected {
            return Err(MethodError::ReplacedFile { path });
        }
        Checkpoint::of_file(fmam_models::tensors_in(&bytes, &path)?, &path)
    }
}

/// The file of the network `name`.
pub(crate) fn network_path(dir: &Path, name: &str) -> PathBuf {
    dir.join(format!("{name}{ENDING}"))
}

/// The names of the network files in `dir`. A hidden file is none: some systems put one beside each
/// file that they copy.
fn names(dir: &Path) -> Result<BTreeSet<String>, MethodError> {
    let error = |e| MethodError::read(dir, e);
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(dir).map_err(error)? {
        let name = entry.map_err(error)?.file_name().to_string_lossy().into_owned();
        if name.ends_with(ENDING) && !name.starts_with('.') {
            names.insert(name);
        }
    }
    Ok(names)
}
