//! The library as C sees it.

mod header;
mod program;
