//! Verdicts on images, with their maps as arrays.

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use fmam::output::map_colours;
use fmam::{AnomalyMap, Calibration, ImageSize, Inspection, RgbImage};
use fmam_record::without_padding;
use fmam_report::{MapColours, ReportError, defect_mask, encode_png, map_in_size, overlay_in_colour, sheet};
use numpy::{PyArray2, PyArray3, PyReadonlyArray3};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::pixels::{image_array, map_array, mask_array, rgb_image};
use crate::raise::raise;

/// A place of an image that scores above the threshold, in pixels of the image as it was given.
#[pyclass(frozen, get_all, module = "fmam")]
#[derive(Clone)]
pub(crate) struct Region {
    /// Left edge of the box, in pixels from the left edge of the image.
    x: usize,
    /// Upper edge of the box, in pixels from the upper edge of the image.
    y: usize,
    /// Width of the box in pixels.
    width: usize,
    /// Height of the box in pixels.
    height: usize,
    /// Pixels of the region.
    area: usize,
    /// Largest score of the map within it.
    peak: f32,
    /// Mean score of the map within it.
    mean: f32,
}

#[pymethods]
impl Region {
    fn __repr__(&self) -> String {
        let Self { x, y, width, height, area, peak, .. } = self;
        format!("Region(x={x}, y={y}, width={width}, height={height}, area={area}, peak={peak:.4})")
    }
}

impl From<&fmam::Region> for Region {
    fn from(region: &fmam::Region) -> Self {
        let fmam::Region { x, y, width, height, area, peak, mean } = *region;
        Self { x, y, width, height, area, peak, mean }
    }
}

/// The verdict on one image.
#[pyclass(frozen, module = "fmam")]
pub(crate) struct Verdict {
    verdict: fmam::Verdict,
    /// The map without padding; `None` where it has none.
    content: Option<AnomalyMap>,
    colours: MapColours,
    /// The arrays that were asked for.
    map: PyOnceLock<Py<PyArray2<f32>>>,
    mask: PyOnceLock<Py<PyArray2<bool>>>,
}

impl Verdict {
    /// The verdict of a detector with `calibration`.
    pub(crate) fn new(verdict: fmam::Verdict, calibration: Option<&Calibration>) -> Self {
        let colours = map_colours(&verdict, calibration);
        let content = without_padding(&verdict.prediction.anomaly_map, &verdict.frame);
        Self { verdict, content, colours, map: PyOnceLock::new(), mask: PyOnceLock::new() }
    }

    fn inspection(&self) -> Option<&Inspection> {
        self.verdict.inspection.as_ref()
    }

    /// The map of the image alone, in the detector's size.
    fn content(&self) -> &AnomalyMap {
        self.content.as_ref().unwrap_or(&self.verdict.prediction.anomaly_map)
    }

    /// The size of the arrays.
    fn array_size(&self) -> ImageSize {
        if self.verdict.reduction > 1 { self.content().size() } else { self.verdict.original_size }
    }

    /// The image without padding, in the detector's size.
    fn seen(&self) -> RgbImage {
        let frame = &self.verdict.frame;
        let image = &self.verdict.image;
        if frame.is_filled() || image.size() != frame.size {
            return image.clone();
        }
        RgbImage::from_fn(frame.content, |y, x| image.pixel(frame.top + y, frame.left + x))
    }
}

/// The exception of a picture that cannot be drawn.
fn failed(error: ReportError) -> PyErr {
    raise(&error.into())
}

#[pymethods]
impl Verdict {
    /// The path of the image, or its position among those given (`image 3`).
    #[getter]
    fn name(&self) -> &str {
        &self.verdict.name
    }

    /// The score of the image; higher is more anomalous.
    #[getter]
    fn score(&self) -> f32 {
        self.verdict.prediction.image_score
    }

    /// `"ok"` or `"defect"`; `None` without a threshold.
    #[getter]
    fn verdict(&self) -> Option<&'static str> {
        self.inspection().map(|inspection| inspection.outcome.name())
    }

    /// True for a defect; `None` without a threshold.
    #[getter]
    fn is_defect(&self) -> Option<bool> {
        self.inspection().map(|inspection| inspection.outcome == fmam::Outcome::Defect)
    }

    /// The share of good parts that score at least as high (conformal p-value, in 0..1); `None`
    /// without a calibration.
    #[getter]
    fn p_value(&self) -> Option<f64> {
        self.inspection()?.p_value
    }

    /// The image is a defect where its score is above this; `None` without one.
    #[getter]
    fn threshold(&self) -> Option<f32> {
        self.inspection().map(|inspection| inspection.threshold.score)
    }

    /// Height and width of the image as it was given.
    #[getter]
    fn size(&self) -> (usize, usize) {
        let ImageSize { height, width } = self.verdict.original_size;
        (height, width)
    }

    /// Pixels of the image along each side of a pixel of the arrays: 1, but for an image file of
    /// more than 16 million pixels that was scored in tiles.
    #[getter]
    fn reduction(&self) -> usize {
        self.verdict.reduction
    }

    /// Seconds that decoding and scoring took.
    #[getter]
    fn seconds(&self) -> f64 {
        self.verdict.seconds
    }

    /// The anomaly map in the size of the image, (H, W) float32; higher is more anomalous.
    #[getter]
    fn map<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        let array = self.map.get_or_try_init(py, || {
            let map = py.detach(|| map_in_size(self.content(), self.array_size())).map_err(failed)?;
            map_array(py, map).map(Bound::unbind)
        })?;
        Ok(array.bind(py).clone())
    }

    /// The anomaly map as the detector computed it, in the size that its networks see.
    #[getter]
    fn network_map<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyArray2<f32>>> {
        map_array(py, self.verdict.prediction.anomaly_map.clone())
    }

    /// The pixels of the map above the threshold, (H, W) bool; `None` without a threshold.
    #[getter]
    fn mask<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyArray2<bool>>>> {
        let Some(contour) = self.inspection().map(|inspection| inspection.threshold.contour) else {
            return Ok(None);
        };
        let array = self.mask.get_or_try_init(py, || {
            let size = self.array_size();
            let mask = py.detach(|| defect_mask(self.content(), contour, size)).map_err(failed)?;
            mask_array(py, &mask).map(Bound::unbind)
        })?;
        Ok(Some(array.bind(py).clone()))
    }

    /// The places above the threshold, the highest peak first.
    #[getter]
    fn regions(&self) -> Vec<Region> {
        self.inspection()
            .map_or_else(Vec::new, |inspection| inspection.regions.iter().map(Region::from).collect())
    }

    /// Reasons to doubt the verdict: traits of the image that no training image showed.
    #[getter]
    fn warnings(&self) -> Vec<String> {
        self.verdict.warnings.iter().map(ToString::to_string).collect()
    }

    /// The image with its high scores in colour and a line around the mask, (H, W, 3) uint8. With
    /// `image`, (H, W, 3) uint8, it is drawn on these pixels; else on the image in the size that
    /// the networks see.
    #[pyo3(signature = (image=None))]
    fn overlay<'py>(
        &self,
        py: Python<'py>,
        image: Option<PyReadonlyArray3<'py, u8>>,
    ) -> PyResult<Bound<'py, PyArray3<u8>>> {
        let image = match image {
            Some(image) => rgb_image(&image)?,
            None => self.seen(),
        };
        let picture = py.detach(|| overlay_in_colour(&image, self.content(), self.colours));
        image_array(py, picture.map_err(failed)?)
    }

    fn __repr__(&self) -> String {
        let or_none = |value: Option<String>| value.unwrap_or_else(|| "None".to_owned());
        let Self { verdict, .. } = self;
        let inspection = self.inspection();
        format!(
            "Verdict(name={:?}, verdict={}, score={:.4}, threshold={}, p_value={}, regions={})",
            verdict.name,
            or_none(self.verdict().map(|name| format!("'{name}'"))),
            self.score(),
            or_none(self.threshold().map(|score| format!("{score:.4}"))),
            or_none(self.p_value().map(|p| format!("{p:.4}"))),
            inspection.map_or(0, |inspection| inspection.regions.len()),
        )
    }

    /// A notebook shows the verdict with the image and its map side by side.
    fn _repr_html_(&self, py: Python<'_>) -> PyResult<String> {
        let draw = || -> Result<String, ReportError> {
            let image = sheet(&self.verdict.image, &self.verdict.prediction.anomaly_map, self.colours)?;
            Ok(BASE64_STANDARD.encode(encode_png(&image)?))
        };
        let picture = py.detach(draw).map_err(failed)?;
        let mut facts = vec![format!("score {:.4}", self.score())];
        facts.extend(self.threshold().map(|threshold| format!("threshold {threshold:.4}")));
        facts.extend(self.p_value().map(|p| format!("p {p:.3}")));
        facts.extend(self.inspection().map(|inspection| match inspection.regions.len() {
            1 => "1 region".to_owned(),
            n => format!("{n} regions"),
        }));
        facts.extend(self.warnings());
        let name = escaped(self.verdict().unwrap_or("no threshold"));
        let facts: Vec<String> = facts.iter().map(|fact| escaped(fact)).collect();
        Ok(format!(
            "<figure style=\"margin:0\"><img alt=\"image and anomaly map\" style=\"max-width:100%\" \
             src=\"data:image/png;base64,{picture}\"><figcaption>{}: <b>{name}</b>, {}</figcaption></figure>",
            escaped(&self.verdict.name),
            facts.join(", ")
        ))
    }
}

/// `text` within HTML.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}
