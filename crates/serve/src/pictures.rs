//! The pictures of a verdict that a request asks for.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use fmam::output::Drawing;
use fmam::{Calibration, Image, Verdict};

use crate::answer::PictureAddresses;
use crate::models::Model;
use crate::query::PredictQuery;

/// The PNG files of a verdict.
#[derive(Debug, Default)]
pub(crate) struct Pictures {
    pub(crate) overlay: Option<Vec<u8>>,
    pub(crate) map: Option<Vec<u8>>,
    pub(crate) heat: Option<Vec<u8>>,
    pub(crate) preview: Option<Vec<u8>>,
}

impl Pictures {
    /// Draws the pictures of `verdict` that `asked` asks for. `image` is read again for those that
    /// show it: no decoded image is kept while others wait.
    ///
    /// # Errors
    /// The errors of reading the image and of encoding the pictures.
    pub(crate) fn draw(
        model: &Model,
        verdict: &Verdict,
        image: &Image,
        asked: &PredictQuery,
    ) -> Result<Self, fmam::Error> {
        let drawing = Drawing::of(verdict, model.detector.calibration());
        let original = (asked.overlay || asked.preview).then(|| model.loader.original(image)).transpose()?;
        let mut pictures = Self::default();
        if let Some(original) = &original {
            pictures.overlay = asked.overlay.then(|| drawing.overlay(original)).transpose()?;
            pictures.preview = asked.preview.then(|| Drawing::picture(original)).transpose()?;
        }
        pictures.map = asked.map.then(|| drawing.map()).transpose()?;
        pictures.heat = asked.heat.then(|| drawing.heat()).transpose()?;
        Ok(pictures)
    }

    /// The picture that the body of an answer shows: the one that was asked for.
    pub(crate) fn first(self) -> Option<Vec<u8>> {
        self.map.or(self.heat).or(self.preview).or(self.overlay)
    }

    /// The pictures as `data:` addresses.
    pub(crate) fn addresses(self) -> PictureAddresses {
        let address = |png: Option<Vec<u8>>| {
            png.map(|png| {
                let mut address = "data:image/png;base64,".to_owned();
                STANDARD.encode_string(png, &mut address);
                address
            })
        };
        PictureAddresses {
            overlay: address(self.overlay),
            map: address(self.map),
            heat: address(self.heat),
            preview: address(self.preview),
        }
    }
}

/// The lowest and the highest score of the colours of a model.
pub(crate) fn colour_range(calibration: Option<&Calibration>) -> Option<[f32; 2]> {
    calibration.map(|calibration| {
        let (low, high) = calibration.colour_range();
        [low, high]
    })
}
