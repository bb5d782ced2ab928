use fmam_core::Label;

use crate::Category;

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
    /// Counts the images of an opened category.
    pub fn of(category: &Category) -> Self {
        let test = &category.test;
        let is_normal = |index: &usize| test.sample(*index).label == Label::Normal;
        let test_normal = (0..test.len()).filter(is_normal).count();
        Self { train: category.train.len(), test_normal, test_anomalous: test.len() - test_normal }
    }
}

/// What a complete copy of `category` of the data set registered as `dataset` has, `None` where nothing is
/// published.
///
/// - `mvtec`: Table 1 of the MVTec AD paper (Bergmann et al., CVPR 2019).
/// - `visa`: the one-class split of VisA (Zou et al., ECCV 2022), `split_csv/1cls.csv`: 90 % of the normal images of
///   each object are for training.
/// - `magnetic-tile`: the published 952 normal and 392 anomalous images (Huang, Qiu and Yuan, 2020), the normal ones
///   split by this crate's rule, since the data set comes without a split.
pub fn published_counts(dataset: &str, category: &str) -> Option<Counts> {
    let (.., [train, test_normal, test_anomalous]) =
        *PUBLISHED.iter().find(|(of, name, _)| (*of, *name) == (dataset, category))?;
    Some(Counts { train, test_normal, test_anomalous })
}

/// The categories of the data set registered as `dataset` that have [`published_counts`], sorted.
pub fn published_categories(dataset: &str) -> impl Iterator<Item = &'static str> {
    PUBLISHED.iter().filter(move |(of, ..)| *of == dataset).map(|&(_, name, _)| name)
}

/// Data set and category; training images, normal and anomalous test images.
static PUBLISHED: [(&str, &str, [usize; 3]); 28] = [
    ("magnetic-tile", "magnetic-tile", [761, 191, 392]),
    ("mvtec", "bottle", [209, 20, 63]),
    ("mvtec", "cable", [224, 58, 92]),
    ("mvtec", "capsule", [219, 23, 109]),
    ("mvtec", "carpet", [280, 28, 89]),
    ("mvtec", "grid", [264, 21, 57]),
    ("mvtec", "hazelnut", [391, 40, 70]),
    ("mvtec", "leather", [245, 32, 92]),
    ("mvtec", "metal_nut", [220, 22, 93]),
    ("mvtec", "pill", [267, 26, 141]),
    ("mvtec", "screw", [320, 41, 119]),
    ("mvtec", "tile", [230, 33, 84]),
    ("mvtec", "toothbrush", [60, 12, 30]),
    ("mvtec", "transistor", [213, 60, 40]),
    ("mvtec", "wood", [247, 19, 60]),
    ("mvtec", "zipper", [240, 32, 119]),
    ("visa", "candle", [900, 100, 100]),
    ("visa", "capsules", [542, 60, 100]),
    ("visa", "cashew", [450, 50, 100]),
    ("visa", "chewinggum", [453, 50, 100]),
    ("visa", "fryum", [450, 50, 100]),
    ("visa", "macaroni1", [900, 100, 100]),
    ("visa", "macaroni2", [900, 100, 100]),
    ("visa", "pcb1", [904, 100, 100]),
    ("visa", "pcb2", [901, 100, 100]),
    ("visa", "pcb3", [905, 101, 100]),
    ("visa", "pcb4", [904, 101, 100]),
    ("visa", "pipe_fryum", [450, 50, 100]),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::DATASETS;

    /// Categories, training images, normal and anomalous test images.
    fn sums(dataset: &str) -> (usize, usize, usize, usize) {
        published_categories(dataset).fold((0, 0, 0, 0), |(n, train, normal, anomalous), category| {
            let counts = published_counts(dataset, category).unwrap();
            (n + 1, train + counts.train, normal + counts.test_normal, anomalous + counts.test_anomalous)
        })
    }

    #[test]
    fn the_sums_are_those_of_the_papers() {
        // 3629 for training and validation and 1725 for testing, the text below Table 1 says.
        assert_eq!(sums("mvtec"), (15, 3629, 467, 1258));
        assert_eq!(467 + 1258, 1725);
        // 9621 normal and 1200 anomalous images.
        assert_eq!(sums("visa"), (12, 8659, 962, 1200));
        assert_eq!(8659 + 962, 9621);
        // 952 defect-free images, and 115 blowholes, 85 breaks, 57 cracks, 32 frays, 103 uneven tiles.
        assert_eq!(sums("magnetic-tile"), (1, 761, 191, 115 + 85 + 57 + 32 + 103));
        assert_eq!(761 + 191, 952);
    }

    #[test]
    fn visa_trains_on_nine_tenths_of_the_normal_images() {
        for category in published_categories("visa") {
            let Counts { train, test_normal, .. } = published_counts("visa", category).unwrap();
            let tenths = 9 * (train + test_normal);
            assert!((10 * train).abs_diff(tenths) <= 5, "{category}");
        }
    }

    #[test]
    fn every_row_is_of_a_registered_data_set_and_stands_once() {
        for (dataset, category, _) in &PUBLISHED {
            assert!(DATASETS.iter().any(|entry| entry.name == *dataset), "{dataset}");
            let rows = PUBLISHED.iter().filter(|row| (row.0, row.1) == (*dataset, *category)).count();
            assert_eq!(rows, 1, "{dataset}/{category}");
        }
        assert!(PUBLISHED.is_sorted_by_key(|row| (row.0, row.1)));
    }

    #[test]
    fn what_nobody_published_is_none() {
        for (dataset, category) in [("mvtec", "nut"), ("folder", "screw"), ("visa", "screw"), ("", "")] {
            assert_eq!(published_counts(dataset, category), None);
        }
        assert_eq!(published_categories("zju-leaper").count(), 0);
    }
}
