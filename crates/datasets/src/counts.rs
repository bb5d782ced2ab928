use fmam_core::Label;

use crate::{Category, DATASETS};

/// How many images a category has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Training images, all of them normal.
    pub train: usize,
    /// Normal test images.
    pub test_normal: usize,
    /// Anomalous test images.
    pub test_anomalous: usize,
}

impl Counts {
    /// Training images, normal and anomalous test images.
    pub const fn new(train: usize, test_normal: usize, test_anomalous: usize) -> Self {
        Self { train, test_normal, test_anomalous }
    }

    /// Counts the images of an opened category.
    pub fn of(category: &Category) -> Self {
        let test = &category.test;
        let is_normal = |index: &usize| test.sample(*index).label == Label::Normal;
        let test_normal = (0..test.len()).filter(is_normal).count();
        Self { train: category.train.len(), test_normal, test_anomalous: test.len() - test_normal }
    }

    /// The sum over categories.
    #[cfg(test)]
    pub(crate) fn sum(categories: &[(&str, Self)]) -> Self {
        categories.iter().fold(Self::new(0, 0, 0), |sum, (_, counts)| {
            Self::new(
                sum.train + counts.train,
                sum.test_normal + counts.test_normal,
                sum.test_anomalous + counts.test_anomalous,
            )
        })
    }
}

/// The images of a complete copy of `category` of the data set registered as `dataset`, `None` where nothing
/// is published.
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
