use std::collections::HashSet;
use std::collections::hash_map::DefaultHasher;
use std::ffi::OsStr;
use std::hash::{Hash, Hasher};
use std::path::{Component, Path, PathBuf};

use fmam_record::{MAPS_DIR, OVERLAYS_DIR};
use fmam_report::MapFormat;
use serde::{Serialize, Serializer};

use crate::Error;

/// Folder of the masks within a folder of predictions.
const MASKS_DIR: &str = "masks";

/// The folders of pictures within a folder of predictions.
pub(crate) const PICTURE_FOLDERS: [&str; 3] = [OVERLAYS_DIR, MAPS_DIR, MASKS_DIR];

/// The picture of an image and of its anomaly map.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// The image in its own size, the colours of high scores over it, and the contour.
    #[default]
    Overlay,
    /// The image as the detector saw it, the map over it, and the map, side by side.
    Sheet,
}

/// The files that are written for an image beside its line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Pictures {
    /// Pictures in `overlays/`.
    pub overlays: Option<Layout>,
    /// Anomaly maps in `maps/`, in the size of the image.
    #[serde(serialize_with = "as_text")]
    pub maps: Option<MapFormat>,
    /// Black and white pictures of the pixels above the contour, in `masks/`, in the size of the
    /// image. An image without a threshold gets none.
    pub masks: bool,
}

fn as_text<S: Serializer>(format: &Option<MapFormat>, serializer: S) -> Result<S::Ok, S::Error> {
    format.map(|format| format.to_string()).serialize(serializer)
}

impl Default for Pictures {
    /// Overlays alone.
    fn default() -> Self {
        Self { overlays: Some(Layout::Overlay), maps: None, masks: false }
    }
}

impl Pictures {
    /// No files.
    pub const NONE: Self = Self { overlays: None, maps: None, masks: false };

    /// The file of the picture of `image` within a folder of predictions.
    pub(super) fn overlay(self, image: &Path) -> Option<PathBuf> {
        self.overlays.map(|_| place(OVERLAYS_DIR, image, "png"))
    }

    /// The file of the map of `image`.
    pub(super) fn map(self, image: &Path) -> Option<PathBuf> {
        self.maps.map(|format| place(MAPS_DIR, image, format.extension()))
    }

    /// The file of the mask of `image`.
    pub(super) fn mask(self, image: &Path) -> Option<PathBuf> {
        self.masks.then(|| place(MASKS_DIR, image, "png"))
    }

    /// All files of `image`.
    fn files(self, image: &Path) -> impl Iterator<Item = PathBuf> {
        [self.overlay(image), self.map(image), self.mask(image)].into_iter().flatten()
    }
}

/// The file of `image` below `folder`. It depends on the path of the image alone: the same folders,
/// `__` for `..`, without root and drive, and with `.EXTENSION` at the end where it is another.
fn place(folder: &str, image: &Path, extension: &str) -> PathBuf {
    let mut place = PathBuf::from(folder);
    for component in image.components() {
        match component {
            Component::Prefix(_) | Component::RootDir | Component::CurDir => {}
            Component::ParentDir => place.push("__"),
            Component::Normal(name) => place.push(name),
        }
    }
    if place == Path::new(folder) {
        place.push("image");
    }
    if place.extension().is_some_and(|own| own.eq_ignore_ascii_case(OsStr::new(extension))) {
        return place;
    }
    let mut name = place.into_os_string();
    name.push(".");
    name.push(extension);
    name.into()
}

/// The images that are scored already, and the files that they take. It holds 16 bytes for each.
#[derive(Debug, Default)]
pub struct Taken {
    images: HashSet<u128>,
    files: HashSet<u128>,
    pictures: Option<Pictures>,
}

impl Taken {
    /// No images yet; each will take the files of `pictures`.
    pub(super) fn new(pictures: Pictures) -> Self {
        Self { pictures: Some(pictures), ..Self::default() }
    }

    /// True if `image` is new, which it is no longer then. `a.png` and `./a.png` are one image.
    ///
    /// # Errors
    /// [`Error::PictureTaken`] for a new image whose files would replace those of another one.
    pub fn admit(&mut self, image: &Path) -> Result<bool, Error> {
        if !self.images.insert(digest(image)) {
            return Ok(false);
        }
        let files = || self.pictures.into_iter().flat_map(|pictures| pictures.files(image));
        if let Some(file) = files().find(|file| self.files.contains(&digest(file))) {
            return Err(Error::PictureTaken { image: image.to_owned(), file });
        }
        let taken: Vec<u128> = files().map(|file| digest(&file)).collect();
        self.files.extend(taken);
        Ok(true)
    }

    /// True if `image` was admitted.
    pub fn knows(&self, image: &Path) -> bool {
        self.images.contains(&digest(image))
    }

    /// Makes an admitted image new again, because it could not be read.
    pub fn release(&mut self, image: &Path) {
        self.images.remove(&digest(image));
        for file in self.pictures.into_iter().flat_map(|pictures| pictures.files(image)) {
            self.files.remove(&digest(&file));
        }
    }
}

/// 128 bits that stand for a path without its `.` components.
fn digest(path: &Path) -> u128 {
    let half = |salt: u8| {
        let mut hasher = DefaultHasher::new();
        salt.hash(&mut hasher);
        for component in path.components().filter(|component| *component != Component::CurDir) {
            component.hash(&mut hasher);
        }
        u128::from(hasher.finish())
    };
    half(0) << 64 | half(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_mirrors_the_path_of_its_image_and_stays_below_its_folder() {
        let pictures = Pictures { maps: Some(MapFormat::Npy), masks: true, ..Pictures::default() };
        let overlay = |image: &str| pictures.overlay(Path::new(image)).unwrap();
        for (image, expected) in [
            ("a.png", "overlays/a.png"),
            ("new/a.PNG", "overlays/new/a.PNG"),
            ("./new//a.jpg", "overlays/new/a.jpg.png"),
            ("../../a.tif", "overlays/__/__/a.tif.png"),
            ("/data/./a", "overlays/data/a.png"),
            ("a/../b.png", "overlays/a/__/b.png"),
            ("..", "overlays/__.png"),
            ("/", "overlays/image.png"),
        ] {
            assert_eq!(overlay(image), Path::new(expected), "{image}");
        }
        assert_eq!(pictures.map(Path::new("a.png")).unwrap(), Path::new("maps/a.png.npy"));
        assert_eq!(pictures.mask(Path::new("a.bmp")).unwrap(), Path::new("masks/a.bmp.png"));
        assert_eq!(Pictures::NONE.files(Path::new("a.png")).count(), 0);
    }

    #[test]
    fn an_image_is_new_once_and_no_two_share_a_file() {
        let mut taken = Taken::new(Pictures::default());
        let mut admit = |image: &str| taken.admit(Path::new(image));
        assert!(admit("a.jpg").unwrap() && !admit("./a.jpg").unwrap() && admit("b/a.jpg").unwrap());
        let error = admit("a.jpg.png").unwrap_err();
        assert!(
            matches!(&error, Error::PictureTaken { file, .. } if file == Path::new("overlays/a.jpg.png"))
        );
        assert!(admit("a.png").unwrap() && admit("A.png").unwrap());
        assert!(taken.knows(Path::new("a.jpg")));
        taken.release(Path::new("a.jpg"));
        assert!(!taken.knows(Path::new("a.jpg")) && taken.admit(Path::new("a.jpg")).unwrap());
        // Without pictures there is nothing to share.
        let mut taken = Taken::default();
        assert!(taken.admit(Path::new("a.jpg")).unwrap() && taken.admit(Path::new("a.jpg.png")).unwrap());
    }
}
