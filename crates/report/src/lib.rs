//! Reports from run records: tables for machines, for a browser and for a terminal, and pictures of
//! anomaly maps.
//!
//! Plain data goes in ([`fmam_record::RunRecord`]s) and files come out. This crate must not know
//! how a run came to be: no tensors, no methods, no experiment. Folders in reading order: `model`
//! (the content of a report, without a language), `picture` (overlays, plots, [`Figure`]), `render`
//! (the content as text).
//!
//! ```
//! use fmam_core::{AnomalyMap, ImageSize, RgbImage};
//! use fmam_record::load_records;
//! use fmam_report::{Report, map_range, overlay, write_png};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let folder = tempfile::tempdir()?;
//! # let out = folder.path();
//! // `out` is the output folder of an experiment, here an empty one.
//! let report = Report::from_records(load_records(out)?);
//! report.write_tables(out)?;
//! println!("{}", report.terminal_table());
//!
//! // A map of scores over its image.
//! let image = RgbImage::filled(ImageSize::square(64), [90, 90, 90]);
//! let map = AnomalyMap::new(ImageSize::square(2), vec![0.0, 0.1, 0.2, 1.0])?;
//! write_png(&out.join("overlay.png"), &overlay(&image, None, &map, map_range([&map])))?;
//! # Ok(())
//! # }
//! ```

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
pub use picture::colours::MapColours;
pub use picture::figure::{
    ColourScale, Column, FIGURES_DIR, Figure, Heatmap, Localization, Row, figure_stem, run_title,
};
pub use picture::heat::encode_heat_png;
pub use picture::large_png::{encode_large_png, write_large_png, write_mask_png};
pub use picture::map_format::{MapFormat, encode_map_png16, npy_header, write_map_file};
pub use picture::original::{defect_mask, map_in_size, overlay_in_colour};
pub use picture::overlay::{encode_png, map_range, overlay, write_png};
pub use picture::sheet::sheet;
pub use render::csv_row::CsvRow;
pub use render::json::report_schema;
