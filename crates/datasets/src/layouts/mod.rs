//! The table of data sets, and one file for each layout on disk.

mod example;
mod files;
mod folder;
mod magnetic_tile;
mod mvtec;
mod textures;
mod visa;
mod zju_leaper;

pub use self::example::{Example, ExampleFile, FileLayout};
pub(crate) use self::files::refuse_shared_names;
pub use self::textures::textures;
use crate::{DatasetEntry, DatasetError, demo};

/// Every registered data set, sorted by name.
#[rustfmt::skip] // One line for each entry, so that a new one changes no other.
pub static DATASETS: &[&DatasetEntry] = &[
    &demo::ENTRY,
    &folder::ENTRY,
    &magnetic_tile::ENTRY,
    &mvtec::ENTRY,
    &visa::ENTRY,
    &zju_leaper::ENTRY,
];

/// The data set registered as `name`.
///
/// # Errors
/// [`DatasetError::UnknownDataset`], which lists the known.
pub fn dataset(name: &str) -> Result<&'static DatasetEntry, DatasetError> {
    DATASETS.iter().copied().find(|entry| entry.name == name).ok_or_else(|| DatasetError::UnknownDataset {
        name: name.to_owned(),
        known: DATASETS.iter().map(|entry| entry.name).collect(),
    })
}
