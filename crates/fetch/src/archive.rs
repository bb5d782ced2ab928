use std::cell::Cell;
use std::error::Error;
use std::fs::{self, File};
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::rc::Rc;

use fmam_files::{Digest, Lock, LockError, NewDir, PLACEHOLDER_HEAD, Placeholder, remove_leftovers};
use tar::{Entry, EntryType};

use crate::FetchError;
use crate::digest::CHUNK;

/// The most memory that unpacking xz may take, in KiB; its own highest level takes 64 MiB.
const XZ_MEMORY_KIB: u32 = 256 << 10;
/// The most bytes of headers before an entry of a tar archive, which are held in memory.
const MAX_HEADER_BYTES: u64 = 1 << 20;
/// The bits of a Unix mode that say of what kind a file is.
const KIND: u32 = 0o170_000;
const PLAIN_FILE: u32 = 0o100_000;
const FOLDER: u32 = 0o040_000;
const SYMBOLIC_LINK: u32 = 0o120_000;

/// Upper bounds of an unpacked archive, counted while it is written.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Files and folders.
    pub max_entries: u64,
    /// Bytes of all files.
    pub max_bytes: u64,
}

/// Unpacks `archive` (`.zip`, `.tar`, `.tar.gz`, `.tgz`, `.tar.xz`, `.txz`) to the folder `target`,
/// which must not exist. The folder appears whole and with everything on disk, or not at all. Where
/// the archive holds a single folder, `target` is that folder. Only files and folders are unpacked,
/// without permissions of their own.
///
/// `progress` is told how many bytes of the archive were read, and how many it has; `false` stops.
///
/// # Errors
/// [`FetchError::UnsafeEntry`] for a path that leads outside, a link, a device or a path twice;
/// [`FetchError::OverLimit`]; [`FetchError::BadArchive`] for damage;
/// [`FetchError::UnpackingCancelled`], [`FetchError::AlreadyExists`], [`FetchError::InUse`],
/// [`FetchError::UnknownArchive`], [`FetchError::Read`], [`FetchError::Write`].
pub fn extract(
    archive: &Path,
    target: &Path,
    limits: Limits,
    progress: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<(), FetchError> {
    let write_error = |source| FetchError::Write { path: target.to_owned(), source };
    let work = work_folder(target);
    let lock_path = work.with_extension("lock");
    let lock = Lock::acquire(&lock_path).map_err(|error| match error {
        LockError::Held => FetchError::InUse { path: lock_path.clone() },
        LockError::Io(source) => FetchError::Write { path: lock_path.clone(), source },
    })?;
    // A link that leads nowhere is there too.
    if target.symlink_metadata().is_ok() {
        return Err(FetchError::AlreadyExists { path: target.to_owned() });
    }
    remove_leftovers(&work).map_err(write_error)?;
    let unpacked = unpack_within(&work, archive, limits, progress)
        .and_then(|folder| folder.finish(target).map_err(write_error));
    // Best effort: an empty folder that stays does no harm.
    let _ = fs::remove_dir(&work);
    drop(lock);
    unpacked
}

/// The folder beside `target` in which `target` is unpacked and which a later try finds again. Its
/// name is short, however long the target's is.
fn work_folder(target: &Path) -> PathBuf {
    let name = target.file_name().unwrap_or_default().as_encoded_bytes();
    // 16 digits: short, and enough to tell the targets of a folder apart.
    let digest = Digest::of(name).to_string();
    target.with_file_name(format!(".unpacking-{}", &digest[..16]))
}

/// Unpacks to a new folder in `work`, which nobody else uses.
fn unpack_within(
    work: &Path,
    archive: &Path,
    limits: Limits,
    progress: &mut dyn FnMut(u64, u64) -> bool,
) -> Result<NewDir, FetchError> {
    let write_error = |source| FetchError::Write { path: work.to_owned(), source };
    let whole = NewDir::within(work).map_err(write_error)?;
    let mut unpacker = Unpacker {
        archive,
        root: whole.path(),
        limits,
        entries: 0,
        bytes: 0,
        position: Rc::new(Cell::new(0)),
        furthest: 0,
        length: 0,
        progress,
    };
    unpacker.run()?;
    match only_folder(whole.path()).map_err(write_error)? {
        Some(only) => moved(work, &only).map_err(write_error),
        None => Ok(whole),
    }
}

/// The only entry of `folder`, where that is a folder.
fn only_folder(folder: &Path) -> io::Result<Option<PathBuf>> {
    let entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    Ok(match &entries[..] {
        [only] if only.path().is_dir() => Some(only.path()),
        _ => None,
    })
}

/// A new folder in `work`, in the place of which `folder` is moved.
fn moved(work: &Path, folder: &Path) -> io::Result<NewDir> {
    let new = NewDir::within(work)?;
    // Not every system renames onto an empty folder.
    fs::remove_dir(new.path())?;
    fs::rename(folder, new.path())?;
    Ok(new)
}

struct Unpacker<'a> {
    archive: &'a Path,
    root: &'a Path,
    limits: Limits,
    entries: u64,
    bytes: u64,
    /// The position of the reader in the archive, in bytes.
    position: Rc<Cell<u64>>,
    /// The furthest that was told of it: a zip archive is not read straight on.
    furthest: u64,
    /// Bytes of the archive.
    length: u64,
    progress: &'a mut dyn FnMut(u64, u64) -> bool,
}

impl Unpacker<'_> {
    fn run(&mut self) -> Result<(), FetchError> {
        let read_error = |source| FetchError::Read { path: self.archive.to_owned(), source };
        let file = fmam_files::open_regular(self.archive).map_err(read_error)?;
        let head = fmam_files::read_head(self.archive, PLACEHOLDER_HEAD).map_err(read_error)?;
        if let Some(placeholder) = Placeholder::of(&head) {
            return Err(self.damaged(None, placeholder));
        }
        self.length = file.metadata().map_err(read_error)?.len();
        let file = BufReader::new(Tracked { file, position: Rc::clone(&self.position) });
        let name = self.archive.to_string_lossy().to_lowercase();
        let is = |endings: &[&str]| endings.iter().any(|ending| name.ends_with(ending));
        if is(&[".zip"]) {
            self.zip(file)
        } else if is(&[".tar"]) {
            self.tar(file)
        } else if is(&[".tar.gz", ".tgz"]) {
            self.tar(flate2::read::MultiGzDecoder::new(file))
        } else if is(&[".tar.xz", ".txz"]) {
            self.tar(lzma_rust2::XzReader::new_mem_limit(file, true, XZ_MEMORY_KIB))
        } else {
            Err(FetchError::UnknownArchive { archive: self.archive.to_owned() })
        }?;
        self.position.set(self.length);
        self.go_on()
    }

    /// Tells how far it is, and stops if that is wanted.
    fn go_on(&mut self) -> Result<(), FetchError> {
        self.furthest = self.furthest.max(self.position.get());
        if (self.progress)(self.furthest.min(self.length), self.length) {
            Ok(())
        } else {
            Err(FetchError::UnpackingCancelled { archive: self.archive.to_owned() })
        }
    }

    fn tar(&mut self, reader: impl Read) -> Result<(), FetchError> {
        let left = Rc::new(Cell::new(MAX_HEADER_BYTES));
        let mut tar = tar::Archive::new(Bounded { inner: reader, left: Rc::clone(&left), at_end: false });
        let mut last = None;
        let entries = tar.entries().map_err(|error| self.damaged(None, error))?;
        for entry in entries {
            let mut entry = entry.map_err(|error| self.damaged(last.as_deref(), error))?;
            let name = match String::from_utf8(entry.path_bytes().into_owned()) {
                Ok(name) => name,
                Err(error) => return Err(self.unsafe_entry(&error.to_string(), "has a name that is no text")),
            };
            // The limit here is one of headers: the bytes of a file have their own.
            left.set(u64::MAX);
            self.tar_entry(&name, &mut entry)?;
            left.set(MAX_HEADER_BYTES);
            last = Some(name);
        }
        let mut rest = tar.into_inner();
        if last.is_none() {
            return Err(self.damaged(None, "it is empty"));
        }
        // Blocks of zeros end an archive; the end of a compressed one holds its checksum.
        if rest.at_end {
            return Err(self.damaged(last.as_deref(), "it ends too early"));
        }
        left.set(self.limits.max_bytes.saturating_add(MAX_HEADER_BYTES));
        let mut buffer = vec![0; CHUNK];
        while read(&mut rest, &mut buffer).map_err(|error| self.damaged(last.as_deref(), error))? > 0 {
            self.go_on()?;
        }
        Ok(())
    }

    fn tar_entry(&mut self, name: &str, entry: &mut Entry<'_, impl Read>) -> Result<(), FetchError> {
        let sparse = is_sparse(entry).map_err(|error| self.damaged(Some(name), error))?;
        match entry.header().entry_type() {
            // Counted like any other, or there could be too many.
            EntryType::XGlobalHeader => self.place(".").map(drop),
            EntryType::Symlink | EntryType::Link => Err(self.unsafe_entry(name, "is a link")),
            EntryType::Directory => self.folder(name),
            EntryType::Regular | EntryType::Continuous if sparse => {
                Err(self.unsafe_entry(name, "is a sparse file"))
            }
            // So the oldest archives write folders.
            EntryType::Regular | EntryType::Continuous if name.ends_with('/') => self.folder(name),
            EntryType::Regular | EntryType::Continuous => self.file(name, entry),
            _ => Err(self.unsafe_entry(name, "is neither a file nor a folder")),
        }
    }

    fn zip(&mut self, reader: BufReader<Tracked>) -> Result<(), FetchError> {
        let mut zip = zip::ZipArchive::new(reader).map_err(|error| self.damaged(None, error))?;
        if zip.has_duplicate_names() {
            return Err(self.damaged(None, "an entry has the place of another"));
        }
        for index in 0..zip.len() {
            // A refused entry may have an unknown compression.
            let raw = zip.by_index_raw(index).map_err(|error| self.damaged(None, error))?;
            let name = raw.name().map_err(|error| self.damaged(None, error))?.into_owned();
            let kind = raw.unix_mode().map_or(0, |mode| mode & KIND);
            drop(raw);
            match (kind, name.ends_with('/')) {
                (SYMBOLIC_LINK, _) => return Err(self.unsafe_entry(&name, "is a link")),
                (0 | FOLDER, true) => self.folder(&name)?,
                (0 | PLAIN_FILE, false) => {
                    let mut entry = zip.by_index(index).map_err(|error| self.damaged(Some(&name), error))?;
                    self.file(&name, &mut entry)?;
                }
                _ => return Err(self.unsafe_entry(&name, "is neither a file nor a folder")),
            }
        }
        Ok(())
    }

    fn folder(&mut self, name: &str) -> Result<(), FetchError> {
        let path = self.place(name)?;
        self.folders_above(name, &path)?;
        self.make_folder(name, &path).map(drop)
    }

    /// Makes the folders between the root and `path` that no entry made; they count like entries.
    fn folders_above(&mut self, name: &str, path: &Path) -> Result<(), FetchError> {
        let above = path.strip_prefix(self.root).ok().and_then(Path::parent).unwrap_or(Path::new(""));
        let mut folder = self.root.to_owned();
        for component in above {
            folder.push(component);
            if self.make_folder(name, &folder)? {
                self.count(name)?;
            }
        }
        Ok(())
    }

    /// Makes the folder of the entry `name`. True if the folder is new.
    fn make_folder(&self, name: &str, path: &Path) -> Result<bool, FetchError> {
        match fs::create_dir(path) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::AlreadyExists && path.is_dir() => Ok(false),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Err(self.unsafe_entry(name, "has the place of another"))
            }
            Err(source) => Err(self.write_error(path, source)),
        }
    }

    fn file(&mut self, name: &str, content: &mut dyn Read) -> Result<(), FetchError> {
        let path = self.place(name)?;
        self.folders_above(name, &path)?;
        let mut file = File::create_new(&path).map_err(|source| match source.kind() {
            ErrorKind::AlreadyExists => self.unsafe_entry(name, "has the place of another"),
            _ => self.write_error(&path, source),
        })?;
        let mut buffer = vec![0; CHUNK];
        loop {
            let n = read(content, &mut buffer).map_err(|error| self.damaged(Some(name), error))?;
            if n == 0 {
                return Ok(());
            }
            self.go_on()?;
            self.bytes += n as u64;
            self.check(name, self.bytes, self.limits.max_bytes, "bytes")?;
            file.write_all(&buffer[..n]).map_err(|source| self.write_error(&path, source))?;
        }
    }

    /// The path of an entry: below the root, whatever its name is.
    fn place(&mut self, name: &str) -> Result<PathBuf, FetchError> {
        self.count(name)?;
        if name.starts_with('/') || name.split('/').any(has_drive) {
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

    fn count(&mut self, name: &str) -> Result<(), FetchError> {
        self.entries += 1;
        self.go_on()?;
        self.check(name, self.entries, self.limits.max_entries, "files and folders")
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

/// True if a component of a path is a drive or begins with one. On Windows a drive replaces the
/// path that it is joined to, and any other colon names a hidden stream of a file.
fn has_drive(component: &str) -> bool {
    let bytes = component.as_bytes();
    let is_drive = bytes.get(1) == Some(&b':') && bytes[0].is_ascii_alphabetic();
    is_drive || (cfg!(windows) && bytes.contains(&b':'))
}

/// True if an entry is a sparse file of the kind that only its extended header shows.
fn is_sparse(entry: &mut Entry<'_, impl Read>) -> io::Result<bool> {
    let Some(extensions) = entry.pax_extensions()? else { return Ok(false) };
    for extension in extensions {
        if extension?.key_bytes().starts_with(b"GNU.sparse") {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Reads some bytes, whatever interrupts it; none at the end.
fn read(reader: &mut (impl Read + ?Sized), buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match reader.read(buffer) {
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// A file that tells where it is read.
struct Tracked {
    file: File,
    /// Bytes from the start.
    position: Rc<Cell<u64>>,
}

impl Read for Tracked {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.file.read(buffer)?;
        self.position.set(self.position.get() + n as u64);
        Ok(n)
    }
}

impl Seek for Tracked {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = self.file.seek(to)?;
        self.position.set(position);
        Ok(position)
    }
}

/// Reads what is left of an allowance, and notes whether the end was met.
struct Bounded<R> {
    inner: R,
    /// Bytes.
    left: Rc<Cell<u64>>,
    at_end: bool,
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.at_end |= n == 0 && !buffer.is_empty();
        let left = self.left.get().checked_sub(n as u64);
        self.left
            .set(left.ok_or_else(|| io::Error::new(ErrorKind::FileTooLarge, "its headers are too long"))?);
        Ok(n)
    }
}
