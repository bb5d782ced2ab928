//! Sources of samples over image files: decoding, resizing and caching.

mod area;
mod cache;
mod decode;
mod file_source;
mod jpeg;
mod mask;
mod region;

pub use self::area::resize_mask;
pub use self::cache::{CachedSource, DEFAULT_CACHE_BYTES};
pub use self::decode::{decode_image, image_size, load_image, resize_image};
pub(crate) use self::file_source::FileSource;
pub(crate) use self::mask::is_blank;
pub use self::mask::{MaskFormat, load_mask};
pub use self::region::region_of_interest;
