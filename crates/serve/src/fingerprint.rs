//! The state of a model folder: a change of it means that the model should be loaded again.

use std::fs;
use std::io;
use std::path::Path;

use fmam_files::{Digest, Hasher};

/// The names, sizes and modification times of the files in `folder` and its sub-folders, as a
/// digest. Temporary files of a write under way are passed over.
///
/// # Errors
/// The errors of the file system.
pub(crate) fn fingerprint(folder: &Path) -> io::Result<Digest> {
    let mut hasher = Hasher::default();
    add(folder, &mut hasher)?;
    Ok(hasher.finish())
}

fn add(folder: &Path, hasher: &mut Hasher) -> io::Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let name = entry.file_name();
        if name.to_string_lossy().starts_with(fmam_files::TEMPORARY_PREFIX) {
            continue;
        }
        // Follows links, by which a folder of the current model may be named.
        let facts = fs::metadata(entry.path())?;
        hasher.update(name.as_encoded_bytes());
        hasher.update(b"\0");
        if facts.is_dir() {
            add(&entry.path(), hasher)?;
            continue;
        }
        hasher.update(facts.len().to_le_bytes());
        let modified = facts.modified()?.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
        hasher.update(modified.as_nanos().to_le_bytes());
        #[cfg(unix)]
        hasher.update(std::os::unix::fs::MetadataExt::ino(&facts).to_le_bytes());
    }
    hasher.update(b"\0");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_change_of_a_file_shows() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path();
        fs::create_dir(path.join("networks")).unwrap();
        fs::write(path.join("model.toml"), "a").unwrap();
        fs::write(path.join("networks/teacher"), "b").unwrap();
        let before = fingerprint(path).unwrap();
        assert_eq!(before, fingerprint(path).unwrap());
        fs::write(path.join(".partial-x"), "under way").unwrap();
        assert_eq!(before, fingerprint(path).unwrap());
        let mut seen = vec![before];
        let mut changed = |what: &str| {
            let now = fingerprint(path).unwrap();
            assert!(!seen.contains(&now), "{what}");
            seen.push(now);
        };
        fs::write(path.join("networks/teacher"), "bc").unwrap();
        changed("a longer file");
        fmam_files::write_atomic(&path.join("model.toml"), |file| io::Write::write_all(file, b"c")).unwrap();
        changed("a file of the same length");
        fs::rename(path.join("networks"), path.join("others")).unwrap();
        changed("another name");
        assert!(fingerprint(&path.join("none")).is_err());
    }
}
