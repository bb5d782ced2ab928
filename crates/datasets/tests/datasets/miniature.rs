//! Writes small data sets.

use std::path::{Path, PathBuf};

use fmam_core::ImageSize;
use fmam_datasets::{Category, DatasetError, DatasetOptions, dataset};
use image::{GrayImage, Luma, Rgb, RgbImage};
use tempfile::TempDir;

pub(crate) const SIZE: ImageSize = ImageSize::square(8);

/// The list of splits of [`Miniature::visa`], with bare line feeds.
pub(crate) const VISA_LIST: &str = "\
object,split,label,image,mask
candle,train,normal,candle/Data/Images/Normal/0002.JPG,
candle,train,normal,candle/Data/Images/Normal/0000.JPG,
candle,test,normal,candle/Data/Images/Normal/0001.JPG,
candle,test,anomaly,candle/Data/Images/Anomaly/001.JPG,candle/Data/Masks/Anomaly/001.png
candle,test,anomaly,candle/Data/Images/Anomaly/000.JPG,candle/Data/Masks/Anomaly/000.png
pcb1,train,normal,pcb1/Data/Images/Normal/0001.JPG,
pcb1,test,normal,pcb1/Data/Images/Normal/0000.JPG,
pcb1,test,anomaly,pcb1/Data/Images/Anomaly/000.JPG,pcb1/Data/Masks/Anomaly/000.png
";

pub(crate) struct Miniature {
    pub(crate) dir: TempDir,
}

impl Miniature {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// One MVTec category `nut`: 2 train, 1 normal test, two defect types of 1 and 2 images.
    pub(crate) fn mvtec(prefix: &str) -> Self {
        let mini = Self::new();
        for file in [
            "train/good/000",
            "train/good/001",
            "test/good/000",
            "test/bent/000",
            "test/cut/000",
            "test/cut/001",
        ] {
            mini.image(&format!("{prefix}nut/{file}.png"), 12, 10, 90);
        }
        for file in ["bent/000", "cut/000", "cut/001"] {
            mini.mask(&format!("{prefix}nut/ground_truth/{file}_mask.png"), 12, 10);
        }
        mini
    }

    /// Six defect-free tiles and one with a crack.
    pub(crate) fn magnetic_tile(prefix: &str) -> Self {
        let mini = Self::new();
        for name in ["a", "b", "c", "d", "e", "f"] {
            mini.image(&format!("{prefix}MT_Free/Imgs/{name}.jpg"), 9, 14, 60);
            mini.mask(&format!("{prefix}MT_Free/Imgs/{name}.png"), 9, 14);
        }
        mini.image(&format!("{prefix}MT_Crack/Imgs/a.jpg"), 9, 14, 60);
        mini.mask(&format!("{prefix}MT_Crack/Imgs/a.png"), 9, 14);
        mini
    }

    /// Three normal fabrics and one with a defect. Two patterns, one group and the total list them all, by numbers or by names.
    pub(crate) fn zju_leaper(prefix: &str) -> Self {
        let mini = Self::new();
        for (name, extension) in [("00001", "jpg"), ("00002", "jpg"), ("00003", "png"), ("00010", "jpg")] {
            mini.image(&format!("{prefix}Images/{name}.{extension}"), 12, 12, 90);
        }
        mini.mask(&format!("{prefix}Annotations/masks/00010.png"), 12, 12);
        let numbers = r#"{"normal": {"train": [1, 2], "test": [3]}, "defect": {"train": [], "test": [10]}}"#;
        let names =
            r#"{"normal": {"train": ["00001", "0002"], "test": ["00003"]}, "defect": {"test": ["00010"]}}"#;
        mini.write(&format!("{prefix}ImageSets/Patterns/pattern10.json"), numbers.as_bytes());
        mini.write(&format!("{prefix}ImageSets/Patterns/pattern2.json"), names.as_bytes());
        mini.write(&format!("{prefix}ImageSets/Groups/group1.json"), names.as_bytes());
        mini.write(&format!("{prefix}ImageSets/total.json"), numbers.as_bytes());
        mini
    }

    /// Two objects in VisA's layout; `candle` has two normal images for training, one for testing and two anomalous
    /// ones, `pcb1` one of each. The list is as it is published, its lines end in CRLF and are not sorted.
    pub(crate) fn visa(prefix: &str) -> Self {
        let mini = Self::new();
        for image in ["Normal/0000", "Normal/0001", "Normal/0002", "Anomaly/000", "Anomaly/001"] {
            mini.image(&format!("{prefix}candle/Data/Images/{image}.JPG"), 12, 10, 90);
        }
        for image in ["Normal/0000", "Normal/0001", "Anomaly/000"] {
            mini.image(&format!("{prefix}pcb1/Data/Images/{image}.JPG"), 12, 10, 30);
        }
        for mask in
            ["candle/Data/Masks/Anomaly/000", "candle/Data/Masks/Anomaly/001", "pcb1/Data/Masks/Anomaly/000"]
        {
            mini.class_mask(&format!("{prefix}{mask}.png"), 12, 10);
        }
        mini.write(&format!("{prefix}split_csv/1cls.csv"), VISA_LIST.replace('\n', "\r\n").as_bytes());
        mini
    }

    /// A category in the folder layout, two untyped anomalous images and one of type `hole`, with their masks.
    pub(crate) fn folder(prefix: &str) -> Self {
        let mini = Self::new();
        for file in [
            "train/normal/x",
            "test/normal/y",
            "test/anomalous/p",
            "test/anomalous/q",
            "test/anomalous/hole/p",
        ] {
            mini.image(&format!("{prefix}{file}.bmp"), 6, 6, 30);
        }
        for mask in ["p", "q_mask", "hole/p"] {
            mini.mask(&format!("{prefix}masks/{mask}.png"), 6, 6);
        }
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
    (dataset(name)?.open)(&options(root))?.category(category, size)
}
