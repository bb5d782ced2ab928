//! `fmam fit`, `eval`, `predict`, `synth`.

use std::path::Path;

use fmam_core::{ImageSize, Mask, RgbImage};
use fmam_datasets::load_image;
use serde_json::Value;

use crate::{fail, files, image_dataset, line, succeed};

const FIT: &str =
    "fit --data-root data --dataset mvtec --category plain --backbone tiny --image-size 64 --epochs 1";
const EVAL: &str = "eval --model model --data-root data --dataset mvtec";

fn jsonl(path: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(path).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn a_fitted_detector_is_evaluated_and_predicts_the_same_scores() {
    let dir = tempfile::tempdir().unwrap();
    image_dataset(dir.path());
    succeed(dir.path(), &format!("{FIT} --method rkd+fmam --seed 1 --out model"));
    let table = succeed(dir.path(), EVAL);
    assert!(table.contains("image AUROC") && table.contains("image false-alarm rate"), "{table}");
    let metrics: Value =
        serde_json::from_str(&succeed(dir.path(), &format!("{EVAL} --category plain --json --out e")))
            .unwrap();
    assert!((0.0..=1.0).contains(&metrics["pixel_auroc"].as_f64().unwrap()));
    assert_eq!(
        metrics,
        serde_json::from_slice::<Value>(&std::fs::read(dir.path().join("e/metrics.json")).unwrap()).unwrap()
    );
    let scores = jsonl(&dir.path().join("e/scores.jsonl"));
    assert_eq!(scores.len(), 8);

    let images = "data/plain/test/good/000.png data/plain/test/good/001.png";
    let lines = succeed(dir.path(), &format!("predict {images} --model model --out p"));
    assert_eq!(lines.lines().count(), 2);
    let predictions = jsonl(&dir.path().join("p/predictions.jsonl"));
    assert_eq!(predictions[1]["image"], "data/plain/test/good/001.png");
    let normal: Vec<_> = scores.iter().filter(|line| line["label"] == "normal").collect();
    for (prediction, score) in predictions.iter().zip(normal) {
        let as_scored = |value: &Value| value.as_f64().unwrap() as f32;
        assert_eq!(as_scored(&prediction["score"]), as_scored(&score["image_score"]));
        let overlay = dir.path().join("p").join(prediction["overlay"].as_str().unwrap());
        assert_eq!(load_image(&overlay, None).unwrap().size().height, 64);
    }
}

#[test]
fn a_mask_that_vanishes_is_named_and_counts_at_the_original_resolution() {
    let dir = tempfile::tempdir().unwrap();
    let root = image_dataset(dir.path());
    succeed(dir.path(), &format!("{FIT} --method padim --out model"));
    assert!(!succeed(dir.path(), EVAL).contains("no pixel left"));
    let masks = files(&root.join("plain/ground_truth"));
    let mask = masks.first().unwrap();
    let defect = mask.parent().unwrap().file_name().unwrap().to_str().unwrap();
    let image = root.join(format!("plain/test/{defect}/000.png"));
    // One pixel of 640 x 640, a hundredth of a pixel of the network.
    let size = ImageSize::square(640);
    fmam_report::write_png(&image, &RgbImage::filled(size, [90, 120, 60])).unwrap();
    let mut speck = vec![0; size.pixels()];
    speck[320 * 640 + 320] = 1;
    fmam_report::write_mask_png(mask, &Mask::new(size, speck).unwrap()).unwrap();

    let id = format!("test/{defect}/000");
    let table = succeed(dir.path(), EVAL);
    let told = table.lines().last().unwrap();
    assert!(told.starts_with("The mask of 1 anomalous image has no pixel left"), "{table}");
    assert!(told.ends_with(&format!("{id}.")) && told.contains("--evaluate-at original"), "{table}");
    let evaluate = |more: &str| -> Value {
        serde_json::from_str(&succeed(dir.path(), &format!("{EVAL} --json {more}"))).unwrap()
    };
    assert_eq!(evaluate("--out e")["findings"], serde_json::json!({"vanished": [id]}));
    let written: Value =
        serde_json::from_slice(&std::fs::read(dir.path().join("e/metrics.json")).unwrap()).unwrap();
    assert_eq!(written["findings"]["vanished"][0], id);
    assert_eq!(evaluate("--evaluate-at original").get("findings"), None);
}

#[test]
fn a_detector_fitted_in_bf16_scores_in_it() {
    let dir = tempfile::tempdir().unwrap();
    image_dataset(dir.path());
    let fitted = line(dir.path(), &format!("{FIT} --method rkd --precision bf16 --out model"));
    assert_eq!(fitted.code, Some(0), "{}", fitted.stderr);
    assert!(fitted.stderr.contains("bf16 is meant for a GPU"), "{}", fitted.stderr);
    let scores = |out: &str| {
        succeed(dir.path(), &format!("{EVAL} --out {out}"));
        jsonl(&dir.path().join(out).join("scores.jsonl"))
    };
    let rounded = scores("a");
    // Without the line the same detector computes in f32.
    let path = dir.path().join("model/model.toml");
    let model = std::fs::read_to_string(&path).unwrap();
    let (_seal, card) = model.split_once('\n').unwrap();
    // A card of the layout before can be edited.
    let card = card.replace("precision = \"bf16\"\n", "").replace("schema = 4", "schema = 3");
    std::fs::write(&path, card).unwrap();
    let exact = scores("b");
    let score = |line: &Value| line["image_score"].as_f64().unwrap();
    assert!(rounded.iter().zip(&exact).all(|(a, b)| (score(a) - score(b)).abs() < 0.1 * score(b)));
    assert!(rounded.iter().zip(&exact).any(|(a, b)| score(a) != score(b)));
}

#[test]
fn images_of_any_size_are_predicted_and_unreadable_ones_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let root = image_dataset(dir.path());
    succeed(dir.path(), &format!("{FIT} --method nkd --out model"));
    let whole = std::fs::read(root.join("plain/test/good/000.png")).unwrap();
    std::fs::write(dir.path().join("cut.png"), &whole[..whole.len() / 2]).unwrap();
    let wide = fmam_core::RgbImage::filled(ImageSize::new(30, 200), [90, 120, 60]);
    fmam_report::write_png(&dir.path().join("wide.png"), &wide).unwrap();

    let call = line(dir.path(), "predict cut.png wide.png --model model --out p");
    assert_eq!(call.code, Some(1));
    assert!(call.stdout.contains("wide.png"));
    let errors: Vec<_> = call.stderr.lines().filter(|line| line.starts_with("error: ")).collect();
    assert!(errors[0].contains("cut.png") && errors[1].contains("1 of 2"), "{}", call.stderr);
    assert_eq!(jsonl(&dir.path().join("p/predictions.jsonl")).len(), 1);
    assert_eq!(files(&dir.path().join("p")).len(), 3);

    fail(dir.path(), "predict wide.png --model model --out p", 1, &["p holds predictions already"]);
    let call = line(dir.path(), "predict cut.png --model model --out new/q");
    assert_eq!(call.code, Some(1), "{}", call.stderr);
    assert!(!dir.path().join("new").exists());
    std::fs::create_dir(dir.path().join("empty")).unwrap();
    succeed(dir.path(), "predict wide.png --model model --out empty");
    assert_eq!(files(&dir.path().join("empty")).len(), 3);
}

#[test]
fn a_damaged_model_is_named_and_an_existing_one_kept() {
    let dir = tempfile::tempdir().unwrap();
    image_dataset(dir.path());
    succeed(dir.path(), &format!("{FIT} --method nkd --out model"));
    fail(dir.path(), &format!("{FIT} --method nkd --out model"), 1, &["model", "exists"]);
    fail(dir.path(), &EVAL.replace("model model", "model absent"), 1, &["absent"]);
    for file in files(&dir.path().join("model")) {
        let whole = std::fs::read(&file).unwrap();
        std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
        fail(dir.path(), EVAL, 1, &[file.file_name().unwrap().to_str().unwrap()]);
        fail(dir.path(), "predict data/plain/test/good/000.png --model model --out p", 1, &["model"]);
        std::fs::write(&file, whole).unwrap();
    }
    assert!(!dir.path().join("p").exists());
    succeed(dir.path(), EVAL);
}

#[test]
fn a_contact_sheet_depends_on_its_seed_alone() {
    let dir = tempfile::tempdir().unwrap();
    image_dataset(dir.path());
    let sheet = |args: &str| {
        succeed(dir.path(), &format!("synth --image-size 64 --count 3 {args} --out sheet.png"));
        load_image(&dir.path().join("sheet.png"), None).unwrap()
    };
    let demo = sheet("");
    assert!(demo.size().height > 3 * 64 && demo.size().width > 4 * 64);
    assert_eq!(sheet("--seed 0"), demo);
    assert_ne!(sheet("--seed 1"), demo);
    assert_ne!(sheet("--set source=texture"), sheet("--set source=structure"));
    sheet("data/plain/train/good/000.png");
    sheet("--data-root data --dataset mvtec --category plain");
}
