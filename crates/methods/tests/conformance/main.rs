//! Walks the table of methods: whatever is registered must fit, score, repeat itself and survive saving.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helper functions too")]

mod input;
mod mapping;
mod precision;

use std::collections::BTreeSet;
use std::sync::Arc;

use candle_core::Device;
use fmam_core::{ImageSize, Label, Mask, Progress, RgbImage, SampleSource, Seed, Silent};
use fmam_methods::{
    Fitted, METHODS, Method, MethodEntry, MethodError, Prediction, RunContext, load_detector, method,
};
use fmam_models::{load_backbone, random_backbone};
use fmam_synthesis::Textures;
use fmam_testkit::{striped_test, striped_train};

const SIZE: ImageSize = ImageSize::square(64);

fn quick(entry: &MethodEntry) -> Box<dyn Method> {
    let mut table = toml::Table::new();
    if entry.trains().unwrap() {
        table.insert("epochs".into(), toml::Value::Integer(12));
    }
    // Small networks; and fewer channels than the backbone has, so that they are drawn.
    for (name, key, value) in [("padim", "channels", 20), ("puzzle-ae", "width", 4), ("fcdd", "width", 16)] {
        if entry.name == name {
            table.insert(key.into(), toml::Value::Integer(value));
        }
    }
    (entry.build)(table).unwrap_or_else(|e| panic!("{}: {e}", entry.name))
}

fn context<'a>(seed: u64, loader_threads: usize, progress: &'a dyn Progress) -> RunContext<'a> {
    RunContext {
        device: Device::Cpu,
        seed: Seed::new(seed),
        image_size: SIZE,
        backbone: Arc::new(load_backbone("tiny", None, &Device::Cpu).unwrap()),
        textures: Textures::Generated,
        loader_threads,
        progress,
    }
}

fn fit(entry: &MethodEntry, seed: u64, threads: usize) -> Fitted {
    let train = striped_train(24, SIZE, Seed::new(1));
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
        quick(entry)
            .fit(&train, &context(seed, threads, &Silent))
            .unwrap_or_else(|e| panic!("{}: {e}", entry.name))
    })
}

fn test_images() -> (Vec<RgbImage>, Vec<Mask>, Vec<Label>) {
    let test = striped_test(6, 6, SIZE, Seed::new(2));
    let masks = (0..test.len()).map(|i| test.mask(i).unwrap().unwrap()).collect();
    let labels = (0..test.len()).map(|i| test.sample(i).label).collect();
    ((0..test.len()).map(|i| test.image(i).unwrap()).collect(), masks, labels)
}

fn bits(predictions: &[Prediction]) -> Vec<u32> {
    predictions
        .iter()
        .flat_map(|p| p.anomaly_map.data().iter().copied().chain([p.image_score]))
        .map(f32::to_bits)
        .collect()
}

#[test]
fn every_method_finds_the_defect_and_survives_saving() {
    let (images, masks, labels) = test_images();
    let folder = tempfile::tempdir().unwrap();
    for entry in METHODS {
        let name = entry.name;
        let fitted = fit(entry, 0, 2);
        let detector = fitted.detector;
        let predictions = detector.score(&images).unwrap();
        assert_eq!(predictions.len(), images.len(), "{name}");
        let (mut inside, mut outside, mut normal, mut anomalous) = (0.0, 0.0, 0.0, 0.0);
        for ((prediction, mask), label) in predictions.iter().zip(&masks).zip(&labels) {
            assert_eq!(prediction.anomaly_map.size(), SIZE, "{name}");
            assert!(prediction.anomaly_map.data().iter().all(|v| v.is_finite()), "{name}");
            match label {
                Label::Normal => normal += f64::from(prediction.image_score),
                Label::Anomalous => {
                    anomalous += f64::from(prediction.image_score);
                    for (v, m) in prediction.anomaly_map.data().iter().zip(mask.data()) {
                        let share = f64::from(*v)
                            / if *m == 1 { mask.area() as f64 } else { (SIZE.pixels() - mask.area()) as f64 };
                        if *m == 1 { inside += share } else { outside += share }
                    }
                }
            }
        }
        // One mean feature does not know that stripes are normal; the others do.
        if name != "teacher" {
            assert!(inside > outside, "{name}: {inside} inside the defects, {outside} outside");
        }
        assert!(anomalous > normal, "{name}: anomalous {anomalous}, normal {normal}");

        // One image alone gives the same bits as in company.
        let alone = detector.score(&images[3..4]).unwrap();
        assert_eq!(bits(&alone), bits(&predictions[3..4]), "{name}");

        let dir = folder.path().join(name);
        detector.save(&dir).unwrap();
        let loaded = load_detector(&dir, &Device::Cpu).unwrap();
        assert_eq!(loaded.image_size(), SIZE, "{name}");
        assert_eq!(bits(&loaded.score(&images).unwrap()), bits(&predictions), "{name}: changed by saving");
        assert!(matches!(detector.save(&dir), Err(MethodError::Write { .. })), "{name}: overwrote a model");
        let left: Vec<_> =
            std::fs::read_dir(folder.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        assert!(left.iter().all(|n| !n.to_string_lossy().contains("partial")), "{left:?}");
    }
}

#[test]
fn one_seed_gives_one_result_for_any_number_of_threads() {
    let (images, ..) = test_images();
    for entry in METHODS {
        let one = bits(&fit(entry, 5, 1).detector.score(&images).unwrap());
        let three = bits(&fit(entry, 5, 3).detector.score(&images).unwrap());
        assert!(one == three, "{}: depends on the number of threads", entry.name);
        let other = bits(&fit(entry, 6, 1).detector.score(&images).unwrap());
        assert_eq!(one != other, entry.is_seeded, "{}: what another seed changes", entry.name);
    }
}

#[test]
fn training_lowers_the_loss_in_every_stage() {
    for entry in METHODS.iter().filter(|entry| entry.trains().unwrap()) {
        let curve = fit(entry, 0, 2).curve;
        let stages: BTreeSet<&str> = curve.iter().map(|point| point.stage.as_str()).collect();
        assert_eq!(stages.len(), if entry.name.ends_with("+fmam") { 2 } else { 1 }, "{}", entry.name);
        for stage in stages {
            let losses: Vec<f64> = curve.iter().filter(|p| p.stage == stage).map(|p| p.loss).collect();
            assert_eq!(losses.len(), 12, "{} {stage}", entry.name);
            // A few steps each, on other defects each time: only means over epochs can be compared.
            let mean = |losses: &[f64]| losses.iter().sum::<f64>() / losses.len() as f64;
            let (first, last) = (mean(&losses[..4]), mean(&losses[8..]));
            assert!(last < first, "{} {stage}: {first} to {last} in {losses:?}", entry.name);
        }
    }
}

#[test]
fn features_disagree_with_what_is_expected_where_the_map_is_high() {
    let (images, ..) = test_images();
    for entry in METHODS.iter().filter(|entry| entry.name.starts_with("nkd") || entry.name.starts_with("rkd"))
    {
        let detector = fit(entry, 0, 1).detector;
        let Some(features) = detector.features(&images[..1]).unwrap() else { continue };
        let Some(expected) = features.expected else { continue };
        let given = features.adapted.unwrap_or(features.teacher);
        // The sum of the distances of the scales is the map before it is blurred: its mean differs by little.
        let mut mean = 0.0;
        for (given, expected) in given.scales.iter().zip(&expected.scales) {
            let distance = fmam_ops::cosine_distance(given, expected).unwrap();
            mean += distance.mean_all().unwrap().to_scalar::<f32>().unwrap();
        }
        let map = &detector.score(&images[..1]).unwrap()[0].anomaly_map;
        let of_map = map.data().iter().sum::<f32>() / map.data().len() as f32;
        assert!((mean - of_map).abs() < 0.2 * of_map, "{}: {mean} and {of_map}", entry.name);
    }
}

#[test]
fn the_resolved_configuration_tells_how_long_each_stage_lasts() {
    let epochs = |name: &str, settings: &str, n_images: usize| {
        let method = (method(name).unwrap().build)(toml::from_str(settings).unwrap()).unwrap();
        let config = method.plan(n_images).unwrap().settings;
        (config["epochs"].as_u64(), config["mapping"]["epochs"].as_u64())
    };
    assert_eq!(epochs("rkd", "", 320), (Some(100), None));
    // 600 steps of 8 images.
    assert_eq!(epochs("rkd+fmam", "", 320), (Some(100), Some(15)));
    assert_eq!(epochs("rkd+fmam", "epochs = 3", 320), (Some(3), Some(3)));
    assert_eq!(epochs("nkd+fmam", "epochs = 3\nmapping.epochs = 9", 320), (Some(3), Some(9)));
}
