use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// A choice that was made in reading a file, or a property of the file that is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Notice {
    /// The training images use a part of 16 bits, and this one has the highest value.
    Depth,
    /// Values beyond the range became black or white.
    Clamped,
    /// A single 16-bit file uses a small part of its range.
    FewLevels,
    /// The file holds further frames or pages.
    FirstFrame,
    /// The size of a mask leaves its orientation open.
    MaskOrientation,
}

/// Notices that are remembered. Beyond them a file may be told of again.
const MOST: usize = 100_000;

static TOLD: Mutex<Option<HashSet<(Notice, PathBuf)>>> = Mutex::new(None);

/// True at the first call for `notice` and `path` in this process: a file is decoded many times, in
/// each epoch, and told of once.
pub(super) fn first_time(notice: Notice, path: &Path) -> bool {
    let mut told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    let told = told.get_or_insert_default();
    if told.len() >= MOST {
        told.clear();
    }
    told.insert((notice, path.to_owned()))
}

/// Warns, once a file, that the frames or pages behind the first are not read.
pub(super) fn tell_first_frame(has_more: bool, path: &Path) {
    if has_more && first_time(Notice::FirstFrame, path) {
        tracing::warn!(path = %path.display(), "the file holds several frames or pages: the first is used");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_told_of_once_for_each_notice() {
        let path = Path::new("told/once.png");
        assert!(first_time(Notice::Clamped, path));
        assert!(first_time(Notice::FirstFrame, path));
        assert!(!first_time(Notice::Clamped, path));
        assert!(first_time(Notice::Clamped, Path::new("told/another.png")));
    }
}
