//! Rules of the distillation methods.

use super::*;

/// Settings under which FMAM is the mapped discrepancy and nothing else.
const ALONE: &str = "evidence = { base = false, gaussians = false, patches = 0 }";

#[test]
fn an_untrained_mapping_whitens_and_adapted_features_can_be_seen() {
    let (images, ..) = test_images();
    let table = toml::from_str(&format!("epochs = 1\nmapping.epochs = 0\n{ALONE}")).unwrap();
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
fn a_mapping_is_trained_behind_the_student_or_before_it() {
    let (images, ..) = test_images();
    let train = striped_train(8, SIZE, Seed::new(1));
    let folder = tempfile::tempdir().unwrap();
    let fit = |name: &str, settings: &str| {
        let table = toml::from_str(&format!("epochs = 3\n{ALONE}\n{settings}")).unwrap();
        let method = (method("rkd+fmam").unwrap().build)(table).unwrap();
        let fitted = method.fit(&train, &context(0, 1, &Silent)).unwrap();
        let dir = folder.path().join(name);
        fitted.detector.save(&dir).unwrap();
        let scores = bits(&fitted.detector.score(&images).unwrap());
        assert_eq!(bits(&load_detector(&dir, device()).unwrap().score(&images).unwrap()), scores, "{name}");
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
    let loaded = load_detector(&folder.path().join("model"), device()).unwrap();
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
    let backbone = random_backbone("resnet18", Seed::new(3), device()).unwrap();
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
        let loaded = load_detector(&folder.path().join("model"), device()).unwrap();
        assert_eq!(
            bits(&loaded.score(&images[..2]).unwrap()),
            bits(&fitted.detector.score(&images[..2]).unwrap())
        );
    }
}

#[test]
fn features_disagree_with_what_is_expected_where_the_map_is_high() {
    let (images, ..) = test_images();
    for entry in ["nkd", "nkd+fmam", "rkd", "rkd+fmam"].map(|name| method(name).unwrap()) {
        if !is_asked_for(entry.name) {
            continue;
        }
        // One piece of evidence, so that the map is the discrepancy.
        let mut table = trial(entry, EPOCHS);
        if entry.name.ends_with("+fmam") {
            table.extend(toml::from_str::<toml::Table>(ALONE).unwrap());
        }
        let train = striped_train(24, SIZE, Seed::new(1));
        let fitted = (entry.build)(table).unwrap().fit(&train, &context(0, 1, &Silent));
        let detector = fitted.unwrap().detector;
        let Some(features) = detector.features(&images[..1]).unwrap() else { continue };
        let Some(expected) = features.expected else { continue };
        let given = features.adapted.unwrap_or(features.teacher);
        // The sum of the distances of the scales is the map before it is blurred: its mean differs
        // by little.
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
        let config = built(name, settings).plan(n_images).unwrap().settings;
        (config["epochs"].as_u64(), config["mapping"]["epochs"].as_u64())
    };
    assert_eq!(epochs("rkd", "", 320), (Some(100), None));
    // 600 steps of 8 images, a fifth of which is held out where evidence is weighed.
    assert_eq!(epochs("rkd+fmam", "", 320), (Some(100), Some(19)));
    assert_eq!(epochs("rkd+fmam", ALONE, 320), (Some(100), Some(15)));
    assert_eq!(epochs("padim+fmam", "", 320), (None, Some(15)));
    assert_eq!(epochs("rkd+fmam", "epochs = 3", 320), (Some(3), Some(3)));
    assert_eq!(epochs("nkd+fmam", "epochs = 3\nmapping.epochs = 9", 320), (Some(3), Some(9)));
}

#[test]
fn a_plan_names_the_stages_in_their_order_and_the_needs() {
    let plan = |name: &str, settings: &str| {
        let plan = built(name, settings).plan(8).unwrap();
        let stages: Vec<String> = plan.stages.iter().map(|s| format!("{} {}", s.id, s.epochs)).collect();
        (stages.join(", "), plan.needs.textures, plan.needs.last_block)
    };
    let expected = |stages: &str, textures, last_block| (stages.to_owned(), textures, last_block);
    assert_eq!(plan("rkd", "epochs = 2"), expected("student 2", false, false));
    let all = "student 2, feature-mapping 2, base-student 2";
    assert_eq!(plan("rkd+fmam", "epochs = 2"), expected(all, true, false));
    let alone = format!("epochs = 2\n{ALONE}");
    assert_eq!(plan("rkd+fmam", &alone), expected("student 2, feature-mapping 2", true, false));
    let untrained = format!("{alone}\nmapping.epochs = 0");
    assert_eq!(plan("nkd+fmam", &untrained), expected("student 2", false, false));
    assert_eq!(plan("padim+fmam", "mapping.epochs = 2"), expected("feature-mapping 2", true, false));
    assert_eq!(plan("padim+fmam", "mapping.epochs = 0"), expected("", false, false));
    let before = "epochs = 2\nmapping.epochs = 1\nmapping.adaptation";
    let stages = "feature-mapping 1, student 2";
    assert_eq!(plan("rkd+fmam", &format!("{before} = 'target-mapping'")), expected(stages, true, false));
    assert_eq!(plan("rkd+fmam", &format!("{before} = 'last-block'")), expected(stages, true, true));
}

#[test]
fn what_the_student_minimises_is_what_scores() {
    let (images, ..) = test_images();
    let train = striped_train(4, SIZE, Seed::new(1));
    let scores = |settings: &str| {
        let table = toml::from_str(&format!("epochs = 2\nscoring.blur_sigma = 0.0\n{settings}")).unwrap();
        let fitted = (method("rkd").unwrap().build)(table).unwrap().fit(&train, &context(0, 1, &Silent));
        bits(&fitted.unwrap().detector.score(&images).unwrap())
    };
    for loss in ["squared", "smooth-l1"] {
        let by_loss = scores(&format!("loss = '{loss}'"));
        assert_eq!(by_loss, scores(&format!("loss = '{loss}'\nscoring.distance = '{loss}'")), "{loss}");
        assert_ne!(by_loss, scores(&format!("loss = '{loss}'\nscoring.distance = 'cosine'")), "{loss}");
    }
    for loss in ["per-position", "flattened"] {
        let by_loss = scores(&format!("loss = '{loss}'"));
        assert_eq!(by_loss, scores(&format!("loss = '{loss}'\nscoring.distance = 'cosine'")), "{loss}");
    }
}

#[test]
fn evidence_is_weighed_by_images_that_nothing_is_trained_on() {
    let (images, ..) = test_images();
    let train = striped_train(10, SIZE, Seed::new(1));
    let folder = tempfile::tempdir().unwrap();
    let fit = |settings: &str| {
        let method = built("rkd+fmam", &format!("epochs = 2\nmapping.epochs = 1\n{settings}"));
        method.fit(&train, &context(0, 1, &Silent)).unwrap().detector
    };
    let mut scores = Vec::new();
    let alone = (false, false, 0.0);
    let each = [(true, false, 0.0), (false, true, 0.0), (false, false, 0.1)];
    for pieces in [vec![alone], each.to_vec(), vec![(true, true, 0.1)]].concat() {
        let (base, gaussians, patches) = pieces;
        let name = format!("{base}-{gaussians}-{patches}");
        let dir = folder.path().join(&name);
        let detector =
            fit(&format!("evidence = {{ base = {base}, gaussians = {gaussians}, patches = {patches} }}"));
        detector.save(&dir).unwrap();
        // Weights exist where there is more than the discrepancy, the second student where there is
        // a base.
        assert_eq!(dir.join("evidence.safetensors").exists(), pieces != alone, "{name}");
        assert_eq!(dir.join("base-student.safetensors").exists(), base, "{name}");
        let loaded = load_detector(&dir, device()).unwrap();
        let found = bits(&detector.score(&images).unwrap());
        assert_eq!(bits(&loaded.score(&images).unwrap()), found, "{name}");
        assert!(!scores.contains(&found), "{name}");
        scores.push(found);
    }
    // A detector of the time before there was a memory of patches.
    let dir = folder.path().join("true-false-0");
    let card = std::fs::read_to_string(dir.join("model.toml")).unwrap();
    let is_new =
        |line: &&str| ["patches", "gallery_bytes", "card_sha256"].iter().any(|key| line.starts_with(key));
    let before: Vec<&str> = card.lines().filter(|line| !is_new(line)).collect();
    assert_eq!(before.len() + 3, card.lines().count());
    let before = before.join("\n").replace("schema = 4", "schema = 3");
    std::fs::write(dir.join("model.toml"), before).unwrap();
    let loaded = load_detector(&dir, device()).unwrap();
    assert!(scores.contains(&bits(&loaded.score(&images).unwrap())));

    let refused = (method("rkd").unwrap().build)(toml::from_str(ALONE).unwrap());
    assert!(matches!(refused, Err(MethodError::ConfigValue { key: "evidence", .. })));
    let too_small = built("rkd+fmam", "evidence.gallery_bytes = 1").fit(&train, &context(0, 1, &Silent));
    assert!(matches!(too_small, Err(MethodError::ConfigValue { key: "evidence.gallery_bytes", .. })));
    let product = "scoring.combination = 'product'";
    let refused = (method("rkd+fmam").unwrap().build)(toml::from_str(product).unwrap());
    assert!(matches!(refused, Err(MethodError::ConfigValue { key: "scoring.combination", .. })));
}
