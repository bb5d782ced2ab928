//! Writes small data sets.

use std::path::{Path, PathBuf};

use fmam_core::ImageSize;
use fmam_datasets::{Category, DatasetError, DatasetOptions, dataset};
use image::{GrayImage, Luma, Rgb, RgbImage};
use tempfile::TempDir;

pub(crate) const SIZE: ImageSize = ImageSize::square(8);

pub(crate) struct Miniature {
    pub(crate) dir: TempDir,
}

impl Miniature {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// The example of data set `name`, in the folder `holder` of the data root.
    pub(crate) fn of(name: &str, holder: &str) -> Self {
        let mini = Self::new();
        let layout = dataset(name).unwrap().layout.as_ref().unwrap();
        layout.example.write(&mini.path(holder)).unwrap();
        mini
    }

    pub(crate) fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    /// A colour gradient; its red starts at `level`.
    pub(crate) fn image(&self, path: &str, width: u32, height: u32, level: u8) {
        let pixel = |x: u32, y: u32| Rgb([level + x as u8, 40 + 3 * y as u8, 120]);
        RgbImage::from_fn(width, height, pixel).save(self.make_folder(path)).unwrap();
    }

    /// A mask whose left half is anomalous.
    pub(crate) fn mask(&self, path: &str, width: u32, height: u32) {
        let pixel = |x: u32, _| Luma([if 2 * x < width { 255 } else { 0 }]);
        GrayImage::from_fn(width, height, pixel).save(self.make_folder(path)).unwrap();
    }

    /// A mask whose left half holds class indices from 1 to 3.
    pub(crate) fn class_mask(&self, path: &str, width: u32, height: u32) {
        let pixel = |x: u32, y: u32| Luma([if 2 * x < width { 1 + ((x + y) % 3) as u8 } else { 0 }]);
        GrayImage::from_fn(width, height, pixel).save(self.make_folder(path)).unwrap();
    }

    /// A mask without a defect.
    pub(crate) fn blank_mask(&self, path: &str, width: u32, height: u32) {
        GrayImage::new(width, height).save(self.make_folder(path)).unwrap();
    }

    pub(crate) fn write(&self, path: &str, bytes: &[u8]) {
        std::fs::write(self.make_folder(path), bytes).unwrap();
    }

    pub(crate) fn remove(&self, path: &str) {
        let path = self.path(path);
        if path.is_dir() { std::fs::remove_dir_all(path) } else { std::fs::remove_file(path) }.unwrap();
    }

    /// Opens `category` of data set `name` at this folder.
    pub(crate) fn open(&self, name: &str, category: &str) -> Result<Category, DatasetError> {
        open(self.dir.path(), name, category, SIZE)
    }

    fn make_folder(&self, path: &str) -> PathBuf {
        let path = self.path(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        path
    }
}

pub(crate) fn options(root: &Path) -> DatasetOptions {
    DatasetOptions { root: Some(root.to_owned()), ..DatasetOptions::default() }
}

pub(crate) fn open(
    root: &Path,
    name: &str,
    category: &str,
    size: ImageSize,
) -> Result<Category, DatasetError> {
    (dataset(name)?.open)(&options(root))?.category(category, &size.into())
}
