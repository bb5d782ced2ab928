//! Walks the table of methods: whatever is registered must fit, score, repeat itself and survive saving.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking, in its helper functions too")]

use std::collections::BTreeSet;
use std::sync::Arc;

use candle_core::Device;
use fmam_core::{ImageSize, Mask};
use fmam_core::{Label, Progress, RgbImage, SampleSource, Seed, Silent};
use fmam_methods::{
    Fitted, METHODS, Method, MethodEntry, MethodError, Prediction, RunContext, load_detector, method,
};
use fmam_models::{load_backbone, random_backbone};
use fmam_synthesis::Textures;
use fmam_testkit::{striped_test, striped_train};

const SIZE: ImageSize = ImageSize::square(64);

/// Whether the method trains, and so has a number of epochs.
fn trains(entry: &MethodEntry) -> bool {
    (entry.build)(toml::Table::new()).unwrap().config(24).get("epochs").is_some()
}

fn quick(entry: &MethodEntry) -> Box<dyn Method> {
    let mut table = toml::Table::new();
    if trains(entry) {
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
        assert!(inside > outside, "{name}: {inside} inside the defects, {outside} outside");
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
    for entry in METHODS.iter().filter(|entry| trains(entry)) {
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
fn an_untrained_mapping_whitens_and_adapted_features_can_be_seen() {
    let (images, ..) = test_images();
    let table = toml::from_str("epochs = 1\nmapping.epochs = 0").unwrap();
    let train = striped_train(8, SIZE, Seed::new(1));
    let fitted =
        (method("rkd+fmam").unwrap().build)(table).unwrap().fit(&train, &context(0, 1, &Silent)).unwrap();
    assert!(fitted.curve.iter().all(|point| point.stage == "student"));
    let features = fitted.detector.features(&images).unwrap().unwrap();
    let adapted = features.adapted.unwrap();
    for (before, after) in features.teacher.scales.iter().zip(&adapted.scales) {
        assert_eq!(before.dims(), after.dims());
    }
    // On normal training images each channel has the offset as its mean.
    let normal: Vec<_> = (0..8).map(|i| train.image(i).unwrap()).collect();
    let normal = fitted.detector.features(&normal).unwrap().unwrap().adapted.unwrap();
    for scale in &normal.scales {
        let means = scale.mean((0, 2, 3)).unwrap().to_vec1::<f32>().unwrap();
        assert!(means.iter().all(|mean| (mean - 1.0).abs() < 1e-2), "{means:?}");
    }
    let plain = fit(method("rkd").unwrap(), 0, 1).detector.features(&images[..1]).unwrap().unwrap();
    assert!(plain.adapted.is_none());
    assert_eq!(plain.expected.unwrap().scales[0].dims(), plain.teacher.scales[0].dims());
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
        let config = method.config(n_images);
        (config["epochs"].as_u64(), config["mapping"]["epochs"].as_u64())
    };
    assert_eq!(epochs("rkd", "", 320), (Some(100), None));
    // 600 steps of 8 images.
    assert_eq!(epochs("rkd+fmam", "", 320), (Some(100), Some(15)));
    assert_eq!(epochs("rkd+fmam", "epochs = 3", 320), (Some(3), Some(3)));
    assert_eq!(epochs("nkd+fmam", "epochs = 3\nmapping.epochs = 9", 320), (Some(3), Some(9)));
}

#[test]
fn a_mapping_is_trained_behind_the_student_or_before_it() {
    let (images, ..) = test_images();
    let train = striped_train(8, SIZE, Seed::new(1));
    let folder = tempfile::tempdir().unwrap();
    let fit = |name: &str, settings: &str| {
        let table = toml::from_str(&format!("epochs = 3\n{settings}")).unwrap();
        let method = (method("rkd+fmam").unwrap().build)(table).unwrap();
        let fitted = method.fit(&train, &context(0, 1, &Silent)).unwrap();
        let dir = folder.path().join(name);
        fitted.detector.save(&dir).unwrap();
        let scores = bits(&fitted.detector.score(&images).unwrap());
        assert_eq!(
            bits(&load_detector(&dir, &Device::Cpu).unwrap().score(&images).unwrap()),
            scores,
            "{name}"
        );
        let stages: Vec<String> = fitted.curve.into_iter().map(|point| point.stage).collect();
        (stages, scores, std::fs::read(dir.join("student.safetensors")).unwrap())
    };
    let (stages, whitened, student) = fit("whitened", "mapping.epochs = 0");
    assert_eq!(stages, ["student"; 3]);
    let (stages, mapped, same) = fit("mapped", "mapping.epochs = 2");
    assert_eq!(stages, ["student", "student", "student", "feature-mapping", "feature-mapping"]);
    // It leaves the student as it is, and changes what is compared.
    assert!(student == same && whitened != mapped);
    let (stages, target, other) = fit("target", "mapping.epochs = 2\nmapping.adaptation = 'target-mapping'");
    assert_eq!(stages, ["feature-mapping", "feature-mapping", "student", "student", "student"]);
    assert!(other != student && target != mapped);
}

#[test]
fn the_last_block_can_be_trained_instead_of_a_mapping() {
    let (images, ..) = test_images();
    let table =
        toml::from_str("epochs = 4\nmapping.adaptation = 'last-block'\nscoring.reference = 'position'");
    let train = striped_train(8, SIZE, Seed::new(1));
    let run = context(0, 1, &Silent);
    let fitted = (method("rkd+fmam").unwrap().build)(table.unwrap()).unwrap().fit(&train, &run).unwrap();
    let losses: Vec<f64> =
        fitted.curve.iter().filter(|p| p.stage == "feature-mapping").map(|p| p.loss).collect();
    assert!(losses.len() == 4 && losses[3] < losses[0], "{losses:?}");
    let folder = tempfile::tempdir().unwrap();
    fitted.detector.save(&folder.path().join("model")).unwrap();
    let loaded = load_detector(&folder.path().join("model"), &Device::Cpu).unwrap();
    assert_eq!(bits(&loaded.score(&images).unwrap()), bits(&fitted.detector.score(&images).unwrap()));
    // The finer scales are the teacher's own, the coarsest is not.
    let tuned = loaded.features(&images[..1]).unwrap().unwrap().teacher;
    let plain = fit(method("rkd").unwrap(), 0, 1).detector.features(&images[..1]).unwrap().unwrap().teacher;
    let values = |tensor: &candle_core::Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    assert!((0..2).all(|k| values(&tuned.scales[k]) == values(&plain.scales[k])));
    assert!(values(&tuned.scales[2]) != values(&plain.scales[2]));
}

#[test]
fn students_that_end_in_a_relu_learn_whitened_features_of_either_sign() {
    let train = striped_train(4, SIZE, Seed::new(1));
    let backbone = random_backbone("resnet18", Seed::new(3), &Device::Cpu).unwrap();
    let run = RunContext { backbone: Arc::new(backbone), ..context(0, 1, &Silent) };
    for name in ["nkd+fmam", "rkd+fmam"] {
        let table = toml::from_str("epochs = 6\nbatch_size = 4\nmapping.epochs = 0").unwrap();
        let fitted = (method(name).unwrap().build)(table).unwrap().fit(&train, &run).unwrap();
        let losses: Vec<f64> = fitted.curve.iter().map(|point| point.loss).collect();
        // Whitened features have as much below zero as an output of one sign cannot give.
        assert!(losses[5] < 0.9 * losses[0], "{name}: {losses:?}");
        let folder = tempfile::tempdir().unwrap();
        let images = test_images().0;
        fitted.detector.save(&folder.path().join("model")).unwrap();
        let loaded = load_detector(&folder.path().join("model"), &Device::Cpu).unwrap();
        assert_eq!(
            bits(&loaded.score(&images[..2]).unwrap()),
            bits(&fitted.detector.score(&images[..2]).unwrap())
        );
    }
}

#[test]
fn bad_input_is_refused_with_its_own_error() {
    struct Stopped;
    impl Progress for Stopped {
        fn start(&self, _: &str, _: u64) {}
        fn update(&self, _: u64, _: &str) {}
        fn finish(&self) {}
        fn cancelled(&self) -> bool {
            true
        }
    }
    for entry in METHODS {
        let empty = striped_train(0, SIZE, Seed::new(1));
        let result = quick(entry).fit(&empty, &context(0, 1, &Silent));
        assert!(matches!(result, Err(MethodError::NoTrainingImages)), "{}", entry.name);
        let train = striped_train(8, SIZE, Seed::new(1));
        let result = quick(entry).fit(&train, &context(0, 1, &Stopped));
        assert!(matches!(result, Err(MethodError::Cancelled)), "{}", entry.name);
        let unknown = toml::Table::from_iter([("no_such_key".to_owned(), toml::Value::Integer(1))]);
        assert!(matches!((entry.build)(unknown), Err(MethodError::Config { .. })), "{}", entry.name);
    }
    let zero = toml::Table::from_iter([("epochs".to_owned(), toml::Value::Integer(0))]);
    assert!(matches!(
        (method("nkd").unwrap().build)(zero),
        Err(MethodError::ConfigValue { key: "epochs", .. })
    ));
    let mapping = toml::Table::from_iter([("mapping".to_owned(), toml::Value::Table(toml::Table::new()))]);
    assert!(matches!(
        (method("nkd").unwrap().build)(mapping),
        Err(MethodError::ConfigValue { key: "mapping", .. })
    ));
    assert!(matches!(method("none"), Err(MethodError::UnknownMethod { .. })));
}

#[test]
fn a_damaged_model_folder_names_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let missing = load_detector(folder.path(), &Device::Cpu).err().unwrap();
    assert!(missing.to_string().contains("model.toml"), "{missing}");
    let dir = folder.path().join("model");
    let fitted = fit(method("rkd").unwrap(), 0, 2);
    fitted.detector.save(&dir).unwrap();
    let student = dir.join("student.safetensors");
    let whole = std::fs::read(&student).unwrap();
    std::fs::write(&student, &whole[..whole.len() / 2]).unwrap();
    let error = load_detector(&dir, &Device::Cpu).err().unwrap();
    assert!(error.to_string().contains("student.safetensors"), "{error}");
    std::fs::copy(dir.join("teacher.safetensors"), &student).unwrap();
    let error = load_detector(&dir, &Device::Cpu).err().unwrap();
    assert!(error.to_string().contains("student.safetensors"), "{error}");
    let images = [RgbImage::filled(ImageSize::square(32), [0; 3])];
    assert!(matches!(fitted.detector.score(&images), Err(MethodError::ImageSize { .. })));
}

#[test]
fn other_settings_survive_saving_too() {
    let (images, ..) = test_images();
    let train = striped_train(8, SIZE, Seed::new(1));
    let folder = tempfile::tempdir().unwrap();
    let cases = [
        ("padim", "centre_crop = 32\nchannels = 6"),
        ("spade", "half_precision = true\nneighbours = 3"),
        // Five of eight images fit.
        ("spade", "gallery_bytes = 200000"),
        ("patchcore", "first_scale = 0\ncoreset_ratio = 0.2\nprojection = 8"),
        // One kept patch: nothing to weigh the score by.
        ("patchcore", "coreset_ratio = 0.001\nneighbours = 1"),
        ("fcdd", "epochs = 1\nexposure = 'confetti'\nscale = 0\nreceptive_sigma = 0.05\nwidth = 8"),
        ("mrkd", "epochs = 1\ndirection_weight = 0.0\nopening = 1"),
        ("puzzle-ae", "epochs = 1\nwidth = 2\nepsilon = 0.0"),
        ("puzzle-ae", "epochs = 1\nwidth = 2\nadversarial_steps = 3"),
    ];
    for (number, (name, settings)) in cases.into_iter().enumerate() {
        let method = (method(name).unwrap().build)(toml::from_str(settings).unwrap()).unwrap();
        let detector = method.fit(&train, &context(0, 1, &Silent)).unwrap().detector;
        let predictions = detector.score(&images).unwrap();
        let finite =
            |p: &Prediction| p.image_score.is_finite() && p.anomaly_map.data().iter().all(|v| v.is_finite());
        assert!(predictions.iter().all(finite), "{name}: {settings}");
        assert!(predictions.iter().any(|p| p.image_score > 0.0), "{name}: {settings}");
        let dir = folder.path().join(number.to_string());
        detector.save(&dir).unwrap();
        let loaded = load_detector(&dir, &Device::Cpu).unwrap();
        assert_eq!(bits(&loaded.score(&images).unwrap()), bits(&predictions), "{name}: {settings}");
    }
}

#[test]
fn settings_out_of_range_are_refused_by_their_key() {
    for (name, setting, key) in [
        ("padim", "channels = 0", "channels"),
        ("padim", "regularization = 0.0", "regularization"),
        ("spade", "neighbours = 0", "neighbours"),
        ("spade", "blur_sigma = -1.0", "blur_sigma"),
        ("patchcore", "coreset_ratio = 0.0", "coreset_ratio"),
        ("patchcore", "coreset_ratio = 1.5", "coreset_ratio"),
        ("fcdd", "width = 0", "width"),
        ("fcdd", "receptive_sigma = 0.0", "receptive_sigma"),
        ("fcdd", "epochs = 0", "epochs"),
        ("mrkd", "direction_weight = -1.0", "direction_weight"),
        ("mrkd", "opening = 0", "opening"),
        ("mrkd", "learning_rate = 0.0", "learning_rate"),
        ("puzzle-ae", "epsilon = 2.0", "epsilon"),
        ("puzzle-ae", "adversarial_steps = 0", "adversarial_steps"),
        ("puzzle-ae", "width = 0", "width"),
        ("puzzle-ae", "batch_size = 0", "batch_size"),
    ] {
        let error = (method(name).unwrap().build)(toml::from_str(setting).unwrap()).err();
        let refused = matches!(&error, Some(MethodError::ConfigValue { key: named, .. }) if *named == key);
        assert!(refused, "{name}: {setting}: {error:?}");
    }
    // What depends on the backbone or the data is told when fitting begins.
    let train = striped_train(4, SIZE, Seed::new(1));
    for (name, setting, key) in [
        ("padim", "centre_crop = 40", "centre_crop"),
        ("padim", "centre_crop = 128", "centre_crop"),
        ("spade", "gallery_bytes = 1000", "gallery_bytes"),
        ("patchcore", "first_scale = 3", "first_scale"),
        ("fcdd", "scale = 3", "scale"),
    ] {
        let method = (method(name).unwrap().build)(toml::from_str(setting).unwrap()).unwrap();
        let error = method.fit(&train, &context(0, 1, &Silent)).err();
        let refused = matches!(&error, Some(MethodError::ConfigValue { key: named, .. }) if *named == key);
        assert!(refused, "{name}: {setting}: {error:?}");
    }
}

#[test]
fn a_model_whose_parts_do_not_fit_is_an_error_and_never_a_panic() {
    let train = striped_train(4, SIZE, Seed::new(1));
    let larger = [RgbImage::filled(ImageSize::square(96), [90; 3])];
    let odd = [RgbImage::filled(ImageSize::square(33), [90; 3])];
    let folder = tempfile::tempdir().unwrap();
    for entry in METHODS {
        let table = if trains(entry) { toml::from_str("epochs = 1").unwrap() } else { toml::Table::new() };
        let method = (entry.build)(table).unwrap();
        let detector = method.fit(&train, &context(0, 1, &Silent)).unwrap().detector;
        let dir = folder.path().join(entry.name);
        detector.save(&dir).unwrap();
        let manifest = std::fs::read_to_string(dir.join("model.toml")).unwrap();
        for (side, images) in [(96, &larger), (33, &odd)] {
            let edited = manifest.replace("= 64", &format!("= {side}"));
            assert_ne!(edited, manifest, "{}", entry.name);
            std::fs::write(dir.join("model.toml"), edited).unwrap();
            // A map of another size may be right for a method that looks at each position alike.
            if let Ok(loaded) = load_detector(&dir, &Device::Cpu)
                && let Ok(predictions) = loaded.score(images)
            {
                assert_eq!(predictions[0].anomaly_map.size(), images[0].size(), "{}", entry.name);
                assert_ne!(entry.name, "padim", "a Gaussian of another grid was used");
            }
        }
        std::fs::write(dir.join("model.toml"), &manifest).unwrap();
        for file in std::fs::read_dir(&dir).unwrap().map(|file| file.unwrap().path()) {
            if file.extension().is_some_and(|extension| extension == "safetensors") {
                let whole = std::fs::read(&file).unwrap();
                std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
                assert!(load_detector(&dir, &Device::Cpu).is_err(), "{}: {}", entry.name, file.display());
                std::fs::write(&file, whole).unwrap();
            }
        }
    }
}
