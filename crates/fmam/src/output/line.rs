use std::path::PathBuf;

use fmam_inspection::{Outcome, Region, Warning};
use fmam_record::RecordedPath;
use fmam_report::CsvRow;
use serde::Serialize;

use crate::{Error, Verdict};

/// The verdict on an image as a line for machines.
///
/// In JSON a path that is UTF-8 is a string, and every other one an object with a text for people
/// and with its bytes, see [`RecordedPath`]; both open the file again. A line without seconds
/// depends on the image and the detector only.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Line<'a> {
    /// The path of the image as it was given, or its name.
    pub image: RecordedPath,
    /// `None` without a threshold.
    pub verdict: Option<Outcome>,
    /// The score of the image; higher is more anomalous.
    pub score: f32,
    /// The conformal p-value of the score; `None` without held-out good images.
    pub p_value: Option<f64>,
    /// The image is a defect where its score is above this.
    pub threshold: Option<f32>,
    /// Places above the contour, in pixels of the image as it was given.
    pub regions: &'a [Region],
    /// Reasons to doubt the verdict.
    pub warnings: &'a [Warning],
    /// Pixels of the image along each side of a pixel of its pictures, for an image that is too
    /// large to be held in memory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reduction: Option<usize>,
    /// The files that were written for the image.
    #[serde(flatten)]
    pub files: Files,
    /// Seconds that the image took.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

/// The files of an image, relative to the folder of the predictions.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Files {
    /// The picture of the image and its map.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub overlay: Option<RecordedPath>,
    /// The anomaly map.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub map: Option<RecordedPath>,
    /// The pixels above the contour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mask: Option<RecordedPath>,
}

impl<'a> Line<'a> {
    /// The line of a verdict, without seconds.
    pub fn new(verdict: &'a Verdict, files: Files) -> Self {
        let inspection = verdict.inspection.as_ref();
        let path = verdict.path.clone().unwrap_or_else(|| PathBuf::from(&verdict.name));
        Self {
            image: path.into(),
            verdict: inspection.map(|inspection| inspection.outcome),
            score: verdict.prediction.image_score,
            p_value: inspection.and_then(|inspection| inspection.p_value),
            threshold: inspection.map(|inspection| inspection.threshold.score),
            regions: inspection.map_or(&[], |inspection| &inspection.regions),
            warnings: &verdict.warnings,
            reduction: Some(verdict.reduction).filter(|reduction| *reduction > 1),
            files,
            seconds: None,
        }
    }

    /// The line with the seconds that the image took, to a tenth of a millisecond.
    #[must_use]
    pub fn with_seconds(self, seconds: f64) -> Self {
        Self { seconds: Some((seconds * 1e4).round() / 1e4), ..self }
    }

    /// The line as JSON, with a line break at its end.
    ///
    /// # Errors
    /// [`Error::Json`].
    pub fn json(&self) -> Result<String, Error> {
        Ok(serde_json::to_string(self)? + "\n")
    }

    /// The names of the cells of [`Line::csv`], with a line break at their end.
    pub fn csv_header() -> String {
        let names = [
            "image",
            "verdict",
            "score",
            "p_value",
            "threshold",
            "regions",
            "warnings",
            "overlay",
            "map",
            "mask",
            "seconds",
            "image_bytes",
        ];
        names.into_iter().fold(CsvRow::new(), CsvRow::value).end()
    }

    /// The line as comma-separated values (RFC 4180), with a line break at its end. `regions` is
    /// the list of the JSON line, `warnings` are their texts. `image_bytes` has the bytes of a path
    /// that is not UTF-8, as hexadecimal digits; the cells of paths are then texts for people only.
    /// A path that a spreadsheet would take for a formula has an apostrophe in front.
    ///
    /// # Errors
    /// [`Error::Json`].
    pub fn csv(&self) -> Result<String, Error> {
        let path = |path: &RecordedPath| path.0.to_string_lossy().into_owned();
        let file = |file: &Option<RecordedPath>| file.as_ref().map(path).unwrap_or_default();
        let texts: Vec<String> = self.warnings.iter().map(ToString::to_string).collect();
        let row = CsvRow::new()
            .text(&path(&self.image))
            .value(self.verdict.map(Outcome::name).unwrap_or_default())
            .value(self.score)
            .value(self.p_value.map(|p| p.to_string()).unwrap_or_default())
            .value(self.threshold.map(|threshold| threshold.to_string()).unwrap_or_default())
            .value(serde_json::to_string(self.regions)?)
            .text(&texts.join("; "))
            .text(&file(&self.files.overlay))
            .text(&file(&self.files.map))
            .text(&file(&self.files.mask))
            .value(self.seconds.map(|seconds| seconds.to_string()).unwrap_or_default())
            .value(self.image.hex().unwrap_or_default());
        Ok(row.end())
    }
}

#[cfg(test)]
mod tests {
    use fmam_inspection::Trait;

    use super::*;
    use crate::output::fixture::verdict;

    #[test]
    fn a_line_has_the_verdict_and_its_reasons() {
        let verdict = verdict("a, b.png", Some(1.5));
        let files = Files { overlay: Some("overlays/a, b.png".into()), ..Files::default() };
        let line = Line::new(&verdict, files);
        let regions = r#"[{"x":2,"y":0,"width":2,"height":2,"area":4,"peak":2.0,"mean":2.0}]"#;
        let json = [
            r#"{"image":"a, b.png","verdict":"defect","score":2.0,"p_value":null,"threshold":1.5,"#,
            &format!(r#""regions":{regions},"warnings":[],"overlay":"overlays/a, b.png"}}"#),
        ]
        .concat();
        assert_eq!(line.json().unwrap(), format!("{json}\n"));
        let line = line.with_seconds(verdict.seconds);
        assert!(line.json().unwrap().ends_with(",\"seconds\":0.0123}\n"));
        let regions = regions.replace('"', "\"\"");
        let csv = format!("\"a, b.png\",defect,2,,1.5,\"{regions}\",,\"overlays/a, b.png\",,,0.0123,\n");
        assert_eq!(line.csv().unwrap(), csv);
        assert_eq!(Line::csv_header().split(',').count(), 12);
        let formula = Line { image: "=1+1.png".into(), score: -2.5, ..line };
        assert!(formula.csv().unwrap().starts_with("'=1+1.png,defect,-2.5,,1.5,"));
    }

    #[test]
    fn a_warning_has_each_key_once() {
        let mut verdict = verdict("a.png", None);
        verdict.warnings = vec![Warning { of: Trait::Brightness, value: 1.0, low: 2.0, high: 3.0 }];
        let line = Line::new(&verdict, Files::default());
        let json = line.json().unwrap();
        for key in ["trait", "value", "low", "high", "text"] {
            assert_eq!(json.matches(&format!("\"{key}\":")).count(), 1, "{key}: {json}");
        }
        assert!(line.csv().unwrap().contains("darker than every training image"));
    }

    #[test]
    fn without_a_threshold_there_is_a_score_and_no_verdict() {
        let verdict = verdict("a.png", None);
        let json = concat!(
            r#"{"image":"a.png","verdict":null,"score":2.0,"p_value":null,"threshold":null,"#,
            r#""regions":[],"warnings":[]}"#
        );
        assert_eq!(Line::new(&verdict, Files::default()).json().unwrap(), format!("{json}\n"));
    }
}
