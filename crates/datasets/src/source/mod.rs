//! Sources of samples over image files: opening, decoding, preparing and caching.
//!
//! In reading order: `stream` opens a file, `header` reads what is known before decoding, `samples`
//! decodes the `values` of a file, `levels` makes 8-bit RGB of them, and `decode` does all three.
//! `bands` and `tiff_bands` decode some rows at a time, for `rows` and `depth`. `mask_image` turns
//! a mask as its image, `mask` reads its values. `prepare` resizes, pads and applies a region of
//! interest, and `file_source` does that for the samples of a data set.

mod area;
mod bands;
mod cache;
mod decode;
mod decoder_limit;
mod depth;
mod file_source;
mod gif_frames;
mod header;
mod jpeg;
mod levels;
mod mask;
mod mask_image;
mod prepare;
mod regions;
mod rows;
mod samples;
mod squeeze;
mod stream;
mod tiff_bands;
mod values;

pub use self::area::resize_mask;
pub use self::cache::{CachedSource, DEFAULT_CACHE_BYTES};
pub use self::decode::{decode_image, load_image, read_image, read_image_bytes, resize_image};
pub use self::depth::{Depth, ImageInput, TrainingDepth, bits_for, highest_value, training_depth};
pub(crate) use self::file_source::FileSource;
pub use self::header::{ImageHeader, decode_header, image_header, image_size};
pub(crate) use self::mask::is_blank;
pub use self::mask::{MaskFormat, MaskRule, load_mask, load_sample_mask};
pub use self::prepare::{Prepared, inside_of, prepare_image, prepare_mask};
pub use self::regions::{Regions, load_region};
pub use self::rows::open_rows;
pub use self::squeeze::SqueezeNotice;
