//! The calibration of a detector in words.

use std::path::Path;

use fmam::output::{BY_HAND, percent, promise};
use fmam::{Basis, Calibration, Detector, SyntheticDefects, Threshold, images_for};
use fmam_metrics::{CONFIDENCE, wilson};

/// The threshold of a detector, with its promise and its outcome on synthetic defects: lines for a
/// person. `model` is the folder of the detector.
pub(crate) fn report(calibration: &Calibration, model: &Path) -> String {
    let Threshold { score, basis, .. } = calibration.threshold();
    let mut lines = vec![format!("threshold {score:.4}: {}", promise(calibration, basis))];
    if let Basis::FalseAlarms { asked, promised } = basis
        && promised > asked
    {
        let (needed, n) = (images_for(asked), calibration.scores().count());
        lines.push(format!(
            "{} needs {needed} such images, {} more: fmam calibrate FOLDER --model {}",
            percent(asked),
            needed.saturating_sub(n),
            model.display()
        ));
    }
    if !matches!(basis, Basis::FalseAlarms { .. }) {
        let above = calibration.scores().sorted().iter().filter(|known| **known > score).count();
        lines.push(format!("of {} good images {above} score above it", calibration.scores().count()));
    }
    lines.extend(calibration.synthetic().map(synthetic));
    lines.join("\n") + "\n"
}

/// The threshold in use, with its promise, or the way to one.
pub(crate) fn in_use(threshold: Option<Threshold>, detector: &Detector, model: &Path) -> String {
    match (threshold, detector.calibration()) {
        (Some(Threshold { score, basis, .. }), Some(calibration)) => {
            format!("threshold {score:.4}: {}", promise(calibration, basis))
        }
        (Some(Threshold { score, .. }), None) => format!("threshold {score:.4}: {BY_HAND}"),
        (None, _) => format!(
            "the model has no threshold, so there are scores and no verdicts; `fmam calibrate FOLDER --model {}` \
             finds one by good images",
            model.display()
        ),
    }
}

fn synthetic(SyntheticDefects { caught, of }: SyntheticDefects) -> String {
    let [low, high] = wilson(caught, of, CONFIDENCE);
    format!(
        "of {of} synthetic defects in good images {caught} score above it, {} (95 % interval {} to {}); real \
         ones may be harder",
        percent(caught as f64 / of.max(1) as f64),
        percent(low),
        percent(high)
    )
}
