use std::collections::HashSet;
use std::error::Error;
use std::fs::{self, File};
use std::io::{BufReader, Read, Write};
use std::path::{Path, PathBuf};

use tar::EntryType;

use crate::FetchError;
use crate::digest::CHUNK;

/// What an archive may unpack to, counted while it is written.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Files and folders.
    pub max_entries: u64,
    /// Bytes of all files.
    pub max_bytes: u64,
}

/// Unpacks `archive` (`.zip`, `.tar`, `.tar.gz`, `.tgz`, `.tar.xz`, `.txz`) to the folder `target`, which must not exist: it appears
/// whole or not at all. Files and folders only, with no permission of their own.
///
/// # Errors
/// [`FetchError::UnsafeEntry`] for a path that leads outside, a link, a device or a path twice; [`FetchError::OverLimit`];
/// [`FetchError::BadArchive`] for damage; [`FetchError::AlreadyExists`], [`FetchError::UnknownArchive`], [`FetchError::Read`],
/// [`FetchError::Write`].
pub fn extract(archive: &Path, target: &Path, limits: Limits) -> Result<(), FetchError> {
    if target.exists() {
        return Err(FetchError::AlreadyExists { path: target.to_owned() });
    }
    let name = target.file_name().unwrap_or_default().to_string_lossy();
    let partial = target.with_file_name(format!(".{name}.partial-{}", std::process::id()));
    // What a process of this number left long ago.
    let _ = fs::remove_dir_all(&partial);
    let mut unpacker =
        Unpacker { archive, root: &partial, limits, entries: 0, bytes: 0, seen: HashSet::new() };
    let unpacked = unpacker.run().and_then(|()| {
        fs::rename(&partial, target).map_err(|source| FetchError::Write { path: target.to_owned(), source })
    });
    if unpacked.is_err() {
        let _ = fs::remove_dir_all(&partial);
    }
    unpacked
}

struct Unpacker<'a> {
    archive: &'a Path,
    root: &'a Path,
    limits: Limits,
    entries: u64,
    bytes: u64,
    seen: HashSet<PathBuf>,
}

impl Unpacker<'_> {
    fn run(&mut self) -> Result<(), FetchError> {
        let file = File::open(self.archive)
            .map_err(|source| FetchError::Read { path: self.archive.to_owned(), source })?;
        fs::create_dir_all(self.root).map_err(|source| self.write_error(self.root, source))?;
        let file = BufReader::new(file);
        let name = self.archive.to_string_lossy().to_lowercase();
        let is = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
        if is(&[".zip"]) {
            self.zip(file)
        } else if is(&[".tar"]) {
            self.tar(file)
        } else if is(&[".tar.gz", ".tgz"]) {
            self.tar(flate2::read::MultiGzDecoder::new(file))
        } else if is(&[".tar.xz", ".txz"]) {
            self.tar(lzma_rust2::XzReader::new(file, true))
        } else {
            Err(FetchError::UnknownArchive { archive: self.archive.to_owned() })
        }
    }

    fn tar(&mut self, reader: impl Read) -> Result<(), FetchError> {
        let mut tar = tar::Archive::new(reader);
        let mut last = None;
        let entries = tar.entries().map_err(|error| self.damaged(None, error))?;
        for entry in entries {
            let mut entry = entry.map_err(|error| self.damaged(last.as_deref(), error))?;
            let name = match String::from_utf8(entry.path_bytes().into_owned()) {
                Ok(name) => name,
                Err(error) => return Err(self.unsafe_entry(&error.to_string(), "has a name that is no text")),
            };
            match entry.header().entry_type() {
                EntryType::Directory => self.folder(&name)?,
                EntryType::Regular | EntryType::Continuous => self.file(&name, &mut entry)?,
                EntryType::XGlobalHeader => {}
                EntryType::Symlink | EntryType::Link => return Err(self.unsafe_entry(&name, "is a link")),
                _ => return Err(self.unsafe_entry(&name, "is neither a file nor a folder")),
            }
            last = Some(name);
        }
        if last.is_none() { Err(self.damaged(None, "it is empty")) } else { Ok(()) }
    }

    fn zip(&mut self, reader: BufReader<File>) -> Result<(), FetchError> {
        let mut zip = zip::ZipArchive::new(reader).map_err(|error| self.damaged(None, error))?;
        for index in 0..zip.len() {
            let mut entry = zip.by_index(index).map_err(|error| self.damaged(None, error))?;
            let name = entry.name().map_err(|error| self.damaged(None, error))?.into_owned();
            if entry.is_symlink() {
                return Err(self.unsafe_entry(&name, "is a link"));
            }
            if entry.is_dir() { self.folder(&name)? } else { self.file(&name, &mut entry)? }
        }
        Ok(())
    }

    fn folder(&mut self, name: &str) -> Result<(), FetchError> {
        let path = self.place(name)?;
        fs::create_dir_all(&path).map_err(|source| self.write_error(&path, source))
    }

    fn file(&mut self, name: &str, content: &mut dyn Read) -> Result<(), FetchError> {
        let path = self.place(name)?;
        if path == self.root || !self.seen.insert(path.clone()) {
            return Err(self.unsafe_entry(name, "has the place of another"));
        }
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).map_err(|source| self.write_error(folder, source))?;
        }
        let mut file = File::create_new(&path).map_err(|source| self.write_error(&path, source))?;
        let mut buffer = vec![0; CHUNK];
        loop {
            let n = match content.read(&mut buffer) {
                Ok(0) => return Ok(()),
                Ok(n) => n,
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(self.damaged(Some(name), error)),
            };
            self.bytes += n as u64;
            self.check(name, self.bytes, self.limits.max_bytes, "bytes")?;
            file.write_all(&buffer[..n]).map_err(|source| self.write_error(&path, source))?;
        }
    }

    /// Where an entry goes: below the root, whatever its name says.
    fn place(&mut self, name: &str) -> Result<PathBuf, FetchError> {
        self.entries += 1;
        self.check(name, self.entries, self.limits.max_entries, "files and folders")?;
        let has_drive = name.as_bytes().get(1) == Some(&b':') && name.as_bytes()[0].is_ascii_alphabetic();
        if name.starts_with('/') || has_drive {
            return Err(self.unsafe_entry(name, "has an absolute path"));
        }
        if name.contains('\\') || name.contains('\0') {
            return Err(self.unsafe_entry(name, "has a character that no path here may have"));
        }
        let mut path = self.root.to_owned();
        for component in name.split('/') {
            match component {
                "" | "." => {}
                ".." => return Err(self.unsafe_entry(name, "leads out of the folder")),
                _ => path.push(component),
            }
        }
        Ok(path)
    }

    fn check(&self, entry: &str, found: u64, limit: u64, unit: &'static str) -> Result<(), FetchError> {
        if found <= limit {
            return Ok(());
        }
        let (archive, entry) = (self.archive.to_owned(), entry.to_owned());
        Err(FetchError::OverLimit { archive, entry, limit, unit })
    }

    fn unsafe_entry(&self, entry: &str, why: &'static str) -> FetchError {
        FetchError::UnsafeEntry { archive: self.archive.to_owned(), entry: entry.to_owned(), why }
    }

    fn damaged(&self, entry: Option<&str>, source: impl Into<Box<dyn Error + Send + Sync>>) -> FetchError {
        let (archive, entry) = (self.archive.to_owned(), entry.map(str::to_owned));
        FetchError::BadArchive { archive, entry, source: source.into() }
    }

    fn write_error(&self, path: &Path, source: std::io::Error) -> FetchError {
        FetchError::Write { path: path.to_owned(), source }
    }
}
