use std::collections::{HashMap, HashSet};
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime};

use super::walk::Walk;
use crate::Error;

/// New images that a look takes up, at most: they bound the memory where thousands lie there
/// already.
const MOST_AT_ONCE: usize = 4096;
/// Known images whose state a look compares, at most: a look at a folder with 100,000 images asks
/// a file server for the state of these and of the new ones only.
const CHECKED_AT_ONCE: usize = 512;
/// The pause before an image that the system does not let through is tried again, as a multiple of
/// the patience.
const RETRY: u32 = 10;
/// Errors that are remembered as told.
const MOST_TOLD: usize = 1000;

/// A folder, and its sub-folders, to which images come. It is looked at again and again; an image
/// is ready when its size and its time of modification are those of the look before, so that a file
/// that is still being written is waited for. A known image that has changed since comes again.
///
/// The folder may go away and come back: a look then gives one error, and [`Notice::Back`] later.
/// It holds 16 bytes for each image that it has seen, and the names of one folder.
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
    /// The states of known images, digests by digests of their paths.
    known: HashMap<u64, u64>,
    /// The number of known images before those that the next look compares.
    next_checked: usize,
    /// Errors of files and sub-folders that were told.
    told: HashSet<String>,
    is_away: bool,
    /// The folder at the last look: a mount point is another one without its file system.
    identity: Option<Identity>,
}

/// The findings of a look.
#[derive(Debug, Default)]
pub struct Look {
    /// Images that are complete as far as size and time tell, in the order of their names. A known
    /// one among them has changed.
    pub ready: Vec<PathBuf>,
    /// Files that are no regular ones and folders that cannot be listed; each is told once, and the
    /// watched folder each time that it goes away.
    pub errors: Vec<Error>,
    /// A change of the watched folder itself.
    pub notice: Option<Notice>,
}

/// A change of the watched folder itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Notice {
    /// It can be listed again.
    Back,
    /// Another folder has its path: it was replaced, or a file system was mounted or unmounted.
    Replaced,
}

/// The state of an image that could not be read; see [`Watch::failed`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Attempt {
    /// It was removed.
    Gone,
    /// It may be half written: a later look gives it once more.
    Again,
    /// It is broken. A look gives it again when it has changed, or after a while where the system
    /// did not let the program read it.
    Broken,
}

/// Size and time of modification of a file: a file that is being written changes one of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Stamp {
    bytes: u64,
    modified: Option<SystemTime>,
}

#[derive(Debug)]
struct Failed {
    stamp: Stamp,
    since: Instant,
    is_told: bool,
    /// True where the system refused to give the file: that passes without a change of the file.
    is_of_system: bool,
}

/// Device and number of a folder; `None` where the system has no such numbers.
type Identity = Option<(u64, u64)>;

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
            known: HashMap::new(),
            next_checked: 0,
            told: HashSet::new(),
            is_away: false,
            identity: None,
        })
    }

    /// Looks at the folder. An image for which `is_known` is true is passed over, unless it has
    /// changed since an earlier look.
    pub fn look(&mut self, is_known: impl Fn(&Path) -> bool) -> Look {
        let mut look = Look::default();
        let last = std::mem::take(&mut self.pending);
        self.given.clear();
        let Some(walk) = self.open(&mut look) else { return look };
        self.failed.retain(|path, _| path.exists());
        let first_checked = self.next_checked;
        let mut n_known = 0;
        for found in walk {
            let path = match found {
                Ok(path) => path,
                Err(error) => {
                    self.tell(&mut look, error);
                    continue;
                }
            };
            let mut stamp = None;
            if is_known(&path) {
                n_known += 1;
                let is_in_turn = n_known > first_checked && n_known <= first_checked + CHECKED_AT_ONCE;
                if is_in_turn {
                    self.next_checked = n_known;
                } else if !last.contains_key(&path) {
                    continue;
                }
                stamp = Stamp::of(&path).filter(|stamp| self.has_changed(&path, stamp));
                if stamp.is_none() {
                    continue;
                }
            }
            let Some(stamp) = stamp.or_else(|| Stamp::of(&path)) else { continue };
            let is_ready = match self.failed.get(&path).filter(|failed| failed.stamp == stamp) {
                Some(failed) if !failed.is_due(self.patience) => continue,
                Some(_) => true,
                None => last.get(&path) == Some(&stamp),
            };
            if is_ready {
                look.ready.push(path.clone());
                self.known.insert(digest(&path), digest(&stamp));
                self.given.insert(path, stamp);
            } else {
                self.pending.insert(path, stamp);
            }
            // Images that are ready were pending: while they are scored, as many others wait.
            if self.pending.len() >= MOST_AT_ONCE || self.given.len() >= 2 * MOST_AT_ONCE {
                break;
            }
        }
        if n_known <= first_checked + CHECKED_AT_ONCE {
            self.next_checked = 0;
        }
        look
    }

    /// The images of the folder; `None` while it is away.
    fn open(&mut self, look: &mut Look) -> Option<Walk> {
        match Walk::new(&self.folder, self.out.clone()) {
            Ok(walk) => {
                let identity = Some(identity(&self.folder));
                let before = std::mem::replace(&mut self.identity, identity);
                if std::mem::take(&mut self.is_away) {
                    look.notice = Some(Notice::Back);
                } else if before.is_some() && before != identity {
                    look.notice = Some(Notice::Replaced);
                }
                Some(walk)
            }
            Err(error) => {
                if !std::mem::replace(&mut self.is_away, true) {
                    look.errors.push(error);
                }
                None
            }
        }
    }

    /// True if a known image is not in the state in which it was seen. The state of one that an
    /// earlier process scored is taken from the first look.
    fn has_changed(&mut self, path: &Path, stamp: &Stamp) -> bool {
        let now = digest(stamp);
        *self.known.entry(digest(path)).or_insert(now) != now
    }

    /// Takes note that the image `path`, which the last look gave, could not be read because of
    /// `error`.
    pub fn failed(&mut self, path: &Path, error: &Error) -> Attempt {
        if !path.exists() {
            self.failed.remove(path);
            return Attempt::Gone;
        }
        let Some(stamp) = self.given.get(path).copied() else { return Attempt::Again };
        let is_of_system = is_of_system(error);
        match self.failed.get_mut(path).filter(|failed| failed.stamp == stamp) {
            Some(failed) => {
                (failed.since, failed.is_of_system) = (Instant::now(), is_of_system);
                if std::mem::replace(&mut failed.is_told, true) { Attempt::Again } else { Attempt::Broken }
            }
            None => {
                let failed = Failed { stamp, since: Instant::now(), is_told: false, is_of_system };
                self.failed.insert(path.to_owned(), failed);
                Attempt::Again
            }
        }
    }

    fn tell(&mut self, look: &mut Look, error: Error) {
        if self.told.len() >= MOST_TOLD {
            self.told.clear();
        }
        if self.told.insert(error.one_line()) {
            look.errors.push(error);
        }
    }
}

impl Failed {
    /// True if the image should be tried once more.
    fn is_due(&self, patience: Duration) -> bool {
        match (self.is_told, self.is_of_system) {
            (false, _) => self.since.elapsed() >= patience,
            (true, true) => self.since.elapsed() >= RETRY * patience,
            (true, false) => false,
        }
    }
}

/// True if the system refused to give a file: its server is gone, or the program may not read it.
/// A file that ends early is not among them.
fn is_of_system(error: &Error) -> bool {
    let error: &(dyn std::error::Error + 'static) = error;
    std::iter::successors(Some(error), |error| error.source())
        .filter_map(|cause| cause.downcast_ref::<std::io::Error>())
        .any(|error| error.raw_os_error().is_some())
}

fn digest(of: &(impl Hash + ?Sized)) -> u64 {
    let mut hasher = DefaultHasher::new();
    of.hash(&mut hasher);
    hasher.finish()
}

fn identity(folder: &Path) -> Identity {
    #[cfg(unix)]
    {
        use std::os::unix::fs::MetadataExt;

        fs::metadata(folder).ok().map(|facts| (facts.dev(), facts.ino()))
    }
    #[cfg(not(unix))]
    {
        let _ = folder;
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn watch(folder: &Path) -> Watch {
        Watch::new(folder, None, Duration::ZERO).unwrap()
    }

    /// An image that is no image.
    fn undecodable() -> Error {
        fmam_datasets::load_image(Path::new("Cargo.toml"), None).unwrap_err().into()
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
        assert_eq!(watch.failed(&grows, &undecodable()), Attempt::Gone);
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
            assert_eq!(watch.failed(&path, &undecodable()), attempt);
        }
        assert!(ready(&mut watch).is_empty() && ready(&mut watch).is_empty());
        fs::write(&path, "the whole").unwrap();
        assert!(ready(&mut watch).is_empty());
        assert_eq!(ready(&mut watch), ["a.png"]);
        // It is another file: the first failure is not the last.
        assert_eq!(watch.failed(&path, &undecodable()), Attempt::Again);
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
    fn a_known_image_that_changes_comes_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = |n: usize| dir.path().join(format!("{n:04}.png"));
        let n_images = CHECKED_AT_ONCE + 100;
        for n in 0..n_images {
            fs::write(path(n), "first").unwrap();
        }
        let mut watch = watch(dir.path());
        let known = |_: &Path| true;
        // The first looks find the images as an earlier process has scored them.
        for _ in 0..2 {
            assert!(watch.look(known).ready.is_empty());
        }
        for n in [3, n_images - 1] {
            fs::write(path(n), "the second").unwrap();
            let mut found = Vec::new();
            for _ in 0..6 {
                found.extend(watch.look(known).ready);
            }
            assert_eq!(found, [path(n)]);
        }
        fs::remove_file(path(3)).unwrap();
        assert!(watch.look(known).ready.is_empty());
        fs::write(path(3), "the third of its name").unwrap();
        let found: Vec<_> = (0..6).flat_map(|_| watch.look(known).ready).collect();
        assert_eq!(found, [path(3)]);
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_the_system_holds_back_is_tried_again_and_told_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.png");
        fs::write(&path, "whole").unwrap();
        let refused = || {
            // A missing server, a lock of another program, rights that are given later.
            let source = std::io::Error::from_raw_os_error(5);
            Error::Read { path: "a.png".into(), source }
        };
        let mut watch = watch(dir.path());
        assert!(ready(&mut watch).is_empty());
        let mut told = 0;
        for _ in 0..5 {
            assert_eq!(ready(&mut watch), ["a.png"]);
            told += usize::from(watch.failed(&path, &refused()) == Attempt::Broken);
        }
        assert_eq!(told, 1);
        watch.patience = Duration::from_secs(3600);
        assert!(ready(&mut watch).is_empty());
        assert!(is_of_system(&refused()) && !is_of_system(&undecodable()));
    }

    #[test]
    fn a_folder_that_goes_away_is_told_each_time_and_goes_on_when_it_is_back() {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("camera");
        assert!(Watch::new(&dir, None, Duration::ZERO).is_err());
        fs::create_dir(&dir).unwrap();
        let mut watch = watch(&dir);
        for round in 0..3 {
            fs::remove_dir_all(&dir).unwrap();
            let looks = [(); 3].map(|()| watch.look(|_| false));
            assert_eq!(looks.each_ref().map(|look| look.errors.len()), [1, 0, 0], "{round}");
            fs::create_dir(&dir).unwrap();
            fs::write(dir.join("a.png"), "new").unwrap();
            let looks = [(); 3].map(|()| watch.look(|_| false));
            assert_eq!(looks.each_ref().map(|look| look.notice), [Some(Notice::Back), None, None]);
            assert_eq!(looks[1].ready, [dir.join("a.png")]);
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_folder_that_another_one_replaces_is_told() {
        let root = tempfile::tempdir().unwrap();
        let [dir, other] = ["camera", "other"].map(|name| root.path().join(name));
        fs::create_dir(&dir).unwrap();
        fs::create_dir(&other).unwrap();
        let mut watch = watch(&dir);
        assert_eq!(watch.look(|_| false).notice, None);
        fs::rename(&dir, root.path().join("before")).unwrap();
        fs::rename(&other, &dir).unwrap();
        assert_eq!([(); 2].map(|()| watch.look(|_| false).notice), [Some(Notice::Replaced), None]);
    }
}
