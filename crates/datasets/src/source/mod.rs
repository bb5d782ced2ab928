//! Sources of samples over image files: decoding, resizing and caching.

mod area;
mod cache;
mod decode;
mod file_source;
mod jpeg;

pub use self::cache::{CachedSource, DEFAULT_CACHE_BYTES};
pub use self::decode::{MaskFormat, image_size, load_image, load_mask};
pub(crate) use self::file_source::FileSource;
