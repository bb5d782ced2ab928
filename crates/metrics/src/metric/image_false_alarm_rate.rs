use super::{Level, MetricEntry};
use crate::CONFIDENCE;

/// Share of the normal images whose score is above the fixed threshold.
pub(super) static ENTRY: MetricEntry = MetricEntry {
    key: "image_false_alarm_rate",
    title: "Image false-alarm rate",
    summary: "Share of the normal images whose score is above the fixed threshold",
    level: Level::Image,
    higher_is_better: false,
    is_oracle: false,
    is_headline: false,
    needs_threshold: true,
    compute: |evaluated| Ok(evaluated.confusion()?.false_alarms()?.share()),
    interval: Some(|evaluated| Ok(evaluated.confusion()?.false_alarms()?.interval(CONFIDENCE))),
};
