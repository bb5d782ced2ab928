use super::{Level, MetricEntry};

/// Area under the ROC curve over all test pixels.
pub static ENTRY: MetricEntry = MetricEntry {
    key: "pixel_auroc",
    title: "Pixel AUROC",
    summary: "Area under the ROC curve over all test pixels",
    level: Level::Pixel,
    higher_is_better: true,
    is_oracle: false,
    is_headline: true,
    needs_threshold: false,
    compute: |evaluated| Ok(evaluated.pixels()?.summary()?.metrics.auroc),
    interval: None,
};
