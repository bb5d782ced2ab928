//! The ledger of choices: each is told once, in a warning that names a file, and kept for the
//! record of a run.

use std::cell::RefCell;
use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use crate::Choice;

/// A choice and what it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Told {
    /// The choice.
    pub choice: Choice,
    /// The file or folder; of several the first.
    pub path: PathBuf,
    /// Number of files.
    pub n: usize,
    /// A part that depends on the files: the name of a column, a reason.
    pub detail: Option<String>,
}

impl Told {
    /// The choice as a clause, with its detail.
    pub fn clause(&self) -> String {
        match &self.detail {
            Some(detail) => format!("{}: {detail}", self.choice.clause()),
            None => self.choice.clause().to_owned(),
        }
    }
}

/// Choices that are remembered. Beyond them a file may be told of again, and be missing in a
/// record.
const MOST: usize = 400_000;

static TOLD: Mutex<Option<HashSet<(Choice, PathBuf)>>> = Mutex::new(None);

thread_local! {
    /// The choices that [`telling`] hears.
    static HEARD: RefCell<Option<Vec<Told>>> = const { RefCell::new(None) };
}

/// The value of `work`, and the choices that it made on this thread, also those that were told
/// before.
pub fn telling<T>(work: impl FnOnce() -> T) -> (T, Vec<Told>) {
    let outer = HEARD.replace(Some(Vec::new()));
    let value = work();
    let heard = HEARD.take().unwrap_or_default();
    HEARD.set(outer.map(|mut outer| {
        outer.extend(heard.iter().cloned());
        outer
    }));
    (value, heard)
}

/// Notes a choice about one file. True at the first call for `choice` and `path` in this process: a
/// file is decoded many times, in each epoch, and told of once.
pub(crate) fn first_time(choice: Choice, path: &Path) -> bool {
    hear(Told { choice, path: path.to_owned(), n: 1, detail: None });
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    let told = told.get_or_insert_default();
    if told.len() >= MOST {
        told.clear();
    }
    told.insert((choice, path.to_owned()))
}

/// True at the first call for `choice` and a file in the folder of `path`.
pub(crate) fn first_of_folder(choice: Choice, path: &Path) -> bool {
    let folder = path.parent().unwrap_or(Path::new("")).to_owned();
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    told.get_or_insert_default().insert((choice, folder))
}

/// Notes a choice about `n` files, of which `path` is the first, and warns of it once.
pub(crate) fn tell(choice: Choice, path: &Path, n: usize, detail: Option<String>) {
    let told = Told { choice, path: path.to_owned(), n, detail };
    let clause = told.clause();
    hear(told);
    let mut known = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    // One list may have several unknown columns.
    let key = if choice == Choice::UnknownColumn { path.join(&clause) } else { path.to_owned() };
    if known.get_or_insert_default().insert((choice, key)) {
        tracing::warn!(path = %path.display(), n, "{clause}");
    }
}

fn hear(told: Told) {
    HEARD.with_borrow_mut(|heard| {
        if let Some(heard) = heard {
            heard.push(told);
        }
    });
}

/// Warns, once a file, that the frames or pages behind the first are not read.
pub(crate) fn tell_first_frame(has_more: bool, path: &Path) {
    if has_more && first_time(Choice::FirstFrame, path) {
        tracing::warn!(path = %path.display(), "the file holds several frames or pages: the first is used");
    }
}

/// The choices that were made in reading the files `paths` in this process so far, each with the
/// number of its files and the first of them in the order of their paths. The depth is none of
/// them: a record has it in a place of its own.
pub fn choices_told<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Vec<Told> {
    const OF_FILES: [Choice; 9] = [
        Choice::Clamped,
        Choice::FewLevels,
        Choice::FirstFrame,
        Choice::Transparent,
        Choice::Squeezed,
        Choice::MaskOrientation,
        Choice::SoftMask,
        Choice::BlankMask,
        Choice::SoftRegion,
    ];
    let told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(told) = told.as_ref().filter(|told| !told.is_empty()) else { return Vec::new() };
    let mut paths: Vec<&Path> = paths.into_iter().collect();
    paths.sort_unstable();
    let of = |choice: Choice| {
        let mut files = paths.iter().copied().filter(|path| told.contains(&(choice, path.to_path_buf())));
        let first = files.next()?;
        Some(Told { choice, path: first.to_owned(), n: 1 + files.count(), detail: None })
    };
    OF_FILES.into_iter().filter_map(of).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_told_of_once_for_each_choice() {
        let path = Path::new("told/once.png");
        assert!(first_time(Choice::Clamped, path));
        assert!(first_time(Choice::FirstFrame, path));
        assert!(!first_time(Choice::Clamped, path));
        assert!(first_time(Choice::Clamped, Path::new("told/another.png")));
        let paths = ["told/once.png", "told/another.png", "told/unknown.png"].map(Path::new);
        let told = choices_told(paths);
        assert_eq!((told[0].choice, told[0].n), (Choice::Clamped, 2));
        assert_eq!(told[0].path, Path::new("told/another.png"));
        assert_eq!((told.len(), told[1].path.as_path()), (2, path));
    }

    #[test]
    fn choices_of_inner_work_are_heard_by_the_outer_and_again_at_each_time() {
        let path = Path::new("told/inner.csv");
        for _ in 0..2 {
            let ((), outer) = telling(|| {
                let ((), inner) = telling(|| tell(Choice::UnknownColumn, path, 1, Some("x".to_owned())));
                assert_eq!(inner[0].clause(), "a column is not known and not read: x");
                first_time(Choice::SoftMask, path);
            });
            let choices: Vec<_> = outer.iter().map(|told| told.choice).collect();
            assert_eq!(choices, [Choice::UnknownColumn, Choice::SoftMask]);
        }
        assert_eq!(telling(|| ()).1, []);
    }
}
