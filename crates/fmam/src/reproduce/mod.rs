//! A study as a whole: a configuration in layers, the time that its runs still take, and the report
//! that grows with them. [`Session::reproduce`](crate::Session::reproduce) does the runs.

mod eta;
mod layers;
mod reporting;

pub use eta::Eta;
pub use layers::{Options, Origin, Part, Resolved, Value};
pub use reporting::Reporting;
