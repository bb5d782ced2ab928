//! A look at a data set before any training: the facts of its files, and the faults that a fit or
//! an evaluation would refuse.
//!
//! Modules in reading order: `subject` finds what a folder holds ([`Subject`]); `images` reads
//! headers and pixels, `masks` the ground truth, `unused` the files that no split has; `facts` are
//! the results ([`Checked`]), and `finding` their faults ([`Finding`]), each a sentence.

mod facts;
mod finding;
mod images;
mod masks;
mod quiet;
mod run;
mod subject;
#[cfg(test)]
mod tests;
mod unused;

pub use facts::{Areas, Checked, CheckedCategory, CheckedClass, Counted, Vanishing};
pub use finding::{Finding, Severity};
pub use run::{CheckOptions, check};
pub use subject::{Subject, TakenFor};
