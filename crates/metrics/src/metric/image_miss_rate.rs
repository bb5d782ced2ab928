use super::{Level, MetricEntry};
use crate::CONFIDENCE;

/// Share of the anomalous images whose score is not above the fixed threshold.
pub(super) static ENTRY: MetricEntry = MetricEntry {
    key: "image_miss_rate",
    title: "Image miss rate",
    summary: "Share of the anomalous images whose score is not above the fixed threshold",
    level: Level::Image,
    higher_is_better: false,
    is_oracle: false,
    is_headline: false,
    needs_threshold: true,
    compute: |evaluated| Ok(evaluated.confusion()?.found()?.complement().share()),
    interval: Some(|evaluated| Ok(evaluated.confusion()?.found()?.complement().interval(CONFIDENCE))),
};
