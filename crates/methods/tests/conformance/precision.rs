//! Methods whose networks compute in bf16.

use fmam_models::Precision;

use super::*;

/// Methods of each way to use a backbone: both students, the mapping, an adapted last block, gradients at the image, a
/// head, and features alone.
const CASES: [(&str, &str); 7] = [
    ("nkd", "epochs = 2"),
    ("rkd+fmam", "epochs = 2"),
    (
        "rkd+fmam",
        "epochs = 2\nmapping.epochs = 2\nmapping.adaptation = 'last-block'\nmapping.network.whiten = false",
    ),
    ("mrkd", "epochs = 2"),
    ("fcdd", "epochs = 2\nwidth = 16"),
    ("padim", "channels = 20"),
    ("teacher", ""),
];

#[test]
fn a_detector_keeps_the_precision_that_it_was_fitted_in() {
    let train = striped_train(8, SIZE, Seed::new(1));
    let images = &test_images().0[..4];
    let folder = tempfile::tempdir().unwrap();
    for (k, (name, settings)) in CASES.into_iter().enumerate() {
        let fit = |precision: Precision| {
            let backbone = load_backbone("tiny", None, &Device::Cpu).unwrap().with_precision(precision);
            let run = RunContext { backbone: Arc::new(backbone), ..context(0, 2, &Silent) };
            let method = (method(name).unwrap().build)(toml::from_str(settings).unwrap()).unwrap();
            let detector = method.fit(&train, &run).unwrap().detector;
            let dir = folder.path().join(format!("{k}-{}", precision.name()));
            detector.save(&dir).unwrap();
            let predictions = detector.score(images).unwrap();
            let loaded = load_detector(&dir, &Device::Cpu).unwrap();
            assert_eq!(bits(&loaded.score(images).unwrap()), bits(&predictions), "{name}");
            (predictions, std::fs::read_to_string(dir.join("model.toml")).unwrap())
        };
        let (exact, model) = fit(Precision::F32);
        assert!(!model.contains("precision"), "{model}");
        let (rounded, model) = fit(Precision::Bf16);
        assert!(model.contains("precision = \"bf16\""), "{model}");
        assert!(rounded.iter().all(|p| p.anomaly_map.data().iter().all(|v| v.is_finite())), "{name}");
        assert_ne!(bits(&rounded), bits(&exact), "{name}");
    }
}
