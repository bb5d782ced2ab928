use super::{Level, MetricEntry};

/// Average precision of the image scores.
pub(super) static ENTRY: MetricEntry = MetricEntry {
    key: "image_ap",
    title: "Image AP",
    summary: "Average precision of the image scores",
    level: Level::Image,
    higher_is_better: true,
    is_oracle: false,
    is_headline: false,
    needs_threshold: false,
    compute: |evaluated| Ok(evaluated.images()?.average_precision()),
    interval: None,
};
