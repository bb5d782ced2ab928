//! Pictures in the page itself, as far as they do not make it too large.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::codecs::jpeg::JpegEncoder;
use image::{ImageEncoder, ImageFormat};

use crate::text::link;

/// Bytes of pictures that a page holds; a browser takes some seconds to open more.
const BUDGET: usize = 24 << 20;

/// Quality of a picture in the page. The files beside it keep every pixel.
const QUALITY: u8 = 88;

/// Width of a figure in the page, in pixels, at most.
const FIGURE_WIDTH: u32 = 1600;

/// Pictures as the last page has them, so that the next page encodes only those whose files have
/// changed.
#[derive(Debug, Clone, Default)]
pub struct EncodedPictures(HashMap<String, Encoded>);

#[derive(Debug, Clone)]
struct Encoded {
    /// Digest of the content of the picture's file.
    file: u64,
    /// The `src` of the image.
    source: String,
}

/// The pictures of one page.
pub(super) struct Pictures {
    left: usize,
    last_page: EncodedPictures,
    this_page: EncodedPictures,
}

impl Pictures {
    /// Starts a page; `last_page` has the pictures that need not be encoded again.
    pub(super) fn new(last_page: EncodedPictures) -> Self {
        Self { left: BUDGET, last_page, this_page: EncodedPictures::default() }
    }

    /// The pictures of the page, for the next one.
    pub(super) fn finish(self) -> EncodedPictures {
        self.this_page
    }

    /// The picture `path`, relative to the folder `dir` of the page, for the `src` of an image: the
    /// picture itself, or a link where the page holds enough already. `None` where there is no such
    /// picture.
    pub(super) fn source(&mut self, dir: &Path, path: &str) -> Option<String> {
        self.at_most(u32::MAX, dir, path)
    }

    /// The same of a figure, which the page has smaller than the file beside it.
    pub(super) fn figure(&mut self, dir: &Path, path: &str) -> Option<String> {
        self.at_most(FIGURE_WIDTH, dir, path)
    }

    fn at_most(&mut self, width: u32, dir: &Path, path: &str) -> Option<String> {
        let file = dir.join(path);
        if self.left == 0 {
            return file.is_file().then(|| link(path));
        }
        let content = std::fs::read(&file).ok()?;
        let digest = digest(&content);
        let source = match self.last_page.0.remove(path) {
            Some(Encoded { file, source }) if file == digest => source,
            _ => encoded(&content, ImageFormat::from_path(&file).ok()?, width)?,
        };
        match self.left.checked_sub(source.len()) {
            Some(left) => {
                self.left = left;
                self.this_page.0.insert(path.to_owned(), Encoded { file: digest, source: source.clone() });
                Some(source)
            }
            None => {
                self.left = 0;
                Some(link(path))
            }
        }
    }
}

/// The picture in a file's content as the `src` of an image, `width` pixels wide at most. `None`
/// for what is no picture.
fn encoded(content: &[u8], format: ImageFormat, width: u32) -> Option<String> {
    let mut picture = image::load_from_memory_with_format(content, format).ok()?.into_rgb8();
    if picture.width() > width {
        let height = u64::from(picture.height()) * u64::from(width) / u64::from(picture.width());
        picture = image::imageops::thumbnail(&picture, width, height.max(1) as u32);
    }
    let mut jpeg = Vec::new();
    JpegEncoder::new_with_quality(&mut jpeg, QUALITY)
        .write_image(picture.as_raw(), picture.width(), picture.height(), image::ExtendedColorType::Rgb8)
        .ok()?;
    Some(format!("data:image/jpeg;base64,{}", STANDARD.encode(jpeg)))
}

fn digest(content: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    content.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use fmam_core::{ImageSize, RgbImage};

    use super::*;

    #[test]
    fn a_picture_is_embedded_until_the_page_is_full() {
        let dir = tempfile::tempdir().unwrap();
        let picture = RgbImage::from_fn(ImageSize::new(20, 30), |y, x| [y as u8, x as u8, 9]);
        crate::write_png(&dir.path().join("runs/a b.png"), &picture).unwrap();
        let mut pictures = Pictures::new(EncodedPictures::default());
        assert!(
            pictures.source(dir.path(), "runs/a b.png").unwrap().starts_with("data:image/jpeg;base64,/9j/")
        );
        assert_eq!(pictures.source(dir.path(), "runs/none.png"), None);
        pictures.left = 10;
        assert_eq!(pictures.source(dir.path(), "runs/a b.png").unwrap(), "runs/a%20b.png");
        assert_eq!(pictures.source(dir.path(), "runs/none.png"), None);
    }

    #[test]
    fn a_known_picture_is_encoded_again_only_when_its_file_has_changed() {
        let dir = tempfile::tempdir().unwrap();
        let write = |level: u8| {
            let picture = RgbImage::filled(ImageSize::new(20, 30), [level; 3]);
            crate::write_png(&dir.path().join("a.png"), &picture).unwrap();
        };
        write(10);
        let mut first = Pictures::new(EncodedPictures::default());
        let source = first.source(dir.path(), "a.png").unwrap();
        let mut known = first.finish();
        // A mark tells the kept text from a new one.
        known.0.get_mut("a.png").unwrap().source += "kept";
        let mut second = Pictures::new(known.clone());
        assert_eq!(second.source(dir.path(), "a.png").unwrap(), format!("{source}kept"));
        assert_eq!(second.finish().0.len(), 1);
        write(200);
        let mut third = Pictures::new(known);
        let changed = third.source(dir.path(), "a.png").unwrap();
        assert!(changed != source && !changed.ends_with("kept"));
        std::fs::remove_file(dir.path().join("a.png")).unwrap();
        let mut fourth = Pictures::new(third.finish());
        assert_eq!(fourth.source(dir.path(), "a.png"), None);
        assert!(fourth.finish().0.is_empty());
    }
}
