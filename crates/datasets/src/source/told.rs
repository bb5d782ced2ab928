use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

/// A choice that was made in reading a file, or a property of the file that is not used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Notice {
    /// This one of the 16-bit training images has the highest value.
    Depth,
    /// Values beyond the range became black or white.
    Clamped,
    /// A single 16-bit file uses a small part of its range.
    FewLevels,
    /// The file holds further frames or pages.
    FirstFrame,
    /// The size of a mask leaves its orientation open.
    MaskOrientation,
    /// A mask of a region of interest is cut at half of its range.
    SoftRegion,
    /// The mask of an anomalous image is blank, which the data set allows.
    BlankMask,
}

impl Notice {
    /// The choice as a clause; `None` for one that is told elsewhere.
    fn choice(self) -> Option<&'static str> {
        Some(match self {
            // The depth has a place of its own, a region belongs to no sample, and a blank mask is
            // read as it is.
            Self::Depth | Self::SoftRegion | Self::BlankMask => return None,
            Self::Clamped => "values beyond the range became black or white",
            Self::FewLevels => "16-bit values use a small part of their range",
            Self::FirstFrame => "the first of several frames or pages is used",
            Self::MaskOrientation => "the mask is taken as drawn on the upright image",
        })
    }
}

/// The choices that were made in reading `paths` in this process so far, each with its files in
/// order.
pub fn choices_told<'a>(paths: impl IntoIterator<Item = &'a Path>) -> Vec<(&'static str, Vec<&'a Path>)> {
    const ALL: [Notice; 4] =
        [Notice::Clamped, Notice::FewLevels, Notice::FirstFrame, Notice::MaskOrientation];
    let told = TOLD.lock().unwrap_or_else(PoisonError::into_inner);
    let Some(told) = told.as_ref().filter(|told| !told.is_empty()) else { return Vec::new() };
    let mut paths: Vec<&Path> = paths.into_iter().collect();
    paths.sort_unstable();
    let of = |notice: Notice| {
        let files = paths.iter().copied().filter(|path| told.contains(&(notice, path.to_path_buf())));
        Some((notice.choice()?, files.collect::<Vec<_>>()))
    };
    ALL.into_iter().filter_map(of).filter(|(_, files)| !files.is_empty()).collect()
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
        let paths = ["told/once.png", "told/another.png", "told/unknown.png"].map(Path::new);
        let told = choices_told(paths);
        assert_eq!(told[0].1, [Path::new("told/another.png"), Path::new("told/once.png")]);
        assert_eq!((told.len(), told[1].1.as_slice()), (2, &[path][..]));
    }
}
