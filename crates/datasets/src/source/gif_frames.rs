//! The frames of a GIF file, found without decoding one: a few bytes can announce a frame of
//! gigabytes, whatever the size of the first is.

use std::io::{self, ErrorKind, Read};

/// Marks of the parts of a file.
const EXTENSION: u8 = 0x21;
const FRAME: u8 = 0x2c;

/// True if a second frame begins in the file, of which the reader stands at the start.
pub(super) fn has_second_frame(file: &mut impl Read) -> bool {
    find_second_frame(file).unwrap_or(false)
}

fn find_second_frame(file: &mut impl Read) -> io::Result<bool> {
    // Signature, width and height, flags, background, aspect ratio.
    let header: [u8; 13] = array(file)?;
    skip(file, palette_bytes(header[10]))?;
    let mut is_first = true;
    loop {
        match array(file)? {
            [EXTENSION] => {
                array::<1>(file)?;
            }
            [FRAME] if is_first => {
                // Place and size, flags; then the width of the codes.
                let frame: [u8; 9] = array(file)?;
                skip(file, palette_bytes(frame[8]) + 1)?;
                is_first = false;
            }
            [mark] => return Ok(mark == FRAME),
        }
        skip_blocks(file)?;
    }
}

/// Bytes of the palette that `flags` announce.
fn palette_bytes(flags: u8) -> u64 {
    if flags & 0x80 == 0 { 0 } else { 3 << (1 + (flags & 7)) }
}

/// Skips blocks, each with its length before it, to the empty one.
fn skip_blocks(file: &mut impl Read) -> io::Result<()> {
    loop {
        match array(file)? {
            [0] => return Ok(()),
            [length] => skip(file, length.into())?,
        }
    }
}

fn array<const N: usize>(file: &mut impl Read) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    file.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn skip(file: &mut impl Read, count: u64) -> io::Result<()> {
    let skipped = io::copy(&mut file.take(count), &mut io::sink())?;
    if skipped == count { Ok(()) } else { Err(ErrorKind::UnexpectedEof.into()) }
}

#[cfg(test)]
mod tests {
    use image::codecs::gif::GifEncoder;
    use image::{Frame, RgbaImage};

    use super::*;

    fn file(n_frames: u8) -> Vec<u8> {
        let mut bytes = Vec::new();
        let frames =
            (0..n_frames).map(|frame| Frame::new(RgbaImage::from_pixel(3, 2, [9 * frame; 4].into())));
        GifEncoder::new(&mut bytes).encode_frames(frames).unwrap();
        bytes
    }

    #[test]
    fn a_second_frame_is_found() {
        let found = |bytes: &[u8]| has_second_frame(&mut &bytes[..]);
        assert_eq!([1, 2, 5].map(|n_frames| found(&file(n_frames))), [false, true, true]);
        let one = file(1);
        (0..one.len()).for_each(|length| assert!(!found(&one[..length]), "{length}"));
    }

    /// The fuzz target `image` found it: the frame was decoded, and 17 GB were asked for.
    #[test]
    fn a_second_frame_of_any_size_takes_no_memory() {
        let mut bytes = file(1);
        assert_eq!(bytes.pop(), Some(0x3b), "the end of a file");
        bytes.extend([FRAME, 0, 0, 0, 0, 0xff, 0xff, 0xff, 0xff, 0, 2, 0]);
        assert!(has_second_frame(&mut &bytes[..]));
        let image = crate::read_image_bytes(&bytes, "a.gif", &fmam_core::Reading::default()).unwrap();
        assert_eq!(image.size(), fmam_core::ImageSize::new(2, 3));
    }
}
