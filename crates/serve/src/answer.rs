//! The JSON of verdicts and models.

use fmam::output::{Files, Line};
use fmam::{ImageSize, Verdict};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::refusal::{Code, Refusal};

/// The answer to a request of verdicts.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Predictions<'a> {
    /// The name of the model.
    pub(crate) model: &'a str,
    /// For each image, in the order sent, the verdict or the reason that there is none.
    pub(crate) images: Vec<Entry<'a>>,
}

/// The answer for one image.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum Entry<'a> {
    /// The verdict.
    Verdict(Box<VerdictEntry<'a>>),
    /// The reason that there is none.
    Refused(RefusedEntry),
}

/// The verdict on an image: the line of `fmam predict --json`, the size of the image, and the
/// pictures that were asked for.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct VerdictEntry<'a> {
    /// The verdict and its reasons.
    #[serde(flatten)]
    #[schema(value_type = LineSchema)]
    pub(crate) line: Line<'a>,
    /// The size of the image as it was sent, upright.
    pub(crate) size: Size,
    /// The pictures that were asked for, as `data:` addresses of PNG files.
    #[serde(skip_serializing_if = "PictureAddresses::is_empty")]
    pub(crate) pictures: PictureAddresses,
}

/// An image without a verdict.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct RefusedEntry {
    /// The name of the image as it was sent.
    pub(crate) image: String,
    /// The reason, for programs.
    pub(crate) code: Code,
    /// The reason in a sentence, for people.
    pub(crate) error: String,
}

/// Height and width in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Size {
    /// Rows of pixels.
    pub(crate) height: usize,
    /// Pixels of a row.
    pub(crate) width: usize,
}

impl From<ImageSize> for Size {
    fn from(ImageSize { height, width }: ImageSize) -> Self {
        Self { height, width }
    }
}

/// Pictures as `data:` addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, ToSchema)]
pub(crate) struct PictureAddresses {
    /// The image with the colours of high scores and the contour.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) overlay: Option<String>,
    /// The anomaly map in 16-bit grey.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) map: Option<String>,
    /// The colours of the map alone, with alpha.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) heat: Option<String>,
    /// The image itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) preview: Option<String>,
}

impl PictureAddresses {
    fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl<'a> VerdictEntry<'a> {
    pub(crate) fn new(verdict: &'a Verdict, pictures: PictureAddresses) -> Self {
        let line = Line::new(verdict, Files::default()).with_seconds(verdict.seconds);
        Self { line, size: verdict.original_size.into(), pictures }
    }
}

impl RefusedEntry {
    pub(crate) fn new(image: &str, refusal: Refusal) -> Self {
        Self { image: image.to_owned(), code: refusal.code, error: refusal.message }
    }
}

/// The models of the server, and the limits of requests.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct ModelList {
    /// The models; a request that names none is for the first.
    pub(crate) models: Vec<ModelEntry>,
    /// True if `/v1/collect` keeps images.
    pub(crate) collects: bool,
    /// The limits of a request.
    pub(crate) limits: LimitsEntry,
}

/// The limits of a request.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct LimitsEntry {
    /// Bytes of the body.
    pub(crate) body_bytes: usize,
    /// Pixels of an image.
    pub(crate) pixels: usize,
    /// Images of a request.
    pub(crate) images: usize,
    /// Seconds until the answer.
    pub(crate) seconds: f64,
}

/// A model in use.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct ModelEntry {
    /// The name in requests.
    pub(crate) name: String,
    /// The method that it was fitted by.
    pub(crate) method: String,
    /// Its network.
    pub(crate) backbone: String,
    /// The size that it brings images to, or the size of a tile.
    pub(crate) image_size: Size,
    /// True if it cuts images of any size into tiles.
    pub(crate) tiled: bool,
    /// The score above which an image is a defect; null for a model that was not calibrated.
    pub(crate) threshold: Option<f32>,
    /// The share of good parts that score above the threshold, at most, where it was chosen so.
    pub(crate) false_alarms: Option<f64>,
    /// The promise of the threshold in words.
    pub(crate) promise: Option<String>,
    /// The scores of good images that its colours span, lowest and highest.
    pub(crate) colour_range: Option<[f32; 2]>,
    /// SHA-256 of its `model.toml`, which holds the digests of its networks.
    pub(crate) sha256: String,
    /// Seconds since 1970 at which it was loaded.
    pub(crate) loaded: u64,
    /// Times that a changed folder took the place of the model before.
    pub(crate) reloads: u64,
    /// The reason that the folder of the model changed and is not in use.
    pub(crate) problem: Option<String>,
}

/// An image that was kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Collected {
    /// The file within the folder of collected images.
    pub(crate) file: String,
    /// False if the file was there already.
    pub(crate) is_new: bool,
}

/// The line of `fmam predict --json`: the schema of [`fmam::output::Line`], which a test compares
/// with the type itself.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Line)]
pub(crate) struct LineSchema {
    /// The name of the image as it was sent.
    image: String,
    /// The verdict; null for a model without a threshold.
    verdict: Option<VerdictSchema>,
    /// The score of the image; higher is more anomalous.
    score: f32,
    /// The conformal p-value of the score: the share of good parts that score as high.
    p_value: Option<f64>,
    /// The image is a defect where its score is above this.
    threshold: Option<f32>,
    /// Places above the threshold, the highest first, in pixels of the image as it was sent.
    regions: Vec<RegionSchema>,
    /// Reasons to doubt the verdict.
    warnings: Vec<WarningSchema>,
    /// Seconds that decoding and scoring took; an image of a batch has its share.
    seconds: f64,
}

/// Good or not.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
#[schema(as = Outcome)]
enum VerdictSchema {
    /// The score is at or below the threshold.
    Ok,
    /// The score is above the threshold.
    Defect,
}

/// A place of an image above the threshold.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Region)]
struct RegionSchema {
    /// Left edge of the box.
    x: usize,
    /// Upper edge of the box.
    y: usize,
    /// Width of the box.
    width: usize,
    /// Height of the box.
    height: usize,
    /// Pixels of the region.
    area: usize,
    /// Largest score of the map.
    peak: f32,
    /// Mean score of the map.
    mean: f32,
}

/// A trait of the image that no training image showed.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
#[schema(as = Warning)]
struct WarningSchema {
    /// The trait.
    #[serde(rename = "trait")]
    of: String,
    /// Its value in the image.
    value: f32,
    /// Its least value among the training images.
    low: f32,
    /// Its largest value among the training images.
    high: f32,
    /// The warning in a sentence.
    text: String,
}

#[cfg(test)]
mod tests {
    use fmam::output::RecordedPath;
    use fmam::{Outcome, Region, Trait, Warning};

    use super::*;

    #[test]
    fn the_schema_of_a_line_is_that_of_the_type() {
        let regions = [Region { x: 1, y: 2, width: 3, height: 4, area: 5, peak: 6.5, mean: 7.5 }];
        let warnings = Trait::ALL.map(|of| Warning { of, value: 1.0, low: 2.0, high: 3.0 });
        for verdict in [None, Some(Outcome::Ok), Some(Outcome::Defect)] {
            let line = Line {
                image: RecordedPath::from("a"),
                verdict,
                score: 0.5,
                p_value: Some(0.25),
                threshold: Some(0.75),
                regions: &regions,
                warnings: &warnings,
                reduction: None,
                files: Files::default(),
                seconds: Some(0.125),
            };
            let json = serde_json::to_value(&line).unwrap();
            // Unknown and missing fields are errors, and the values come back as they were.
            let read: LineSchema = serde_json::from_value(json.clone()).unwrap();
            assert_eq!(serde_json::to_value(&read).unwrap(), json);
        }
    }
}
