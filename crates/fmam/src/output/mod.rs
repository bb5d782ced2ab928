//! Output of single commands: predictions, evaluations, contact sheets.

mod check_table;
mod contact_sheet;
mod drawing;
mod evaluation;
mod finished;
#[cfg(test)]
mod fixture;
mod line;
mod places;
mod predictions;
mod promise;
mod tables;
mod test_findings;
mod writable;

pub use fmam_files::Claim;
pub use fmam_record::RecordedPath;
pub use fmam_report::MapFormat;

pub use check_table::check_table;
pub use contact_sheet::{draw_contact_sheet, repeated_images, repeated_samples, synthesis_config};
pub use drawing::{Drawing, map_colours};
pub use evaluation::{EvaluationFolder, Figures};
pub use line::{Files, Line};
pub(crate) use places::PICTURE_FOLDERS;
pub use places::{Layout, Pictures, Taken};
pub(crate) use predictions::BY_FILE;
pub use predictions::{Added, Predictions, VerdictsBy};
pub use promise::{BY_HAND, percent, promise};
pub use tables::{analysis_table, metrics_table};
pub use test_findings::TestFindings;
pub use writable::{check_writable, claim, claim_model, parent_of, sync};
