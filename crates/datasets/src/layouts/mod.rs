//! The table of data sets, and one file for each layout on disk.

mod btad;
mod csv;
mod files;
mod folder;
mod kolektor_sdd2;
mod magnetic_tile;
mod masks;
mod mpdd;
mod mvtec;
mod mvtec_ad_2;
mod mvtec_loco;
mod records;
mod textures;
mod type_folders;
mod visa;
mod zju_leaper;

pub use self::files::has_image_extension;
pub use self::textures::textures;
use crate::{Counts, DatasetEntry, DatasetError, demo};

/// Every registered data set, sorted by name.
#[rustfmt::skip] // One line for each entry, so that a new one changes no other.
pub static DATASETS: &[&DatasetEntry] = &[
    &btad::ENTRY,
    &csv::ENTRY,
    &demo::ENTRY,
    &folder::ENTRY,
    &kolektor_sdd2::ENTRY,
    &magnetic_tile::ENTRY,
    &mpdd::ENTRY,
    &mvtec::ENTRY,
    &mvtec_ad_2::ENTRY,
    &mvtec_loco::ENTRY,
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

/// The images of a complete copy of `category` of the data set registered as `dataset`, `None`
/// where nothing is published.
pub fn published_counts(dataset: &str, category: &str) -> Option<Counts> {
    published(dataset).iter().find(|(name, _)| *name == category).map(|&(_, counts)| counts)
}

/// The categories of the data set registered as `dataset` that have [`published_counts`], sorted.
pub fn published_categories(dataset: &str) -> impl Iterator<Item = &'static str> {
    published(dataset).iter().map(|&(name, _)| name)
}

fn published(dataset: &str) -> &'static [(&'static str, Counts)] {
    DATASETS.iter().find(|entry| entry.name == dataset).map_or(&[], |entry| entry.published)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_published_is_none() {
        assert_eq!(published_counts("mvtec", "screw"), Some(Counts::new(320, 41, 119)));
        for (dataset, category) in [("mvtec", "nut"), ("folder", "screw"), ("visa", "screw"), ("", "")] {
            assert_eq!(published_counts(dataset, category), None);
        }
        assert_eq!(published_categories("zju-leaper").count(), 0);
        assert_eq!(published_categories("magnetic-tile").collect::<Vec<_>>(), ["magnetic-tile"]);
    }
}
