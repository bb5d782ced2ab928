//! Generated scenes and reference fixtures for tests; a dev-dependency only.
//!
//! This crate must not know any crate of the workspace but `fmam-core`. Its functions panic with a
//! message that names the remedy, as assertions do, because their only callers are tests. Modules
//! in reading order: [`MemorySource`], [`Listed`], [`striped_scene`], [`read_fixture`],
//! [`uniform`], [`assert_close`], [`test_device`].
//!
//! ```
//! use fmam_core::{ImageSize, SampleSource, Seed};
//!
//! let images = fmam_testkit::striped_test(2, 1, ImageSize::square(32), Seed::new(0));
//! assert_eq!(images.len(), 3);
//! ```

mod close;
mod device;
mod fixture;
mod listed;
mod scene;
mod stream;

pub use close::assert_close;
pub use device::test_device;
pub use fixture::{data_root, fixture_path, read_fixture};
pub use fmam_core::MemorySource;
pub use listed::Listed;
pub use scene::{striped_scene, striped_scene_with_square, striped_test, striped_train};
pub use stream::uniform;
