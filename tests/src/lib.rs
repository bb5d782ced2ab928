//! Cross-crate tests live in `tests/`. This library holds the bodies of the fuzz targets in
//! `tests/fuzz`, so that an ordinary test replays their corpus through the same functions.

pub mod fuzz;
