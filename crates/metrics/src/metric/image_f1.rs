use super::{Level, MetricEntry};
use crate::{CONFIDENCE, f1_of_jaccard};

/// `2 TP / (2 TP + FP + FN)` of the images above the fixed threshold; 0 where none of the anomalous
/// images is. The interval is that of [`f1_of_jaccard`].
pub(super) static ENTRY: MetricEntry = MetricEntry {
    key: "image_f1",
    title: "Image F1",
    summary: "Harmonic mean of precision and recall of the images above the fixed threshold",
    level: Level::Image,
    higher_is_better: true,
    is_oracle: false,
    is_headline: false,
    needs_threshold: true,
    compute: |evaluated| Ok(f1_of_jaccard(evaluated.confusion()?.jaccard()?.share())),
    interval: Some(|evaluated| Ok(evaluated.confusion()?.jaccard()?.interval(CONFIDENCE).map(f1_of_jaccard))),
};
