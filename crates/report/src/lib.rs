//! Reports from run records: tables for machines, for a browser and for a terminal, and pictures of
//! anomaly maps.
//!
//! Plain data goes in ([`fmam_record::RunRecord`]s) and files come out. This crate must not know
//! how a run came to be: no tensors, no methods, no experiment. Folders in reading order: `model`
//! (the content of a report, without a language), `picture` (overlays, plots, [`Figure`]), `render`
//! (the content as text).

mod error;
#[cfg(test)]
mod fixture;
mod model;
mod picture;
mod render;
mod text;

pub use error::ReportError;
pub use model::paper::{
    PAPER_BACKBONES, PAPER_TABLE, PaperBackbone, PaperRow, Published, PublishedIn, dataset_title,
    method_title, published,
};
pub use model::report::Report;
pub use model::summary::{Cell, Estimate, Estimates, Summary};
pub use picture::colormap::inferno;
pub use picture::figure::{ColourScale, Column, Figure, Heatmap, Localization, Row, figure_stem, run_title};
pub use picture::overlay::{encode_png, map_range, overlay, write_png};
pub use render::json::report_schema;
