//! Reports from run records: tables for machines, for a browser and for a terminal, and pictures of anomaly maps.
//!
//! Plain data goes in ([`fmam_record::RunRecord`]s) and files come out. This crate must not know how a run came to
//! be: no tensors, no methods, no experiment. Modules in reading order: `summary` (means and standard deviations), `analysis` (the same of features and scores), `report` (the whole, and
//! writing it), `json`, `csv`, `table`, `text` (how figures and names are written), `markdown` with `paper`, `comparison` and `gallery`, `latex`, `html`; then the pictures:
//! `colormap`, `overlay`, `plots`, [`Figure`].

mod ablation;
mod analysis;
mod error;
#[cfg(test)]
mod fixture;
mod layout;
mod paper;
mod picture;
mod render;
mod report;
mod settings;
mod summary;

pub use error::ReportError;
pub use paper::{
    PAPER_BACKBONES, PAPER_TABLE, PaperBackbone, PaperRow, Published, PublishedIn, dataset_title,
    method_title, published,
};
pub use picture::colormap::inferno;
pub use picture::figure::{ColourScale, Column, Figure, Heatmap, Localization, Row, figure_stem, run_title};
pub use picture::overlay::{map_range, overlay, write_png};
pub use render::json::REPORT_SCHEMA;
pub use report::Report;
pub use summary::{Cell, Estimate, Summary};
