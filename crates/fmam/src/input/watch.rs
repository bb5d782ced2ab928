use std::collections::{HashMap, HashSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::walk::Walk;
use crate::Error;

/// Images that a look takes up, at most: they bound the memory where thousands lie there already.
const MOST_AT_ONCE: usize = 512;

/// A folder, and its sub-folders, to which images come. It is looked at again and again; an image
/// is ready when its size and its time of modification are those of the look before, so that a file
/// that is still being written is waited for.
#[derive(Debug)]
pub struct Watch {
    folder: PathBuf,
    out: Option<PathBuf>,
    patience: Duration,
    /// Images of the last look that were not ready.
    pending: HashMap<PathBuf, Stamp>,
    /// Images that the last look gave.
    given: HashMap<PathBuf, Stamp>,
    failed: HashMap<PathBuf, Failed>,
    /// Errors of the folder that were told.
    told: HashSet<String>,
}

/// The findings of a look.
#[derive(Debug, Default)]
pub struct Look {
    /// Images that are complete as far as size and time tell, in the order of their names.
    pub ready: Vec<PathBuf>,
    /// Files that are no regular ones and folders that cannot be listed; each is told once.
    pub errors: Vec<Error>,
}

/// The state of an image that could not be read; see [`Watch::failed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// It was removed.
    Gone,
    /// It may be half written: a later look gives it once more.
    Again,
    /// It is broken. A look gives it again when it has changed.
    Broken,
}

/// Size and time of modification of a file: a file that is being written changes one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    bytes: u64,
    modified: Option<SystemTime>,
}

#[derive(Debug)]
struct Failed {
    stamp: Stamp,
    since: Instant,
    is_broken: bool,
}

impl Stamp {
    /// `None` for a file that is gone.
    fn of(path: &Path) -> Option<Self> {
        let metadata = fs::metadata(path).ok()?;
        Some(Self { bytes: metadata.len(), modified: metadata.modified().ok() })
    }
}

impl Watch {
    /// Watches `folder`. `out` is the folder of the results, where there is one: its pictures are
    /// no images to score. An image that cannot be read is broken if `patience` passes without a
    /// change of it.
    ///
    /// # Errors
    /// [`Error::Read`] for a folder that cannot be listed.
    pub fn new(folder: &Path, out: Option<PathBuf>, patience: Duration) -> Result<Self, Error> {
        Walk::new(folder, out.clone())?;
        Ok(Self {
            folder: folder.to_owned(),
            out,
            patience,
            pending: HashMap::new(),
            given: HashMap::new(),
            failed: HashMap::new(),
            told: HashSet::new(),
        })
    }

    /// Looks at the folder. An image for which `is_known` is true is passed over.
    pub fn look(&mut self, is_known: impl Fn(&Path) -> bool) -> Look {
        let mut look = Look::default();
        let last = std::mem::take(&mut self.pending);
        self.given.clear();
        self.failed.retain(|path, _| path.exists());
        let walk = match Walk::new(&self.folder, self.out.clone()) {
            Ok(walk) => walk,
            Err(error) => {
                self.tell(&mut look, error);
                return look;
            }
        };
        for found in walk {
            let path = match found {
                Ok(path) if is_known(&path) => continue,
                Ok(path) => path,
                Err(error) => {
                    self.tell(&mut look, error);
                    continue;
                }
            };
            let Some(stamp) = Stamp::of(&path) else { continue };
            let is_ready = match self.failed.get(&path).filter(|failed| failed.stamp == stamp) {
                Some(failed) if failed.is_broken || failed.since.elapsed() < self.patience => continue,
                Some(_) => true,
                None => last.get(&path) == Some(&stamp),
            };
            if is_ready {
                look.ready.push(path.clone());
                self.given.insert(path, stamp);
            } else {
                self.pending.insert(path, stamp);
            }
            if self.pending.len() + self.given.len() >= MOST_AT_ONCE {
                break;
            }
        }
        look
    }

    /// Takes note that the image `path`, which the last look gave, could not be read.
    pub fn failed(&mut self, path: &Path) -> Attempt {
        if !path.exists() {
            self.failed.remove(path);
            return Attempt::Gone;
        }
        let Some(stamp) = self.given.get(path).copied() else { return Attempt::Again };
        match self.failed.get_mut(path).filter(|failed| failed.stamp == stamp) {
            Some(failed) => {
                failed.is_broken = true;
                Attempt::Broken
            }
            None => {
                let failed = Failed { stamp, since: Instant::now(), is_broken: false };
                self.failed.insert(path.to_owned(), failed);
                Attempt::Again
            }
        }
    }

    fn tell(&mut self, look: &mut Look, error: Error) {
        if self.told.insert(error.one_line()) {
            look.errors.push(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(folder: &Path) -> Watch {
        Watch::new(folder, None, Duration::ZERO).unwrap()
    }

    fn ready(watch: &mut Watch) -> Vec<String> {
        let name = |path: PathBuf| path.file_name().unwrap().to_str().unwrap().to_owned();
        watch.look(|_| false).ready.into_iter().map(name).collect()
    }

    #[test]
    fn a_growing_file_is_waited_for_and_a_deleted_one_dropped() {
        let dir = tempfile::tempdir().unwrap();
        let [grows, goes, sub] = ["grows.png", "goes.png", "sub/new.png"].map(|name| dir.path().join(name));
        fs::write(&grows, "a").unwrap();
        fs::write(&goes, "a").unwrap();
        let mut watch = watch(dir.path());
        assert!(ready(&mut watch).is_empty());
        fs::write(&grows, "ab").unwrap();
        fs::remove_file(&goes).unwrap();
        fs::create_dir(dir.path().join("sub")).unwrap();
        fs::write(&sub, "a").unwrap();
        assert!(ready(&mut watch).is_empty());
        assert_eq!(ready(&mut watch), ["grows.png", "new.png"]);
        fs::remove_file(&grows).unwrap();
        assert_eq!(watch.failed(&grows), Attempt::Gone);
        let known = |path: &Path| path.ends_with("sub/new.png");
        assert!(watch.look(known).ready.is_empty() && watch.look(known).ready.is_empty());
    }

    #[test]
    fn a_broken_image_is_told_once_and_tried_again_when_it_changes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        fs::write(&path, "half").unwrap();
        let mut watch = watch(dir.path());
        assert!(ready(&mut watch).is_empty());
        for attempt in [Attempt::Again, Attempt::Broken] {
            assert_eq!(ready(&mut watch), ["a.png"]);
            assert_eq!(watch.failed(&path), attempt);
        }
        assert!(ready(&mut watch).is_empty() && ready(&mut watch).is_empty());
        fs::write(&path, "the whole").unwrap();
        assert!(ready(&mut watch).is_empty());
        assert_eq!(ready(&mut watch), ["a.png"]);
        // It is another file: the first failure is not the last.
        assert_eq!(watch.failed(&path), Attempt::Again);
        watch.patience = Duration::from_secs(3600);
        assert!(ready(&mut watch).is_empty());
    }

    #[test]
    fn many_images_are_taken_up_one_part_after_the_other() {
        let dir = tempfile::tempdir().unwrap();
        for n in 0..MOST_AT_ONCE + 3 {
            fs::write(dir.path().join(format!("{n:04}.png")), "").unwrap();
        }
        let (mut watch, mut known) = (watch(dir.path()), HashSet::new());
        for _ in 0..4 {
            let new = watch.look(|path| known.contains(path)).ready;
            assert!(new.len() <= MOST_AT_ONCE);
            known.extend(new);
        }
        assert_eq!(known.len(), MOST_AT_ONCE + 3);
    }

    #[test]
    fn a_fault_of_the_folder_is_told_once() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("camera");
        assert!(Watch::new(&dir, None, Duration::ZERO).is_err());
        fs::create_dir(&dir).unwrap();
        let mut watch = watch(&dir);
        fs::remove_dir(&dir).unwrap();
        assert_eq!([watch.look(|_| false).errors.len(), watch.look(|_| false).errors.len()], [1, 0]);
    }
}
