//! A device gives the results of a CPU. `FMAM_TEST_DEVICE=cuda` names the one to test.

use super::*;

/// Compares scores relative to the largest of a map.
pub(super) fn assert_same_verdicts(what: &str, found: &[Prediction], expected: &[Prediction]) {
    const TOLERANCE: f32 = 1e-3;
    assert_eq!(found.len(), expected.len(), "{what}");
    for (found, expected) in found.iter().zip(expected) {
        let values = |p: &Prediction| [p.anomaly_map.data(), &[p.image_score]].concat();
        let (found, expected) = (values(found), values(expected));
        let largest = expected.iter().fold(1e-6_f32, |largest, v| largest.max(v.abs()));
        for (found, expected) in found.iter().zip(&expected) {
            let close = (found - expected).abs() <= TOLERANCE * largest;
            assert!(close, "{what}: {found} on the device, {expected} on the CPU (largest {largest})");
        }
    }
}

#[test]
fn a_detector_scores_on_a_device_as_on_a_cpu() {
    if device().is_cpu() {
        eprintln!("skipped: set FMAM_TEST_DEVICE=cuda to compare a GPU with the CPU");
        return;
    }
    let (images, ..) = test_images();
    let folder = tempfile::tempdir().unwrap();
    for entry in methods() {
        let train = striped_train(24, SIZE, Seed::new(1));
        let fitted = quick(entry, EPOCHS).fit(&train, &context_on(&Device::Cpu, 0, 2, &Silent)).unwrap();
        let dir = folder.path().join(entry.name);
        fitted.detector.save(&dir).unwrap();
        let expected = fitted.detector.score(&images).unwrap();
        let found = load_detector(&dir, device()).unwrap().score(&images).unwrap();
        assert_same_verdicts(entry.name, &found, &expected);
    }
}

#[test]
fn a_training_begins_on_a_device_as_on_a_cpu() {
    if device().is_cpu() {
        eprintln!("skipped: set FMAM_TEST_DEVICE=cuda to compare a GPU with the CPU");
        return;
    }
    for entry in methods() {
        let train = striped_train(24, SIZE, Seed::new(1));
        let curve = |device: &Device| {
            quick(entry, EPOCHS).fit(&train, &context_on(device, 0, 2, &Silent)).unwrap().curve
        };
        // Rounding errors grow with the steps: the first epoch of each stage is compared.
        for (found, expected) in curve(device()).iter().zip(&curve(&Device::Cpu)) {
            if found.epoch == 1 {
                let close = (found.loss - expected.loss).abs() <= 1e-2 * expected.loss.abs();
                assert!(close, "{}: {found:?} instead of {expected:?}", entry.name);
            }
        }
    }
}
