//! Exported detectors, run by a runtime that shares no code with this workspace.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use fmam::{ErrorKind, Fit, ImageSize, InputSize, RgbImage, SampleSource, Seed, Session};
use fmam_testkit::{striped_scene, striped_scene_with_square, striped_train};
use tract_onnx::prelude::*;

const SIZE: ImageSize = ImageSize::new(64, 96);

/// The image score and the map of `image` by the file `onnx`.
fn run(onnx: &[u8], image: &RgbImage) -> (f32, Vec<f32>, Option<(f32, bool)>) {
    let model = tract_onnx::onnx().model_for_read(&mut &onnx[..]).unwrap();
    let model = model.into_optimized().unwrap().into_runnable().unwrap();
    let ImageSize { height, width } = image.size();
    let pixels = Tensor::from_shape(&[height, width, 3], image.data()).unwrap();
    let found = model.run(tvec!(pixels.into())).unwrap();
    let floats =
        |at: usize| -> Vec<f32> { found[at].to_plain_array_view::<f32>().unwrap().iter().copied().collect() };
    let verdict = (found.len() == 4).then(|| {
        let defective = *found[3].to_plain_array_view::<bool>().unwrap().iter().next().unwrap();
        (floats(2)[0], defective)
    });
    (floats(0)[0], floats(1), verdict)
}

#[test]
fn the_file_of_every_method_gives_its_verdict() {
    let session = Session::builder().threads(2).build().unwrap();
    let train = striped_train(12, SIZE, Seed::new(0));
    let good: Vec<RgbImage> = (0..train.len()).map(|n| train.image(n).unwrap()).collect();
    let images = [striped_scene(SIZE, Seed::new(7)), striped_scene_with_square(SIZE, Seed::new(8)).0];
    let mut refused = Vec::new();
    for entry in session.registry().methods() {
        let name = entry.name;
        let mut fit = Fit::new().method(name).backbone("tiny").image_sides(SIZE.height, SIZE.width).epochs(1);
        if name.ends_with("+fmam") {
            fit = fit.set("mapping.epochs", 1).unwrap();
        }
        let detector = session.fit(good.clone(), &fit).unwrap();
        let onnx = match session.onnx(&detector, InputSize::Fixed) {
            Ok(onnx) => onnx,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Usage, "{name}: {error}");
                refused.push(name);
                continue;
            }
        };
        for verdict in session.predict(&detector, &images) {
            let verdict = verdict.unwrap();
            let (score, map, decision) = run(&onnx, &verdict.image);
            let own = verdict.prediction.image_score;
            assert!((score - own).abs() < 1e-4 * own.abs(), "{name}: {score} instead of {own}");
            let expected = verdict.prediction.anomaly_map.data();
            let range = verdict.prediction.anomaly_map.max() - verdict.prediction.anomaly_map.min();
            let worst = map.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            assert!(worst < 1e-3 * range, "{name}: the map is off by {worst} of {range}");
            let inspection = verdict.inspection.unwrap();
            let is_defect = inspection.outcome == fmam::Outcome::Defect;
            assert_eq!(decision, Some((inspection.threshold.score, is_defect)), "{name}");
        }
    }
    assert_eq!(refused, ["mrkd"]);
}
