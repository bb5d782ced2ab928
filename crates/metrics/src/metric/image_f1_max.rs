use super::{Level, MetricEntry};

/// Largest F1 over all thresholds of the image scores.
pub(super) static ENTRY: MetricEntry = MetricEntry {
    key: "image_f1_max",
    title: "F1-max",
    summary: "Largest F1 over all thresholds of the image scores",
    level: Level::Image,
    higher_is_better: true,
    is_oracle: true,
    is_headline: false,
    needs_threshold: false,
    compute: |evaluated| Ok(evaluated.images()?.f1_max().f1),
    interval: None,
};
