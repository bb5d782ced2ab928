use fmam_core::Label;

use crate::Category;

/// Numbers of images of a category.
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
