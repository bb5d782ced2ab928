use fmam_core::RgbImage;

use crate::content::bytes_sha256;

/// Hexadecimal digits of a digest that are kept: enough that no two of a billion images are taken
/// for one.
const DIGITS: usize = 24;

/// A digest of the pixels of an image, by which an image is known again whatever its file is
/// called.
pub fn image_digest(image: &RgbImage) -> String {
    let mut digest = bytes_sha256(image.data());
    digest.truncate(DIGITS);
    digest
}
