use super::{Level, MetricEntry};
use crate::CONFIDENCE;

/// Share of the anomalous images whose score is above the fixed threshold.
pub(super) static ENTRY: MetricEntry = MetricEntry {
    key: "image_recall",
    title: "Image recall",
    summary: "Share of the anomalous images whose score is above the fixed threshold",
    level: Level::Image,
    higher_is_better: true,
    is_oracle: false,
    is_headline: false,
    needs_threshold: true,
    compute: |evaluated| Ok(evaluated.confusion()?.found()?.share()),
    interval: Some(|evaluated| Ok(evaluated.confusion()?.found()?.interval(CONFIDENCE))),
};
