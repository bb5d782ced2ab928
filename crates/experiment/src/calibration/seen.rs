use fmam_core::RgbImage;
use fmam_files::{Digest, Hasher};

/// Hexadecimal digits of a digest that are kept: enough that no two of a billion images are taken
/// for one.
const DIGITS: usize = 24;

/// A digest of the pixels of an image, by which an image is known again whatever its file is
/// called.
pub fn image_digest(image: &RgbImage) -> String {
    shortened(Digest::of(image.data()))
}

/// The [`image_digest`] of an image whose rows come one after another.
#[derive(Default)]
pub(crate) struct RowsDigest(Hasher);

impl RowsDigest {
    /// Adds the bytes of the next rows.
    pub(crate) fn add(&mut self, pixels: &[u8]) {
        self.0.update(pixels);
    }

    /// The digest of all rows.
    pub(crate) fn finish(self) -> String {
        shortened(self.0.finish())
    }
}

fn shortened(digest: Digest) -> String {
    let mut digest = digest.to_string();
    digest.truncate(DIGITS);
    digest
}
