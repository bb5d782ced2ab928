//! The network files of a saved model, and the digests by which a replaced one is found.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use fmam_files::{Digest, Placeholder};
use serde::{Deserialize, Serialize};

use crate::MethodError;
use crate::checkpoint::Checkpoint;

/// The ending of a network file, with its dot.
const ENDING: &str = ".safetensors";

/// Files that systems and this program put into a folder, by the front of their names.
const DROPPINGS: [&str; 8] =
    ["._", ".DS_Store", ".directory", ".nfs", ".git", "Thumbs.db", "desktop.ini", ".lock"];

/// The SHA-256 of each network file of a model, in hexadecimal digits, by the name of the file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct NetworkFiles(BTreeMap<String, String>);

impl NetworkFiles {
    /// True if there are no digests.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

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
        let bytes = fmam_files::read_limited(&path, fmam_models::MAX_BYTES);
        let bytes = bytes.map_err(|e| MethodError::read(&path, e))?;
        if let Some(found) = Placeholder::of(&bytes) {
            return Err(MethodError::read(&path, found));
        }
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

/// The names of the network files in `dir`.
fn names(dir: &Path) -> Result<BTreeSet<String>, MethodError> {
    Ok(entries(dir)?.into_iter().filter(|name| is_network(name)).collect())
}

/// The names of all that lies in `dir` beside the card `card` and the network files, sorted. A
/// hidden network file is such a stranger, since nothing reads it.
pub(crate) fn strangers(dir: &Path, card: &str) -> Result<Vec<String>, MethodError> {
    let is_dropping = |name: &str| {
        name.starts_with(fmam_files::TEMPORARY_PREFIX)
            || DROPPINGS.iter().any(|front| name.starts_with(front))
    };
    let mut names = entries(dir)?;
    names.retain(|name| name != card && !is_network(name) && !is_dropping(name));
    names.sort_unstable();
    Ok(names)
}

/// True for the name of a network file. A hidden file is none: some systems put one beside each
/// file that they copy.
fn is_network(name: &str) -> bool {
    name.ends_with(ENDING) && !name.starts_with('.')
}

fn entries(dir: &Path) -> Result<Vec<String>, MethodError> {
    let error = |e| MethodError::read(dir, e);
    let mut names = Vec::new();
    for entry in fs::read_dir(dir).map_err(error)? {
        names.push(entry.map_err(error)?.file_name().to_string_lossy().into_owned());
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_that_are_no_part_of_the_model_are_told_from_droppings_of_systems() {
        let dir = tempfile::tempdir().unwrap();
        let own = ["model.toml", "teacher.safetensors"];
        let droppings = [".DS_Store", "._teacher.safetensors", ".gitattributes", "Thumbs.db", ".partial-x"];
        let told = [".hidden.safetensors", "nested", "notes.txt", "teacher.safetensors.bak"];
        for name in own.iter().chain(&droppings).chain(&told).filter(|name| **name != "nested") {
            fs::write(dir.path().join(name), "").unwrap();
        }
        fs::create_dir(dir.path().join("nested")).unwrap();
        assert_eq!(strangers(dir.path(), "model.toml").unwrap(), told);
        assert_eq!(names(dir.path()).unwrap(), BTreeSet::from([own[1].to_owned()]));
        assert!(strangers(&dir.path().join("absent"), "model.toml").is_err());
    }
}
