use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};

use fmam_datasets::has_image_extension;

use super::finding::Finding;

/// Files below `folders` that are not among the files that are `used`: images by their names, and
/// others. Links to folders are not followed.
pub(super) fn unused<'a>(folders: impl IntoIterator<Item = &'a Path>, used: &HashSet<&Path>) -> Vec<Finding> {
    let (mut images, mut others) = (Vec::new(), Vec::new());
    let mut waiting: Vec<PathBuf> = folders.into_iter().map(Path::to_owned).collect();
    while let Some(folder) = waiting.pop() {
        // A folder that cannot be listed is refused where its images are listed.
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let path = entry.path();
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => waiting.push(path),
                Ok(_) if used.contains(&*path) => {}
                Ok(_) if has_image_extension(&path) && !path.is_dir() => images.push(path),
                Ok(kind) if kind.is_file() => others.push(path),
                _ => {}
            }
        }
    }
    let images = first(images).map(|(path, n)| Finding::UnusedImages { path, n });
    let others = first(others).map(|(path, n)| Finding::OtherFiles { path, n });
    images.into_iter().chain(others).collect()
}

fn first(paths: Vec<PathBuf>) -> Option<(PathBuf, usize)> {
    let n = paths.len();
    paths.into_iter().min().map(|path| (path, n))
}
