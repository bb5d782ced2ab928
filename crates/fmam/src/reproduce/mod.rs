//! A study as a whole: a configuration in layers, the time that its runs still take, and the report
//! that grows with them. [`Session::reproduce`](crate::Session::reproduce) does the runs.

mod doubts;
mod eta;
mod layers;
mod options;
mod plan;
mod reporting;
mod status;
mod study;

pub use doubts::DoubtfulRuns;
pub use eta::Eta;
pub use layers::{Part, Resolved};
pub use options::{InputOptions, Options, Origin, Value};
pub use plan::plan_lines;
pub use reporting::Reporting;
pub use status::{Status, rough};
pub use study::{Study, StudyOutcome};
