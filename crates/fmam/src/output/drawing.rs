use std::borrow::Cow;

use fmam_core::{AnomalyMap, ImageSize, RgbImage};
use fmam_inspection::Calibration;
use fmam_record::without_padding;
use fmam_report::{
    MapColours, encode_heat_png, encode_large_png, encode_map_png16, map_in_size, overlay_in_colour,
};

use crate::{Error, Verdict};

/// The colours of the scores of `verdict` by a detector with `calibration`.
pub fn map_colours(verdict: &Verdict, calibration: Option<&Calibration>) -> MapColours {
    let map = &verdict.prediction.anomaly_map;
    let contour = verdict.inspection.as_ref().map(|inspection| inspection.threshold.contour);
    match (calibration, contour) {
        (Some(calibration), Some(contour)) => MapColours::calibrated(calibration.colour_range(), contour),
        (None, Some(contour)) => MapColours::uncalibrated(map).with_contour(contour),
        (_, None) => MapColours::uncalibrated(map),
    }
}

/// The pictures of a verdict: the colours of the detector's scores over the image, as PNG in
/// memory. [`Predictions`](super::Predictions) writes the same pictures as files.
#[derive(Debug)]
pub struct Drawing<'a> {
    /// The map without padding.
    map: Cow<'a, AnomalyMap>,
    colours: MapColours,
    /// The size of the image as it was given, or of the map of an image that is too large for the
    /// memory.
    size: ImageSize,
}

impl<'a> Drawing<'a> {
    /// The pictures of `verdict` in the colours of the detector, whose calibration is
    /// `calibration`.
    pub fn of(verdict: &'a Verdict, calibration: Option<&Calibration>) -> Self {
        let (map, colours) = (&verdict.prediction.anomaly_map, map_colours(verdict, calibration));
        let size = if verdict.reduction > 1 { map.size() } else { verdict.original_size };
        let map = without_padding(map, &verdict.frame).map_or(Cow::Borrowed(map), Cow::Owned);
        Self { map, colours, size }
    }

    /// `original`, the image as it was given, with the colours of high scores over it and the
    /// contour, as PNG.
    ///
    /// # Errors
    /// [`Error::Report`] for a picture that cannot be encoded.
    pub fn overlay(&self, original: &RgbImage) -> Result<Vec<u8>, Error> {
        Ok(encode_large_png(&overlay_in_colour(original, &self.map, self.colours)?)?)
    }

    /// The anomaly map in the size of the image as it was given, as the PNG of 16-bit grey of
    /// [`MapFormat::Png16`](super::MapFormat::Png16).
    ///
    /// # Errors
    /// [`Error::Report`] for a map that cannot be encoded.
    pub fn map(&self) -> Result<Vec<u8>, Error> {
        Ok(encode_map_png16(&self.map, self.size, self.colours.range())?)
    }

    /// The colours alone as PNG with alpha, in the size of the map: a layer to lay over the image.
    ///
    /// # Errors
    /// [`Error::Report`] for a map that cannot be encoded.
    pub fn heat(&self) -> Result<Vec<u8>, Error> {
        Ok(encode_heat_png(&self.map, self.colours)?)
    }

    /// `picture` as PNG, encoded for speed.
    ///
    /// # Errors
    /// [`Error::Report`] for a picture without pixels.
    pub fn picture(picture: &RgbImage) -> Result<Vec<u8>, Error> {
        Ok(encode_large_png(picture)?)
    }

    /// The colours of the scores.
    pub(super) fn colours(&self) -> MapColours {
        self.colours
    }

    /// The map in the size of the image as it was given.
    pub(super) fn large_map(&self) -> Result<AnomalyMap, Error> {
        Ok(map_in_size(&self.map, self.size)?)
    }

    /// The map without padding.
    pub(super) fn content(&self) -> &AnomalyMap {
        &self.map
    }

    /// The size of the pictures.
    pub(super) fn size(&self) -> ImageSize {
        self.size
    }
}
