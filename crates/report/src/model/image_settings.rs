//! The settings that decide which pixels the figures of a run are of.

use std::collections::BTreeMap;

use fmam_core::{Placing, Reading, ValueRange};
use fmam_record::{EvaluationConfig, Resolution, RunRecord};

use crate::model::settings::image_size;

/// The text of settings that are the defaults.
pub(crate) const DEFAULTS: &str = "default";

/// The size of the images of a run and their place in it: `160×768`, `160×768, padded` or `tiles of
/// 512×512, overlap 64`.
pub(crate) fn placed_size(run: &RunRecord) -> String {
    let size = image_size(run);
    match run.config.data.placing {
        Placing::Squeeze => size,
        Placing::KeepAspect => format!("{size}, padded"),
        Placing::Tiles { overlap } => format!("tiles of {size}, overlap {overlap}"),
    }
}

/// The participle of the images of a run: `resized to 160×768`.
pub(crate) fn preparation(run: &RunRecord) -> String {
    let size = image_size(run);
    match run.config.data.placing {
        Placing::Squeeze => format!("resized to {size}"),
        Placing::KeepAspect => format!("resized in their aspect ratio and padded to {size}"),
        Placing::Tiles { .. } => format!("cut into tiles of {size}"),
    }
}

/// The reading of the files of a run, its region of interest and the resolution of its pixel
/// figures, as far as they are not the defaults; [`DEFAULTS`] where all are.
pub(crate) fn reading_and_evaluation(run: &RunRecord) -> String {
    let data = &run.config.data;
    let Reading { values, background, .. } = data.reading;
    let mut parts = Vec::new();
    match values {
        ValueRange::Auto => {}
        ValueRange::Bits(bits) => parts.push(format!("values of {bits} bits")),
        ValueRange::Between { low, high } => parts.push(format!("values from {low} to {high}")),
    }
    if background != Reading::default().background {
        let [red, green, blue] = background;
        parts.push(format!("background #{red:02x}{green:02x}{blue:02x}"));
    }
    if let Some(digest) = &data.roi_sha256 {
        let start: String = digest.chars().take(8).collect();
        parts.push(format!("region of interest {start}"));
    }
    match run.config.evaluation {
        EvaluationConfig { pixel_metrics: false, .. } => parts.push("no pixel figures".to_owned()),
        EvaluationConfig { at: Resolution::Original, .. } => {
            parts.push("pixel figures at the original resolution".to_owned());
        }
        EvaluationConfig { at: Resolution::Network, .. } => {}
    }
    if parts.is_empty() { DEFAULTS.to_owned() } else { parts.join("; ") }
}

/// The resolution of the pixel figures of a run: `160×768` or `the original resolution`.
pub(crate) fn resolution(run: &RunRecord) -> String {
    let is_tiled = matches!(run.config.data.placing, Placing::Tiles { .. });
    match run.config.evaluation.at {
        Resolution::Network if !is_tiled => image_size(run),
        _ => "the original resolution".to_owned(),
    }
}

/// True if two runs of one category have figures of different pixels: other sizes, places, values,
/// regions or resolutions. A mean over them would be of nothing.
pub(crate) fn differ_in_pixels<'a>(runs: impl IntoIterator<Item = &'a RunRecord>) -> bool {
    let mut first: BTreeMap<&str, &RunRecord> = BTreeMap::new();
    runs.into_iter().any(|run| {
        let other = *first.entry(&run.category).or_insert(run);
        !is_of_same_pixels(run, other)
    })
}

fn is_of_same_pixels(run: &RunRecord, other: &RunRecord) -> bool {
    let (a, b) = (&run.config.data, &other.config.data);
    (run.image_size, a.placing, &a.roi_sha256) == (other.image_size, b.placing, &b.roi_sha256)
        && (a.reading.values, a.reading.background) == (b.reading.values, b.reading.background)
        && run.config.evaluation == other.config.evaluation
}

#[cfg(test)]
mod tests {
    use fmam_core::ImageSize;

    use super::*;
    use crate::fixture::record;

    /// Changes of one setting each, and the texts of the run with it.
    type Change = (fn(&mut RunRecord), &'static str, &'static str);

    const CHANGES: [Change; 8] = [
        (|run| run.image_size = ImageSize::new(160, 768), "160×768", "default"),
        (|run| run.config.data.placing = Placing::KeepAspect, "256×256, padded", "default"),
        (
            |run| run.config.data.placing = Placing::Tiles { overlap: 64 },
            "tiles of 256×256, overlap 64",
            "default",
        ),
        (
            |run| run.config.data.reading.values = ValueRange::Between { low: 0.0, high: 1.5 },
            "256×256",
            "values from 0 to 1.5",
        ),
        (|run| run.config.data.reading.background = [255, 0, 16], "256×256", "background #ff0010"),
        (
            |run| run.config.data.roi_sha256 = Some("0123456789abcdef".to_owned()),
            "256×256",
            "region of interest 01234567",
        ),
        (
            |run| run.config.evaluation.at = Resolution::Original,
            "256×256",
            "pixel figures at the original resolution",
        ),
        (|run| run.config.evaluation.pixel_metrics = false, "256×256", "no pixel figures"),
    ];

    #[test]
    fn each_setting_is_told_and_separates_runs() {
        let plain = record("mvtec", "screw", "nkd", 0);
        assert_eq!(
            (placed_size(&plain), reading_and_evaluation(&plain)),
            ("256×256".into(), "default".into())
        );
        for (change, size, rest) in CHANGES {
            let mut run = record("mvtec", "screw", "nkd", 1);
            change(&mut run);
            assert_eq!((placed_size(&run).as_str(), reading_and_evaluation(&run).as_str()), (size, rest));
            assert!(differ_in_pixels([&plain, &run]), "{size}, {rest}");
            assert!(!differ_in_pixels([&run, &run]));
            // Categories may have settings of their own.
            run.category = "cable".to_owned();
            assert!(!differ_in_pixels([&plain, &run]));
        }
        let mut run = record("mvtec", "screw", "nkd", 1);
        run.config.data.reading.max_bytes = 1;
        assert!(!differ_in_pixels([&plain, &run]), "a limit of the machine changes no pixel");
    }

    #[test]
    fn several_settings_are_told_together() {
        let mut run = record("mvtec", "screw", "nkd", 0);
        run.config.data.reading.values = ValueRange::Bits(12);
        run.config.evaluation.at = Resolution::Original;
        let told = "values of 12 bits; pixel figures at the original resolution";
        assert_eq!(reading_and_evaluation(&run), told);
        assert_eq!(resolution(&run), "the original resolution");
        run.config.evaluation.at = Resolution::Network;
        assert_eq!(resolution(&run), "256×256");
    }
}
