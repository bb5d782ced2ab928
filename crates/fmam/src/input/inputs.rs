use std::collections::VecDeque;
use std::fmt;
use std::io::BufRead;
use std::path::PathBuf;

use fmam_datasets::has_image_extension;
use glob::{MatchOptions, Paths};

use super::list::PathList;
use super::walk::{Walk, metadata};
use crate::Error;

/// A pattern is matched as a shell does it.
const MATCHING: MatchOptions =
    MatchOptions { case_sensitive: true, require_literal_separator: true, require_literal_leading_dot: true };

/// Images to score in the order given, as an iterator over their paths.
///
/// An item may be an error: a missing image of a list, a sub-folder that cannot be listed, a file
/// that is no regular one. It does not keep the others from coming.
///
/// ```
/// use fmam::input::Inputs;
///
/// # let folder = tempfile::tempdir().expect("a temporary folder");
/// # std::fs::write(folder.path().join("a.png"), "").expect("a file");
/// # let folder = folder.path();
/// let mut inputs = Inputs::new(None);
/// inputs.add(folder)?;
/// inputs.add(folder.join("*.png"))?;
/// assert!(inputs.add(folder.join("*.jpg")).is_err(), "there is none");
/// inputs.add_list(std::io::Cursor::new("more/b.png\n"), b'\n');
/// let found: Vec<_> = inputs.filter_map(Result::ok).collect();
/// assert_eq!(found, [folder.join("a.png"), folder.join("a.png")]);
/// # Ok::<(), fmam::Error>(())
/// ```
#[derive(Debug)]
pub struct Inputs {
    waiting: VecDeque<Input>,
    /// The list that is being read.
    list: Option<PathList>,
    /// The pattern whose matches come.
    pattern: Option<Pattern>,
    /// The folder whose images come.
    walk: Option<Walk>,
    out: Option<PathBuf>,
}

#[derive(Debug)]
enum Input {
    /// A file or folder.
    Path(PathBuf),
    Pattern(String),
    List(PathList),
}

struct Pattern(Paths);

impl fmt::Debug for Pattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pattern").finish_non_exhaustive()
    }
}

impl Pattern {
    fn new(text: &str) -> Result<Self, Error> {
        let paths = glob::glob_with(text, MATCHING);
        Ok(Self(paths.map_err(|source| Error::Pattern { pattern: text.to_owned(), source })?))
    }
}

impl Inputs {
    /// No images yet. `out` is the folder of the results, where it is known: the pictures in it are
    /// no images to score.
    pub fn new(out: Option<PathBuf>) -> Self {
        Self { waiting: VecDeque::new(), list: None, pattern: None, walk: None, out }
    }

    /// Adds an image file of any name, the images of a folder and its sub-folders, or those that
    /// match a pattern with `*`, `?`, `[...]` and `**` (folders, at any depth). In folders and
    /// patterns the files count whose name ends like that of an image and does not begin with a
    /// dot.
    ///
    /// # Errors
    /// [`Error::Read`] for a missing path, [`Error::NotRegular`], [`Error::Pattern`], and
    /// [`Error::NoImages`] for a folder or pattern without images.
    pub fn add(&mut self, path: impl Into<PathBuf>) -> Result<(), Error> {
        let path = path.into();
        let input = || match path.to_str() {
            Some(text) if has_wildcard(text) && !path.exists() => Input::Pattern(text.to_owned()),
            _ => Input::Path(path.clone()),
        };
        let mut alone = Self::new(self.out.clone());
        alone.waiting.push_back(input());
        let mut first_error = None;
        for found in alone {
            match found {
                Ok(_) => {
                    self.waiting.push_back(input());
                    return Ok(());
                }
                Err(error) => _ = first_error.get_or_insert(error),
            }
        }
        Err(first_error.unwrap_or(Error::NoImages { path }))
    }

    /// Adds the files and folders of a list, in which each ends with the byte `separator`. The list
    /// is read as far as images are asked for; its paths are no patterns.
    pub fn add_list(&mut self, list: impl BufRead + Send + 'static, separator: u8) {
        self.waiting.push_back(Input::List(PathList::new(Box::new(list), separator)));
    }

    /// The image `path`; `None` for a folder, whose images come next.
    fn open(&mut self, path: PathBuf) -> Result<Option<PathBuf>, Error> {
        if metadata(&path)?.is_file() {
            return Ok(Some(path));
        }
        self.walk = Some(Walk::new(&path, self.out.clone())?);
        Ok(None)
    }

    /// The match `path` of a pattern: as [`Inputs::open`], and `None` for a file that is not named
    /// like an image.
    fn open_match(&mut self, path: PathBuf) -> Result<Option<PathBuf>, Error> {
        if !has_image_extension(&path) && !path.is_dir() { Ok(None) } else { self.open(path) }
    }
}

impl Iterator for Inputs {
    type Item = Result<PathBuf, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(found) = self.walk.as_mut().and_then(Walk::next) {
                return Some(found);
            }
            self.walk = None;
            let found = if let Some(found) = self.pattern.as_mut().and_then(|pattern| pattern.0.next()) {
                match found {
                    Ok(path) => self.open_match(path),
                    Err(error) => Err(Error::Read { path: error.path().to_owned(), source: error.into() }),
                }
            } else if let Some(found) = self.list.as_mut().and_then(PathList::next) {
                found.and_then(|path| self.open(path))
            } else {
                (self.pattern, self.list) = (None, None);
                match self.waiting.pop_front()? {
                    Input::Path(path) => self.open(path),
                    Input::Pattern(text) => Pattern::new(&text).map(|pattern| {
                        self.pattern = Some(pattern);
                        None
                    }),
                    Input::List(list) => {
                        self.list = Some(list);
                        Ok(None)
                    }
                }
            };
            if let Some(found) = found.transpose() {
                return Some(found);
            }
        }
    }
}

fn has_wildcard(text: &str) -> bool {
    text.contains(['*', '?', '['])
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::input::fixture::{names, tree};

    #[test]
    fn files_folders_patterns_and_lists_come_in_the_order_given() {
        let root = tree(&["a/1.png", "a/b/2.png", "a/b/.3.png", "a/b/x.txt", "photo", "a[1].png"]);
        let at = |name: &str| root.path().join(name);
        let mut inputs = Inputs::new(None);
        for name in ["a/**/*.png", "photo", "a[1].png", "a/b", "a/*"] {
            inputs.add(at(name)).unwrap();
        }
        inputs.add_list(Cursor::new(format!("{}\n{}\n", at("a").display(), at("photo").display())), b'\n');
        let found = names(root.path(), inputs);
        let [pattern, file, odd, folder, below, list] = [
            &["a/1.png", "a/b/2.png"][..],
            &["photo"],
            &["a[1].png"],
            &["a/b/2.png"],
            &["a/1.png", "a/b/2.png"],
            &["a/1.png", "a/b/2.png", "photo"],
        ];
        assert_eq!(found, [pattern, file, odd, folder, below, list].concat());
    }

    #[test]
    fn a_missing_path_and_a_place_without_images_are_refused_at_once() {
        let root = tree(&["a/x.txt", "b.png"]);
        let mut inputs = Inputs::new(None);
        let mut refused = |name: &str| inputs.add(root.path().join(name)).unwrap_err();
        assert!(matches!(refused("absent.png"), Error::Read { .. }));
        assert!(matches!(refused("a"), Error::NoImages { .. }));
        assert!(matches!(refused("a/*"), Error::NoImages { .. }));
        assert!(matches!(refused("***"), Error::Pattern { .. }));
        assert_eq!(inputs.count(), 0);
    }

    #[test]
    fn a_missing_image_of_a_list_does_not_keep_the_others() {
        let root = tree(&["b.png"]);
        let mut inputs = Inputs::new(None);
        let list = ["absent.png", "b.png"].map(|name| root.path().join(name).display().to_string());
        inputs.add_list(Cursor::new(list.join("\0")), 0);
        let found: Vec<_> = inputs.collect();
        assert!(matches!(&found[..], [Err(Error::Read { .. }), Ok(_)]), "{found:?}");
    }
}
