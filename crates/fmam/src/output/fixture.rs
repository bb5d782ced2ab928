//! A verdict for tests.

use fmam_core::{AnomalyMap, Frame, ImageSize, RgbImage};
use fmam_inspection::{Basis, Inspection, Threshold};
use fmam_methods::Prediction;

use crate::Verdict;

/// The verdict on the file `name` of 2 by 4 pixels, whose score is 2.
pub(super) fn verdict(name: &str, threshold: Option<f32>) -> Verdict {
    let (size, original_size) = (ImageSize::new(1, 2), ImageSize::new(2, 4));
    let anomaly_map = AnomalyMap::new(size, vec![0.5, 2.0]).unwrap();
    let inspection = threshold.map(|score| {
        let threshold = Threshold { score, contour: score, basis: Basis::Given };
        Inspection::new(threshold, None, 2.0, &anomaly_map, original_size)
    });
    Verdict {
        index: 7,
        name: name.to_owned(),
        path: Some(name.into()),
        image: RgbImage::filled(size, [0; 3]),
        original_size,
        reduction: 1,
        frame: Frame::filling(original_size, size),
        original: Some(RgbImage::filled(original_size, [0; 3])),
        prediction: Prediction { image_score: 2.0, anomaly_map },
        inspection,
        warnings: Vec::new(),
        look: None,
        seconds: 0.012_345_6,
    }
}
