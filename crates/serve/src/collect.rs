//! Images that a person has judged, for `fmam calibrate`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use fmam::Image;
use fmam_files::{Digest, Lock, LockError};

use crate::answer::Collected;
use crate::query::Judgement;
use crate::refusal::{Code, Refusal};
use crate::{Collecting, ServeError};

/// The folder of judged images: `good` and `defective` in it. The name of a file is a digest of its
/// bytes, so that nothing in it comes from a request and an image is there once.
#[derive(Debug)]
pub(crate) struct Collector {
    options: Collecting,
    /// True if each model has a folder of its own.
    by_model: bool,
    held: Mutex<Held>,
    /// Two servers would count only their own images, and take each other's files under way for
    /// left-overs.
    _lock: Lock,
}

/// The images in the folder.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Held {
    images: usize,
    bytes: u64,
}

/// The file in the folder that a server locks.
const LOCK_FILE: &str = ".lock";

const JUDGEMENTS: [Judgement; 2] = [Judgement::Good, Judgement::Defective];

impl Collector {
    /// The collector of `models`, whose folder may hold images already.
    ///
    /// # Errors
    /// [`ServeError::InUse`] where another server collects there, [`ServeError::Write`] for a
    /// folder that cannot be made.
    pub(crate) fn open(options: Collecting, models: &[&str]) -> Result<Self, ServeError> {
        let by_model = models.len() > 1;
        let write_error = |source| ServeError::Write { path: options.folder.clone(), source };
        std::fs::create_dir_all(&options.folder).map_err(write_error)?;
        let lock = Lock::acquire(&options.folder.join(LOCK_FILE)).map_err(|error| match error {
            LockError::Held => ServeError::InUse { folder: options.folder.clone() },
            LockError::Io(source) => write_error(source),
        })?;
        let collector = Self { options, by_model, held: Mutex::default(), _lock: lock };
        let mut held = Held::default();
        for model in models {
            for judgement in JUDGEMENTS {
                let folder = collector.folder(model, judgement);
                let write_error = |source| ServeError::Write { path: folder.clone(), source };
                std::fs::create_dir_all(&folder).map_err(write_error)?;
                fmam_files::remove_leftovers(&folder).map_err(write_error)?;
                for entry in std::fs::read_dir(&folder).map_err(write_error)? {
                    let facts = entry.and_then(|entry| entry.metadata()).map_err(write_error)?;
                    held.images += 1;
                    held.bytes += facts.len();
                }
            }
        }
        *collector.lock() = held;
        Ok(collector)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The folder within that of the collection.
    fn place(&self, model: &str, judgement: Judgement) -> PathBuf {
        let own = if self.by_model { Path::new(model) } else { Path::new("") };
        own.join(judgement.name())
    }

    fn folder(&self, model: &str, judgement: Judgement) -> PathBuf {
        self.options.folder.join(self.place(model, judgement))
    }

    /// Keeps the file of `image`, which can be read. One that was judged otherwise before moves.
    ///
    /// # Errors
    /// A refusal where the folder is full or cannot be written to.
    pub(crate) fn keep(
        &self,
        model: &str,
        judgement: Judgement,
        image: &Image,
    ) -> Result<Collected, Refusal> {
        let Some(bytes) = image.bytes() else { return Err(Refusal::failed()) };
        let format = image.format().map_err(|error| Refusal::of_image(&error, false))?;
        let name = format!("{}.{}", &Digest::of(bytes).to_string()[..32], extension(format));
        let other = match judgement {
            Judgement::Good => Judgement::Defective,
            Judgement::Defective => Judgement::Good,
        };
        let path = self.folder(model, judgement).join(&name);
        let file = self.place(model, judgement).join(&name).display().to_string();
        let old = self.folder(model, other).join(&name);
        // Held all along, so that two requests cannot both take the last place.
        let mut held = self.lock();
        if path.exists() {
            return Ok(Collected { file, is_new: false });
        }
        let failed = |error: std::io::Error| {
            tracing::error!(path = %path.display(), %error, "a judged image could not be kept");
            Refusal::failed()
        };
        if old.exists() {
            std::fs::rename(&old, &path).map_err(failed)?;
            return Ok(Collected { file, is_new: true });
        }
        let after = Held { images: held.images + 1, bytes: held.bytes + bytes.len() as u64 };
        if after.images > self.options.images || after.bytes > self.options.bytes {
            let Held { images, bytes } = *held;
            return Err(Refusal::new(
                Code::Full,
                format!("the folder of judged images is full: {images} images of {bytes} bytes"),
            ));
        }
        fmam_files::write_atomic(&path, |file| file.write_all(bytes)).map_err(failed)?;
        *held = after;
        Ok(Collected { file, is_new: true })
    }
}

/// The extension by which `fmam calibrate` knows a file of this format.
fn extension(format: &str) -> &'static str {
    match format {
        "PNG" => "png",
        "JPEG" => "jpg",
        "TIFF" => "tiff",
        "WebP" => "webp",
        "GIF" => "gif",
        "PNM" => "pnm",
        _ => "bmp",
    }
}

#[cfg(test)]
mod tests {
    use fmam::{ImageSize, RgbImage};

    use super::*;

    fn png(level: u8) -> Vec<u8> {
        fmam_report::encode_png(&RgbImage::filled(ImageSize::square(4), [level; 3])).unwrap()
    }

    fn keep(collector: &Collector, judgement: Judgement, bytes: &[u8]) -> Result<Collected, Refusal> {
        collector.keep("m", judgement, &Image::from(bytes))
    }

    #[test]
    fn an_image_is_kept_once_and_moves_when_it_is_judged_otherwise() {
        let folder = tempfile::tempdir().unwrap();
        let options = Collecting { folder: folder.path().join("new"), images: 2, bytes: 1 << 20 };
        let collector = Collector::open(options.clone(), &["m"]).unwrap();
        let kept = keep(&collector, Judgement::Good, &png(1)).unwrap();
        assert!(kept.is_new && kept.file.starts_with("good/") && kept.file.ends_with(".png"), "{kept:?}");
        assert_eq!(std::fs::read(options.folder.join(&kept.file)).unwrap(), png(1));
        assert!(!keep(&collector, Judgement::Good, &png(1)).unwrap().is_new);
        let moved = keep(&collector, Judgement::Defective, &png(1)).unwrap();
        assert!(moved.file.starts_with("defective/"));
        assert!(!options.folder.join(&kept.file).exists() && options.folder.join(&moved.file).exists());
        // Another server would remove what this one has under way.
        let another = Collector::open(options.clone(), &["m"]).unwrap_err();
        assert!(matches!(&another, ServeError::InUse { folder } if *folder == options.folder), "{another}");
        // The bounds hold, also for a server that starts again.
        keep(&collector, Judgement::Good, &png(2)).unwrap();
        assert_eq!(keep(&collector, Judgement::Good, &png(3)).unwrap_err().code, Code::Full);
        drop(collector);
        let again = Collector::open(options, &["m"]).unwrap();
        assert_eq!(again.lock().images, 2);
        assert_eq!(keep(&again, Judgement::Good, &png(3)).unwrap_err().code, Code::Full);
        let few = Collecting { bytes: 3, images: 9, folder: folder.path().join("few") };
        let few = Collector::open(few, &["m"]).unwrap();
        assert_eq!(keep(&few, Judgement::Good, &png(3)).unwrap_err().code, Code::Full);
    }

    #[test]
    fn several_models_have_folders_of_their_own() {
        let folder = tempfile::tempdir().unwrap();
        let options = Collecting { folder: folder.path().to_owned(), images: 9, bytes: 1 << 20 };
        let collector = Collector::open(options, &["m", "n"]).unwrap();
        assert!(keep(&collector, Judgement::Good, &png(1)).unwrap().file.starts_with("m/good/"));
        assert_eq!(keep(&collector, Judgement::Good, b"no image").unwrap_err().code, Code::UnreadableImage);
    }
}
