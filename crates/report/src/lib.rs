//! Reports from run records: tables for machines, for a browser and for a terminal, and pictures of anomaly maps.
//!
//! Plain data goes in ([`fmam_core::RunRecord`]s) and files come out. This crate must not know how a run came to
//! be: no tensors, no methods, no experiment. Modules in reading order: `store` (where records lie, atomic
//! writing), `summary` (means and standard deviations), `report` (the whole, and writing it), `json`, `csv`,
//! `table`, `markdown` with `paper`, `comparison` and `gallery`, then the pictures: `colormap`, `overlay`.

mod colormap;
mod comparison;
mod csv;
mod error;
#[cfg(test)]
mod fixture;
mod gallery;
mod html;
mod json;
mod latex;
mod map_file;
mod markdown;
mod overlay;
mod paper;
mod report;
mod settings;
mod store;
mod summary;
mod table;

pub use colormap::inferno;
pub use error::ReportError;
pub use map_file::write_map;
pub use overlay::{map_range, overlay, write_png};
pub use paper::{PAPER_BACKBONES, PAPER_TABLE, PaperBackbone, PaperRow, Published, PublishedIn, published};
pub use report::Report;
pub use store::{load_records, write_atomic};
pub use summary::{Cell, Estimate, Summary};
