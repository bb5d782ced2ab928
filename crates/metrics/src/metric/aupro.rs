use super::{Level, MetricEntry};

/// Area under the per-region-overlap curve up to a false positive rate of 0.3, divided by 0.3.
pub static ENTRY: MetricEntry = MetricEntry {
    key: "aupro",
    title: "AUPRO",
    summary: "Area under the per-region-overlap curve up to a false positive rate of 0.3, divided by 0.3",
    level: Level::Region,
    higher_is_better: true,
    is_oracle: false,
    is_headline: true,
    needs_threshold: false,
    compute: |evaluated| Ok(evaluated.pixels()?.summary()?.metrics.aupro),
    interval: None,
};
