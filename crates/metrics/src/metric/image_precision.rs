use super::{Level, MetricEntry};
use crate::CONFIDENCE;

/// Share of the anomalous images among those above the fixed threshold. Undefined where
/// no image is above it.
pub(super) static ENTRY: MetricEntry = MetricEntry {
    key: "image_precision",
    title: "Image precision",
    summary: "Share of the anomalous images among those above the fixed threshold",
    level: Level::Image,
    higher_is_better: true,
    is_oracle: false,
    is_headline: false,
    needs_threshold: true,
    compute: |evaluated| Ok(evaluated.confusion()?.alarms_that_are_right()?.share()),
    interval: Some(|evaluated| Ok(evaluated.confusion()?.alarms_that_are_right()?.interval(CONFIDENCE))),
};
