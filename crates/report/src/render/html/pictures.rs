//! Pictures in the page itself, as far as they do not make it too large.

use std::io::BufReader;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use image::ImageEncoder;
use image::codecs::jpeg::JpegEncoder;

use crate::text::link;

/// Bytes of pictures that a page holds; a browser takes some seconds to open more.
const BUDGET: usize = 24 << 20;

/// Quality of a picture in the page. The files beside it keep every pixel.
const QUALITY: u8 = 88;

/// Width of a figure in the page, in pixels, at most.
const FIGURE_WIDTH: u32 = 1600;

pub(super) struct Pictures {
    left: usize,
}

impl Pictures {
    pub(super) fn new() -> Self {
        Self { left: BUDGET }
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
        let mut picture = decoded(&file)?.into_rgb8();
        if picture.width() > width {
            let height = u64::from(picture.height()) * u64::from(width) / u64::from(picture.width());
            picture = image::imageops::thumbnail(&picture, width, height.max(1) as u32);
        }
        let mut jpeg = Vec::new();
        JpegEncoder::new_with_quality(&mut jpeg, QUALITY)
            .write_image(picture.as_raw(), picture.width(), picture.height(), image::ExtendedColorType::Rgb8)
            .ok()?;
        let source = format!("data:image/jpeg;base64,{}", STANDARD.encode(jpeg));
        match self.left.checked_sub(source.len()) {
            Some(left) => {
                self.left = left;
                Some(source)
            }
            None => {
                self.left = 0;
                Some(link(path))
            }
        }
    }
}

/// The picture in a regular file; `None` for another one.
fn decoded(file: &Path) -> Option<image::DynamicImage> {
    let reader = BufReader::new(fmam_files::open_regular(file).ok()?);
    image::ImageReader::new(reader).with_guessed_format().ok()?.decode().ok()
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
        let mut pictures = Pictures::new();
        assert!(
            pictures.source(dir.path(), "runs/a b.png").unwrap().starts_with("data:image/jpeg;base64,/9j/")
        );
        assert_eq!(pictures.source(dir.path(), "runs/none.png"), None);
        pictures.left = 10;
        assert_eq!(pictures.source(dir.path(), "runs/a b.png").unwrap(), "runs/a%20b.png");
        assert_eq!(pictures.source(dir.path(), "runs/none.png"), None);
    }
}
