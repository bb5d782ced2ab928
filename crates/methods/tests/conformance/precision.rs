//! Methods whose networks compute in bf16.

use fmam_models::Precision;

use super::*;

/// Fits with `settings` in both precisions. Both detectors must come back from disk as they were,
/// and the scores must differ.
fn check_both_precisions(entry: &MethodEntry, settings: &toml::Table) {
    let name = entry.name;
    let train = striped_train(8, SIZE, Seed::new(1));
    let images = &test_images().0[..4];
    let folder = tempfile::tempdir().unwrap();
    let fit = |precision: Precision| {
        let backbone = small_backbone(device()).with_precision(precision);
        let run = RunContext { backbone: Arc::new(backbone), ..context(0, 2, &Silent) };
        let detector = (entry.build)(settings.clone()).unwrap().fit(&train, &run).unwrap().detector;
        let dir = folder.path().join(precision.name());
        detector.save(&dir).unwrap();
        let predictions = detector.score(images).unwrap();
        let loaded = load_detector(&dir, device()).unwrap();
        assert_eq!(
            bits(&loaded.score(images).unwrap()),
            bits(&predictions),
            "{name}: the loaded detector scores otherwise in {}: `Scorer::backbone` must give the backbone",
            precision.name()
        );
        (predictions, std::fs::read_to_string(dir.join("model.toml")).unwrap())
    };
    let (exact, model) = fit(Precision::F32);
    assert!(!model.contains("\nprecision"), "{name}: {model}");
    let (rounded, model) = fit(Precision::Bf16);
    assert!(model.contains("\nprecision = \"bf16\""), "{name}: {model}");
    assert_ne!(bits(&rounded), bits(&exact), "{name}: bf16 gave the bits of f32");
}

#[test]
fn a_detector_keeps_the_precision_that_it_was_fitted_in() {
    for entry in methods().filter(|entry| quick_plan(entry, 8).needs.backbone) {
        check_both_precisions(entry, &trial(entry, 2));
    }
}

#[test]
fn an_adapted_last_block_keeps_its_precision() {
    let settings =
        "epochs = 2\nmapping.epochs = 2\nmapping.adaptation = 'last-block'\nmapping.network.whiten = false";
    if is_asked_for("rkd+fmam") {
        check_both_precisions(method("rkd+fmam").unwrap(), &toml::from_str(settings).unwrap());
    }
}
