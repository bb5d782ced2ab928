use super::{Level, MetricEntry};

/// Area under the ROC curve of the image scores.
pub static ENTRY: MetricEntry = MetricEntry {
    key: "image_auroc",
    title: "Image AUROC",
    summary: "Area under the ROC curve of the image scores",
    level: Level::Image,
    higher_is_better: true,
    is_oracle: false,
    is_headline: true,
    needs_threshold: false,
    compute: |evaluated| Ok(evaluated.images()?.auroc()),
    interval: None,
};
