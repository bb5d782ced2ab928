//! The promise of a calibrated detector, measured on splits of generated good images.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use std::sync::Arc;

use candle_core::Device;
use fmam_core::{ImageSize, MemorySource, SampleSource, Seed, Silent, Split};
use fmam_experiment::{CalibrationConfig, CalibrationMode, ExperimentError, fit_calibrated};
use fmam_inspection::{Calibration, Procedure};
use fmam_methods::{Detector, RunContext, method};
use fmam_synthesis::Textures;
use fmam_testkit::{striped_scene, striped_train};

const SIZE: ImageSize = ImageSize::square(32);

/// PaDiM on the smallest backbone: fitted in milliseconds.
fn fit(good: &MemorySource, config: CalibrationConfig, seed: u64, threads: usize) -> Detector {
    try_fit("padim", good, config, seed, threads).unwrap()
}

fn try_fit(
    name: &str,
    good: &MemorySource,
    config: CalibrationConfig,
    seed: u64,
    loader_threads: usize,
) -> Result<Detector, ExperimentError> {
    let backbone = fmam_models::backbone("tiny").unwrap().load(None, &Device::Cpu).unwrap();
    let run = RunContext {
        device: Device::Cpu,
        seed: Seed::new(seed),
        preparation: SIZE.into(),
        backbone: Arc::new(backbone),
        textures: Textures::Generated,
        loader_threads,
        progress: &Silent,
        kept: None,
    };
    Ok(fit_calibrated(method(name)?, &toml::Table::new(), good, &run, config, None)?.fitted.detector)
}

/// Mean rate of false alarms over `n_splits` splits of fresh images, and its standard error, for
/// each of `rates`.
fn false_alarms(mode: CalibrationMode, n_good: usize, rates: &[f64], n_splits: u64) -> Vec<(f64, f64)> {
    const N_NEW: usize = 50;
    let mut measured = vec![Vec::new(); rates.len()];
    for split in 0..n_splits {
        // With an exact promise one range of seeds in twenty fails the bound of two standard
        // errors. Over 4000 splits from this seed on the rates are 0.0101, 0.0499 and 0.1003.
        let seed = Seed::new(split + 100_000).derive("split");
        let good = striped_train(n_good, SIZE, seed);
        let detector = fit(&good, CalibrationConfig { mode, false_alarms: 0.1 }, split, 2);
        let new: Vec<_> = (0..N_NEW).map(|k| striped_scene(SIZE, seed.derive_index(k as u64))).collect();
        let scores = detector.score(&new).unwrap();
        for (rate, measured) in rates.iter().zip(&mut measured) {
            let threshold = detector.calibration().unwrap().at_rate(*rate).unwrap();
            let above = scores.iter().filter(|scored| scored.image_score > threshold.score).count();
            measured.push(above as f64 / N_NEW as f64);
        }
    }
    let statistics = |rates: Vec<f64>| {
        let n = rates.len() as f64;
        let mean = rates.iter().sum::<f64>() / n;
        let variance = rates.iter().map(|rate| (rate - mean).powi(2)).sum::<f64>() / (n - 1.0);
        (mean, (variance / n).sqrt())
    };
    measured.into_iter().map(statistics).collect()
}

#[test]
fn held_out_images_keep_the_rate_of_false_alarms() {
    let rates = [0.01, 0.05, 0.1];
    // 99 of 119 images are held out.
    let mode = CalibrationMode::HoldOut { share: 99.0 / 119.0 };
    for (rate, (mean, error)) in rates.iter().zip(false_alarms(mode, 119, &rates, 200)) {
        println!("hold-out, {rate}: {mean:.4} ± {error:.4}");
        assert!(mean <= rate + 2.0 * error, "{rate}: {mean} ± {error}");
        // A threshold that nothing exceeds would keep any promise.
        assert!(mean >= rate / 2.0, "{rate}: {mean} ± {error}");
    }
}

#[test]
fn cross_fitted_images_keep_it_too() {
    let rates = [0.05, 0.1];
    let mode = CalibrationMode::CrossFit { folds: 5 };
    for (rate, (mean, error)) in rates.iter().zip(false_alarms(mode, 40, &rates, 200)) {
        println!("cross-fit, {rate}: {mean:.4} ± {error:.4}");
        assert!(mean <= rate + 2.0 * error, "{rate}: {mean} ± {error}");
    }
}

#[test]
fn one_seed_gives_one_calibration_whatever_the_number_of_threads() {
    let good = striped_train(12, SIZE, Seed::new(5));
    for mode in [CalibrationMode::HoldOut { share: 0.5 }, CalibrationMode::CrossFit { folds: 3 }] {
        let config = CalibrationConfig { mode, false_alarms: 0.2 };
        let calibration = |seed, threads| fit(&good, config, seed, threads).calibration().cloned().unwrap();
        let one: Calibration = calibration(1, 1);
        assert_eq!(one, calibration(1, 3), "{mode}");
        assert_ne!(one.scores(), calibration(2, 1).scores(), "{mode}");
        let synthetic = one.synthetic().unwrap();
        assert!(synthetic.of >= 50 && synthetic.caught > 0, "{synthetic:?}");
        let known = one.known();
        assert_eq!(known.learnt.len() + known.calibrated.len(), good.len());
    }
}

#[test]
fn held_out_images_are_not_learnt_from_and_cross_fitted_ones_are() {
    let good = striped_train(10, SIZE, Seed::new(5));
    let of = |mode| fit(&good, CalibrationConfig { mode, false_alarms: 0.2 }, 1, 1);
    let score = |detector: &Detector| {
        let images: Vec<_> = (0..good.len()).map(|index| good.image(index).unwrap()).collect();
        detector.score(&images).unwrap().iter().map(|scored| scored.image_score).collect::<Vec<_>>()
    };
    let detector = of(CalibrationMode::HoldOut { share: 0.3 });
    let known = detector.calibration().unwrap();
    assert_eq!((known.procedure(), known.scores().count()), (Procedure::HoldOut, 3));
    // The held-out scores are those that the detector itself gives.
    let own = score(&detector);
    assert!(known.scores().sorted().iter().all(|held_out| own.contains(held_out)));

    let crossed = of(CalibrationMode::CrossFit { folds: 5 });
    let known = crossed.calibration().unwrap();
    assert_eq!((known.procedure(), known.scores().count()), (Procedure::CrossFit, 10));
    // The detector has learnt from them all: they score lower than when they were held out.
    let highest = score(&crossed).into_iter().fold(f32::MIN, f32::max);
    assert!(highest < known.scores().sorted()[5], "{highest} against {:?}", known.scores().sorted());
    // And it is the detector of a fit without calibration.
    assert_eq!(score(&crossed), score(&of(CalibrationMode::Off)));
}

#[test]
fn copies_of_an_image_are_learnt_from_or_held_out_together() {
    let mut good = MemorySource::new(Split::Train);
    for index in 0..20 {
        good.push_normal(striped_scene(SIZE, Seed::new(9).derive_index(index / 2)));
    }
    let mode = CalibrationMode::HoldOut { share: 0.3 };
    let detector = fit(&good, CalibrationConfig { mode, false_alarms: 0.25 }, 1, 1);
    let calibration = detector.calibration().unwrap();
    assert_eq!((calibration.known().learnt.len(), calibration.known().calibrated.len()), (7, 3));
    assert_eq!(calibration.scores().count(), 3);
    // Each of the three differs from what was learnt, as without copies.
    let once = (0..10).fold(MemorySource::new(Split::Train), |mut once, index| {
        once.push_normal(striped_scene(SIZE, Seed::new(9).derive_index(index)));
        once
    });
    let detector = fit(&once, CalibrationConfig { mode, false_alarms: 0.25 }, 1, 1);
    assert_eq!(detector.calibration().unwrap().known(), calibration.known());
    let all_alike = (0..6).fold(MemorySource::new(Split::Train), |mut alike, _| {
        alike.push_normal(striped_scene(SIZE, Seed::new(9)));
        alike
    });
    let error = try_fit("padim", &all_alike, CalibrationConfig::default(), 0, 1).unwrap_err();
    assert!(matches!(error, ExperimentError::TooFewImages { found: 1, .. }), "{error}");
}

#[test]
fn too_few_images_are_told_with_the_number_that_is_needed() {
    let images = |n| striped_train(n, SIZE, Seed::new(0));
    for (name, found, needed) in [("padim", 0, 3), ("padim", 2, 3), ("patchcore", 1, 2), ("rkd", 0, 2)] {
        let error = try_fit(name, &images(found), CalibrationConfig::default(), 0, 1).unwrap_err();
        let ExperimentError::TooFewImages { found: said, needed: needs, .. } = &error else {
            panic!("{name}: {error:?}")
        };
        assert_eq!((*said, *needs), (found, needed), "{name}: {error}");
    }
    assert!(try_fit("padim", &images(3), CalibrationConfig::default(), 0, 1).is_ok());
    let rate = CalibrationConfig { false_alarms: 1.0, ..CalibrationConfig::default() };
    assert!(matches!(try_fit("padim", &images(9), rate, 0, 1), Err(ExperimentError::Inspection(_))));
    let empty = MemorySource::new(Split::Train);
    assert!(try_fit("padim", &empty, CalibrationConfig::OFF, 0, 1).is_err());
}
