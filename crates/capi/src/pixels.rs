//! Pixels of the caller.

use fmam::{ImageSize, RgbImage};

use crate::status::Failure;

/// Three bytes a pixel: red, green, blue.
pub const FMAM_RGB: u32 = 0;
/// Three bytes a pixel: blue, green, red, as OpenCV has them.
pub const FMAM_BGR: u32 = 1;
/// One byte a pixel.
pub const FMAM_GREY: u32 = 2;
/// Four bytes a pixel: red, green, blue, and one that is not looked at.
pub const FMAM_RGBA: u32 = 3;

/// The pixels of an image, 8 bits a channel, row by row from the top.
#[repr(C)]
#[derive(Debug, Clone, Copy)]
pub struct FmamPixels {
    /// The first byte of the first row.
    pub data: *const u8,
    /// Rows, at least 1.
    pub height: usize,
    /// Pixels of a row, at least 1.
    pub width: usize,
    /// Bytes from the begin of a row to the next; 0 where the rows have no gap.
    pub stride: usize,
    /// `FMAM_RGB`, `FMAM_BGR`, `FMAM_GREY` or `FMAM_RGBA`.
    pub format: u32,
}

impl FmamPixels {
    /// A copy of the pixels.
    ///
    /// # Safety
    /// `data` is null, or all bytes of the rows that the other fields describe can be read.
    pub(crate) unsafe fn image(&self) -> Result<RgbImage, Failure> {
        let &Self { data, height, width, stride, format } = self;
        let channels: usize = match format {
            FMAM_RGB | FMAM_BGR => 3,
            FMAM_GREY => 1,
            FMAM_RGBA => 4,
            _ => return Err(Failure::usage(format!("{format} is no format of pixels"))),
        };
        if data.is_null() {
            return Err(Failure::usage("the pixels are a null pointer"));
        }
        if height == 0 || width == 0 {
            return Err(Failure::usage(format!("an image of {height}x{width} has no pixel")));
        }
        let too_large = || Failure::usage(format!("an image of {height}x{width} exceeds the memory"));
        let row = width.checked_mul(channels).ok_or_else(too_large)?;
        let stride = if stride == 0 { row } else { stride };
        if stride < row {
            let message = format!("a stride of {stride} bytes is less than a row of {row} bytes");
            return Err(Failure::usage(message));
        }
        // The last row need not be followed by its gap.
        let n_bytes = (height - 1).checked_mul(stride).and_then(|bytes| bytes.checked_add(row));
        let n_bytes = n_bytes.filter(|bytes| *bytes <= isize::MAX as usize / 4).ok_or_else(too_large)?;
        // SAFETY: `data` is not null, the caller promises that these bytes can be read, bytes need
        // no alignment, and their number is below `isize::MAX`. They are not kept beyond this
        // function.
        let bytes = unsafe { std::slice::from_raw_parts(data, n_bytes) };
        let mut pixels = Vec::new();
        let n_copied =
            height.checked_mul(width).and_then(|pixels| pixels.checked_mul(3)).ok_or_else(too_large)?;
        pixels.try_reserve_exact(n_copied).map_err(|_| too_large())?;
        for row in bytes.chunks(stride).map(|with_gap| &with_gap[..row]) {
            match format {
                FMAM_RGB => pixels.extend_from_slice(row),
                FMAM_BGR => pixels.extend(row.as_chunks::<3>().0.iter().flat_map(|[b, g, r]| [*r, *g, *b])),
                FMAM_GREY => pixels.extend(row.iter().flat_map(|grey| [*grey; 3])),
                _ => pixels.extend(row.as_chunks::<4>().0.iter().flat_map(|[r, g, b, _]| [*r, *g, *b])),
            }
        }
        RgbImage::new(ImageSize::new(height, width), pixels)
            .map_err(|error| Failure::usage(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image(
        bytes: &[u8],
        height: usize,
        width: usize,
        stride: usize,
        format: u32,
    ) -> Result<Vec<u8>, String> {
        let pixels = FmamPixels { data: bytes.as_ptr(), height, width, stride, format };
        // SAFETY: the tests give as many bytes as the fields say, or fields that are refused.
        let image = unsafe { pixels.image() };
        image.map(RgbImage::into_data).map_err(|failure| format!("{failure:?}"))
    }

    #[test]
    fn pixels_come_in_every_format_and_with_gaps() {
        assert_eq!(image(&[1, 2, 3, 4, 5, 6], 1, 2, 0, FMAM_RGB).unwrap(), [1, 2, 3, 4, 5, 6]);
        assert_eq!(image(&[1, 2, 3, 4, 5, 6], 2, 1, 3, FMAM_BGR).unwrap(), [3, 2, 1, 6, 5, 4]);
        assert_eq!(image(&[1, 2, 3, 4, 5, 6, 7, 8], 2, 1, 4, FMAM_RGBA).unwrap(), [1, 2, 3, 5, 6, 7]);
        // The gap behind the last row is not there.
        assert_eq!(image(&[1, 9, 9, 2], 2, 1, 3, FMAM_GREY).unwrap(), [1, 1, 1, 2, 2, 2]);
    }

    #[test]
    fn sizes_and_formats_are_checked_before_a_byte_is_read() {
        let one = [0; 3];
        for (height, width, stride, format, expected) in [
            (1, 1, 0, 9, "9 is no format"),
            (0, 1, 0, FMAM_RGB, "0x1 has no pixel"),
            (1, 0, 0, FMAM_RGB, "1x0 has no pixel"),
            (2, 2, 5, FMAM_RGB, "a stride of 5 bytes is less than a row of 6"),
            (1, usize::MAX / 2, 0, FMAM_RGB, "exceeds the memory"),
            (usize::MAX / 2, 1, 4, FMAM_RGB, "exceeds the memory"),
            (1 << 40, 1 << 21, 0, FMAM_GREY, "exceeds the memory"),
        ] {
            let error = image(&one, height, width, stride, format).unwrap_err();
            assert!(error.contains(expected), "{error}");
        }
        let null = FmamPixels { data: std::ptr::null(), height: 1, width: 1, stride: 0, format: FMAM_RGB };
        // SAFETY: a null pointer is refused.
        assert!(unsafe { null.image() }.is_err());
    }
}
