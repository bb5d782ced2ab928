//! Figures that the paper's poster publishes: AUROC in per cent, mean over the categories.

use fmam_metrics::{IMAGE_AUROC, MetricEntry, PIXEL_AUROC};

/// The metrics that the poster has, in the order of its columns.
pub(crate) static PAPER_METRICS: [&MetricEntry; 2] = [&IMAGE_AUROC, &PIXEL_AUROC];

/// Image and pixel AUROC in per cent.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Published {
    /// AUROC of the image scores, per cent.
    pub image_auroc: f64,
    /// AUROC over the pixels, per cent.
    pub pixel_auroc: f64,
    /// The place of the figure in the paper.
    pub source: PublishedIn,
}

impl Published {
    /// The figure of a metric in per cent; `None` for a metric that the poster does not have.
    pub fn of(&self, metric: &MetricEntry) -> Option<f64> {
        let figures = [(IMAGE_AUROC.key, self.image_auroc), (PIXEL_AUROC.key, self.pixel_auroc)];
        figures.into_iter().find(|(key, _)| *key == metric.key).map(|(_, figure)| figure)
    }
}

/// The table of the poster that a figure stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PublishedIn {
    /// Table 1, the comparison of methods; the poster does not name its backbone.
    Table1,
    /// Table 4, which names the backbone.
    Table4,
}

/// A row of Table 1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PaperRow {
    /// The method as the paper spells it; its registered name is this in lower case, parts of it
    /// joined by a hyphen.
    pub method: &'static str,
    /// (image, pixel) AUROC on MVTec AD.
    pub mvtec: (f64, f64),
    /// (image, pixel) AUROC on ZJU-Leaper.
    pub zju_leaper: (f64, f64),
}

/// A row of Table 4 (MVTec AD).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PaperBackbone {
    /// Registered name of the backbone.
    pub backbone: &'static str,
    /// (image, pixel) AUROC of RKD.
    pub rkd: (f64, f64),
    /// (image, pixel) AUROC of RKD+FMAM.
    pub rkd_fmam: (f64, f64),
}

const fn row(method: &'static str, mvtec: (f64, f64), zju_leaper: (f64, f64)) -> PaperRow {
    PaperRow { method, mvtec, zju_leaper }
}

/// Table 1, in its order.
pub static PAPER_TABLE: [PaperRow; 9] = [
    row("PuzzleAE", (71.1, 80.7), (69.1, 68.2)),
    row("FCDD", (86.6, 92.5), (58.0, 61.6)),
    row("SPADE", (85.5, 96.0), (83.3, 88.8)),
    row("PaDiM", (90.3, 96.1), (84.8, 86.3)),
    row("MRKD", (87.7, 90.7), (86.9, 82.3)),
    row("NKD", (94.7, 96.6), (84.9, 92.7)),
    row("NKD+FMAM", (96.7, 96.9), (88.6, 93.6)),
    row("RKD", (96.1, 97.1), (89.8, 93.8)),
    row("RKD+FMAM", (98.2, 97.3), (91.9, 94.7)),
];

/// Table 4, in its order.
pub static PAPER_BACKBONES: [PaperBackbone; 3] = [
    PaperBackbone { backbone: "resnet34", rkd: (98.3, 97.2), rkd_fmam: (98.3, 97.4) },
    PaperBackbone { backbone: "resnet50", rkd: (98.5, 97.6), rkd_fmam: (98.8, 97.9) },
    PaperBackbone { backbone: "wide-resnet50-2", rkd: (98.5, 97.7), rkd_fmam: (99.1, 98.1) },
];

/// The poster's figure for a method (registered name) on a data set: from Table 4 if this table has
/// the same backbone, else from Table 1. `None` if the poster has neither.
pub fn published(dataset: &str, method: &str, backbone: &str) -> Option<Published> {
    let row = &PAPER_TABLE[paper_position(method)?];
    let named = PAPER_BACKBONES.iter().find(|entry| dataset == "mvtec" && entry.backbone == backbone);
    let ((image_auroc, pixel_auroc), source) = match (dataset, row.method, named) {
        (_, "RKD", Some(entry)) => (entry.rkd, PublishedIn::Table4),
        (_, "RKD+FMAM", Some(entry)) => (entry.rkd_fmam, PublishedIn::Table4),
        ("mvtec", ..) => (row.mvtec, PublishedIn::Table1),
        ("zju-leaper", ..) => (row.zju_leaper, PublishedIn::Table1),
        _ => return None,
    };
    Some(Published { image_auroc, pixel_auroc, source })
}

/// The row of Table 1 that has this method (registered name), `None` for a method of our own.
pub(crate) fn paper_position(method: &str) -> Option<usize> {
    let spelled = method.replace('-', "");
    PAPER_TABLE.iter().position(|row| row.method.eq_ignore_ascii_case(&spelled))
}

/// Titles of methods that the paper's tables do not have.
const OWN_TITLES: [(&str, &str); 5] = [
    ("patchcore", "PatchCore"),
    ("spade+fmam", "SPADE+FMAM"),
    ("padim+fmam", "PaDiM+FMAM"),
    ("patchcore+fmam", "PatchCore+FMAM"),
    ("teacher", "Teacher only"),
];

/// The method as the paper spells it, or its registered name.
pub fn method_title(method: &str) -> &str {
    match paper_position(method) {
        Some(position) => PAPER_TABLE[position].method,
        None => OWN_TITLES.iter().find(|(name, _)| *name == method).map_or(method, |(_, title)| title),
    }
}

/// The data set's proper name, or its registered one.
pub fn dataset_title(dataset: &str) -> &str {
    match dataset {
        "mvtec" => "MVTec AD",
        "zju-leaper" => "ZJU-Leaper",
        "magnetic-tile" => "Magnetic Tile",
        "visa" => "VisA",
        _ => dataset,
    }
}

/// Size of a whole data set: what the paper's mean is over.
pub(crate) struct WholeDataset {
    pub(crate) n_categories: usize,
    /// Training and test images of all categories, where we know them.
    pub(crate) n_images: Option<(usize, usize)>,
}

/// The size of a data set that the paper evaluates on. For ZJU-Leaper the categories are its
/// patterns.
pub(crate) fn whole_dataset(dataset: &str) -> Option<WholeDataset> {
    match dataset {
        "mvtec" => Some(WholeDataset { n_categories: 15, n_images: Some((3629, 1725)) }),
        "zju-leaper" => Some(WholeDataset { n_categories: 19, n_images: None }),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_4_answers_for_its_backbones_and_table_1_for_the_rest() {
        let figure = |dataset, method, backbone| {
            published(dataset, method, backbone)
                .map(|found| (found.image_auroc, found.pixel_auroc, found.source))
        };
        assert_eq!(figure("mvtec", "rkd+fmam", "resnet50"), Some((98.8, 97.9, PublishedIn::Table4)));
        assert_eq!(figure("mvtec", "rkd+fmam", "resnet18"), Some((98.2, 97.3, PublishedIn::Table1)));
        assert_eq!(figure("mvtec", "nkd", "resnet50"), Some((94.7, 96.6, PublishedIn::Table1)));
        assert_eq!(figure("zju-leaper", "rkd", "resnet50"), Some((89.8, 93.8, PublishedIn::Table1)));
        assert_eq!(figure("magnetic-tile", "rkd", "resnet50"), None);
        assert_eq!(figure("mvtec", "patchcore", "resnet50"), None);
        assert_eq!(figure("mvtec", "puzzle-ae", "resnet50"), Some((71.1, 80.7, PublishedIn::Table1)));
    }
}
