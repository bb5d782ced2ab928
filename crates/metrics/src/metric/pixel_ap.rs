use super::{Level, MetricEntry};

/// Average precision over all test pixels.
pub(super) static ENTRY: MetricEntry = MetricEntry {
    key: "pixel_ap",
    title: "Pixel AP",
    summary: "Average precision over all test pixels",
    level: Level::Pixel,
    higher_is_better: true,
    is_oracle: false,
    is_headline: false,
    needs_threshold: false,
    compute: |evaluated| Ok(evaluated.pixels()?.summary()?.metrics.average_precision),
    interval: None,
};
