//! Sources of samples over image files: decoding, resizing and caching.

mod area;
mod cache;
mod decode;
mod file_source;
mod jpeg;
mod region;

pub use self::area::resize_mask;
pub use self::cache::{CachedSource, DEFAULT_CACHE_BYTES};
pub use self::decode::{MaskFormat, decode_image, image_size, load_image, load_mask, resize_image};
pub(crate) use self::file_source::FileSource;
pub use self::region::region_of_interest;
