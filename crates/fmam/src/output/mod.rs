//! Output folders of single commands: predictions, evaluations, contact sheets.

mod contact_sheet;
mod evaluation;
mod predictions;
mod tables;
mod writable;

pub use contact_sheet::{draw_contact_sheet, repeated_images, repeated_samples, synthesis_config};
pub use evaluation::{Figures, write_evaluation};
pub use predictions::{Predictions, Scored};
pub use tables::{analysis_table, metrics_table};
pub use writable::{check_writable, parent_of};
