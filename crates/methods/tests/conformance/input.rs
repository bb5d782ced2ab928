//! Settings, images and saved models that are unusual or wrong.

use super::*;

#[test]
fn bad_input_is_refused_with_its_own_error() {
    struct Stopped;
    impl Progress for Stopped {
        fn start(&self, _: &fmam_core::StageId, _: u64) {}
        fn update(&self, _: u64, _: &str) {}
        fn finish(&self) {}
        fn cancelled(&self) -> bool {
            true
        }
    }
    for entry in methods() {
        let empty = striped_train(0, SIZE, Seed::new(1));
        let result = quick(entry, EPOCHS).fit(&empty, &context(0, 1, &Silent));
        let is_refused = matches!(result, Err(MethodError::NoTrainingImages));
        assert!(is_refused, "{}: `fit` must give NoTrainingImages for an empty source", entry.name);
        let train = striped_train(8, SIZE, Seed::new(1));
        let result = quick(entry, EPOCHS).fit(&train, &context(0, 1, &Stopped));
        let is_stopped = matches!(result, Err(MethodError::Cancelled));
        assert!(is_stopped, "{}: `fit` must ask `run.progress.cancelled()` at every step", entry.name);
        let unknown = toml::Table::from_iter([("no_such_key".to_owned(), toml::Value::Integer(1))]);
        let is_refused = matches!((entry.build)(unknown), Err(MethodError::Config { .. }));
        assert!(is_refused, "{}: `build` must refuse unknown keys, as Settings::read does", entry.name);
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
    let missing = load_detector(folder.path(), device()).err().unwrap();
    assert!(missing.to_string().contains("model.toml"), "{missing}");
    let dir = folder.path().join("model");
    let fitted = fit(method("rkd").unwrap(), 0, 2);
    fitted.detector.save(&dir).unwrap();
    let student = dir.join("student.safetensors");
    let whole = std::fs::read(&student).unwrap();
    std::fs::write(&student, &whole[..whole.len() / 2]).unwrap();
    let error = load_detector(&dir, device()).err().unwrap();
    assert!(error.to_string().contains("student.safetensors"), "{error}");
    std::fs::copy(dir.join("teacher.safetensors"), &student).unwrap();
    let error = load_detector(&dir, device()).err().unwrap();
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
        // Here too: 64 patches of 28 values, twice.
        ("patchcore", "gallery_bytes = 75000"),
        ("patchcore", "first_scale = 0\ncoreset_ratio = 0.2\nprojection = 8"),
        // One kept patch: nothing to weigh the score by.
        ("patchcore", "coreset_ratio = 0.001\nneighbours = 1"),
        ("fcdd", "epochs = 1\nexposure = 'confetti'\nscale = 0\nreceptive_sigma = 0.05\nwidth = 8"),
        ("mrkd", "epochs = 1\ndirection_weight = 0.0\nopening = 1"),
        ("puzzle-ae", "epochs = 1\nwidth = 2\nepsilon = 0.0"),
        ("puzzle-ae", "epochs = 1\nwidth = 2\nadversarial_steps = 3"),
    ];
    for (number, (name, settings)) in cases.into_iter().enumerate().filter(|(_, case)| is_asked_for(case.0)) {
        let method = (method(name).unwrap().build)(toml::from_str(settings).unwrap()).unwrap();
        let detector = method.fit(&train, &context(0, 1, &Silent)).unwrap().detector;
        let predictions = detector.score(&images).unwrap();
        let finite =
            |p: &Prediction| p.image_score.is_finite() && p.anomaly_map.data().iter().all(|v| v.is_finite());
        assert!(predictions.iter().all(finite), "{name}: {settings}");
        assert!(predictions.iter().any(|p| p.image_score > 0.0), "{name}: {settings}");
        let dir = folder.path().join(number.to_string());
        detector.save(&dir).unwrap();
        let loaded = load_detector(&dir, device()).unwrap();
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
        ("teacher", "blur_sigma = 300.0", "blur_sigma"),
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
    // Settings that depend on the backbone or the data are refused when fitting begins.
    let train = striped_train(4, SIZE, Seed::new(1));
    for (name, setting, key) in [
        ("padim", "centre_crop = 40", "centre_crop"),
        ("padim", "centre_crop = 128", "centre_crop"),
        ("spade", "gallery_bytes = 1000", "gallery_bytes"),
        ("patchcore", "first_scale = 3", "first_scale"),
        ("patchcore", "gallery_bytes = 1000", "gallery_bytes"),
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
    for entry in methods() {
        let detector = quick(entry, 1).fit(&train, &context(0, 1, &Silent)).unwrap().detector;
        let dir = folder.path().join(entry.name);
        detector.save(&dir).unwrap();
        let manifest = std::fs::read_to_string(dir.join("model.toml")).unwrap();
        for (side, images) in [(96, &larger), (33, &odd)] {
            let edited = manifest.replace("= 64", &format!("= {side}"));
            assert_ne!(edited, manifest, "{}", entry.name);
            std::fs::write(dir.join("model.toml"), edited).unwrap();
            // A map of another size may be right for a method that looks at each position alike.
            if let Ok(loaded) = load_detector(&dir, device())
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
                assert!(load_detector(&dir, device()).is_err(), "{}: {}", entry.name, file.display());
                std::fs::write(&file, whole).unwrap();
            }
        }
    }
}
