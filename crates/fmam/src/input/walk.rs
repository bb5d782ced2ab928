use std::ffi::OsString;
use std::fs::{self, FileType, Metadata};
use std::io;
use std::path::{Path, PathBuf};
use std::vec::IntoIter;

use fmam_datasets::has_image_extension;

use crate::Error;
use crate::output::{BY_FILE, PICTURE_FOLDERS};

/// The image files of a folder and of its sub-folders, depth first, each folder in the order of its
/// names. Entries whose name begins with a dot are passed over; links are followed, but into no
/// folder that is open already. A folder with the results of a prediction holds no images to score.
#[derive(Debug)]
pub(super) struct Walk {
    /// The folder given, and the sub-folders on the way to the current image.
    open: Vec<Folder>,
    out: Option<PathBuf>,
}

#[derive(Debug)]
struct Folder {
    path: PathBuf,
    canonical: PathBuf,
    entries: IntoIter<(OsString, FileType)>,
}

impl Walk {
    /// The images of `folder`, without the pictures that the results in `out` have.
    ///
    /// # Errors
    /// [`Error::Read`] for a folder that cannot be listed.
    pub(super) fn new(folder: &Path, out: Option<PathBuf>) -> Result<Self, Error> {
        let read_error = |source| Error::Read { path: folder.to_owned(), source };
        Ok(Self { open: vec![Folder::open(folder).map_err(read_error)?], out })
    }

    /// The sub-folder `path` is next, unless it is open already or holds results.
    fn enter(&mut self, path: &Path) -> Result<(), Error> {
        let read_error = |source| Error::Read { path: path.to_owned(), source };
        let canonical = path.canonicalize().map_err(read_error)?;
        let is_open = self.open.iter().any(|open| open.canonical == canonical);
        let holds_results = holds_pictures(self.out.as_deref(), &canonical) || path.join(BY_FILE).is_file();
        if !is_open && !holds_results {
            self.open.push(Folder::open(path).map_err(read_error)?);
        }
        Ok(())
    }

    /// The image at `path`; `None` for a file of another kind, and for a folder, which is entered.
    fn image(&mut self, path: PathBuf, kind: FileType) -> Result<Option<PathBuf>, Error> {
        let is_named_so = has_image_extension(&path);
        let kind = if kind.is_symlink() {
            match fs::metadata(&path) {
                Ok(metadata) => metadata.file_type(),
                Err(_) if !is_named_so => return Ok(None),
                Err(source) => return Err(Error::Read { path, source }),
            }
        } else {
            kind
        };
        match (kind.is_dir(), is_named_so) {
            (true, _) => self.enter(&path).map(|()| None),
            (false, false) => Ok(None),
            (false, true) if kind.is_file() => Ok(Some(path)),
            (false, true) => Err(Error::NotRegular { path }),
        }
    }
}

impl Iterator for Walk {
    type Item = Result<PathBuf, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let folder = self.open.last_mut()?;
            let Some((name, kind)) = folder.entries.next() else {
                self.open.pop();
                continue;
            };
            let path = folder.path.join(name);
            if let Some(found) = self.image(path, kind).transpose() {
                return Some(found);
            }
        }
    }
}

impl Folder {
    fn open(path: &Path) -> io::Result<Self> {
        let canonical = path.canonicalize()?;
        let mut entries = Vec::new();
        for entry in fs::read_dir(path)? {
            let entry = entry?;
            let name = entry.file_name();
            if !name.as_encoded_bytes().starts_with(b".") {
                entries.push((name, entry.file_type()?));
            }
        }
        entries.sort_by(|(a, _), (b, _)| a.cmp(b));
        Ok(Self { path: path.to_owned(), canonical, entries: entries.into_iter() })
    }
}

/// True for the folders of pictures within `out`: they are results, not images to score.
fn holds_pictures(out: Option<&Path>, folder: &Path) -> bool {
    let is_named_so = || PICTURE_FOLDERS.iter().any(|name| folder.ends_with(name));
    let is_of_out = |out: &Path| out.canonicalize().is_ok_and(|out| folder.parent() == Some(&out));
    is_named_so() && out.is_some_and(is_of_out)
}

/// The metadata of an image file or folder.
///
/// # Errors
/// [`Error::Read`] for a missing path, [`Error::NotRegular`] for a pipe, a socket or a device,
/// which could be read from for ever.
pub(super) fn metadata(path: &Path) -> Result<Metadata, Error> {
    let metadata = fs::metadata(path).map_err(|source| Error::Read { path: path.to_owned(), source })?;
    if metadata.is_file() || metadata.is_dir() {
        Ok(metadata)
    } else {
        Err(Error::NotRegular { path: path.to_owned() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::input::fixture::{names, tree};

    fn found(root: &Path, out: Option<PathBuf>) -> Vec<String> {
        names(root, Walk::new(root, out).unwrap())
    }

    #[test]
    fn images_come_in_order_and_nothing_else_does() {
        let root =
            tree(&["b.JPG", "a/2.png", "a/10.tif", "a/b/c.bmp", ".hidden/d.png", ".e.png", "f.txt", "c"]);
        assert_eq!(found(root.path(), None), ["a/10.tif", "a/2.png", "a/b/c.bmp", "b.JPG"]);
        assert!(matches!(Walk::new(&root.path().join("absent"), None), Err(Error::Read { .. })));
    }

    #[test]
    fn the_pictures_of_the_results_are_no_images() {
        let root = tree(&["a.png", "overlays/b.png", "out/overlays/a.png", "out/masks/a.png", "out/c.png"]);
        let out = Some(root.path().join("out"));
        assert_eq!(found(root.path(), out), ["a.png", "out/c.png", "overlays/b.png"]);
        assert_eq!(found(root.path(), None).len(), 5);
        assert_eq!(found(root.path(), Some(root.path().to_owned())).len(), 4);
    }

    #[cfg(unix)]
    #[test]
    fn links_are_followed_but_not_in_circles() {
        let root = tree(&["a/1.png"]);
        let link = |to: &Path, at: &str| std::os::unix::fs::symlink(to, root.path().join(at)).unwrap();
        link(root.path(), "a/up");
        link(&root.path().join("a/1.png"), "2.png");
        link(Path::new("absent"), "gone");
        assert_eq!(found(root.path(), None), ["2.png", "a/1.png"]);
        link(Path::new("absent"), "gone.png");
        let last = Walk::new(root.path(), None).unwrap().last().unwrap();
        assert!(matches!(last, Err(Error::Read { .. })), "{last:?}");
    }

    #[cfg(unix)]
    #[test]
    fn what_is_no_regular_file_is_named_and_not_opened() {
        let root = tree(&["a.png"]);
        let _socket = std::os::unix::net::UnixListener::bind(root.path().join("b.png")).unwrap();
        let _other = std::os::unix::net::UnixListener::bind(root.path().join("control")).unwrap();
        let found: Vec<_> = Walk::new(root.path(), None).unwrap().collect();
        assert!(matches!(found[..], [Ok(_), Err(Error::NotRegular { .. })]), "{found:?}");
    }
}
