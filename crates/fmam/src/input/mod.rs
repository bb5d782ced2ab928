//! Images to score, found one by one: files, folders, patterns, lists, and a folder that is
//! watched.
//!
//! Nothing is collected beyond the names of the folders on the way to the current image, so that
//! any number of images needs the same memory. Only regular files are ever opened.

#[cfg(test)]
mod fixture;
mod inputs;
mod list;
mod walk;
mod watch;

pub use inputs::Inputs;
pub use watch::{Attempt, Look, Notice, Watch};
