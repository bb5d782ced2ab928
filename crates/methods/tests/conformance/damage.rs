//! Saved models whose files were damaged or replaced since, and those of the layout before.

use std::path::{Path, PathBuf};

use candle_core::{DType, Tensor};
use fmam_inspection::{Calibration, HeldOut, Procedure};
use fmam_methods::{Detector, Tensors};
use fmam_models::{ModelError, load_tensors, save_tensors};

use super::*;

/// A quick model of the method `name` in `dir`.
fn saved(name: &str, dir: &Path) -> Detector {
    let entry = method(name).unwrap();
    let train = striped_train(8, SIZE, Seed::new(1));
    let detector = quick(entry, 1).fit(&train, &context(0, 1, &Silent)).unwrap().detector;
    detector.save(dir).unwrap();
    detector
}

fn refusal(dir: &Path) -> MethodError {
    load_detector(dir, &Device::Cpu).err().unwrap()
}

/// The network files of a model, in the order of their names.
fn network_files(dir: &Path) -> Vec<PathBuf> {
    let paths = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> =
        paths.filter(|path| path.extension().is_some_and(|e| e == "safetensors")).collect();
    paths.sort();
    paths
}

/// Replaces the first `count` values of the tensor `key` by NaN.
fn blind(path: &Path, key: &str, count: usize) {
    let mut tensors: Tensors = load_tensors(path).unwrap();
    let tensor = &tensors[key];
    let mut values: Vec<f64> = tensor.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap();
    values[..count].fill(f64::NAN);
    let damaged = Tensor::from_vec(values, tensor.shape(), &Device::Cpu).unwrap();
    let damaged = damaged.to_dtype(tensor.dtype()).unwrap();
    tensors.insert(key.to_owned(), damaged);
    save_tensors(path, &tensors).unwrap();
}

/// The card of a model, without its seal.
fn card_of(dir: &Path) -> toml::Table {
    let mut card: toml::Table = std::fs::read_to_string(dir.join("model.toml")).unwrap().parse().unwrap();
    assert!(card.remove("card_sha256").is_some());
    card
}

/// The model as layout 3 wrote it: with digests of the networks, and none of the card.
fn without_seal(dir: &Path) {
    let mut card = card_of(dir);
    assert_eq!(card.insert("schema".to_owned(), 3.into()), Some(4.into()));
    std::fs::write(dir.join("model.toml"), toml::to_string(&card).unwrap()).unwrap();
}

/// The model as layout 2 wrote it: without digests.
fn without_digests(dir: &Path) {
    let mut card = card_of(dir);
    assert_eq!(card.insert("schema".to_owned(), 2.into()), Some(4.into()));
    assert!(card.remove("files").is_some());
    std::fs::write(dir.join("model.toml"), toml::to_string(&card).unwrap()).unwrap();
}

#[test]
fn a_network_file_that_was_not_saved_with_the_model_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, other) = (folder.path().join("model"), folder.path().join("other"));
    saved("padim", &dir);
    saved("padim", &other);
    let card = std::fs::read_to_string(dir.join("model.toml")).unwrap();
    assert!(card.contains("schema = 4") && card.contains("[files]"), "{card}");
    for path in network_files(&dir) {
        let whole = std::fs::read(&path).unwrap();
        // A valid file of the same tensors, one value apart.
        let mut tensors = load_tensors(&path).unwrap();
        let (key, tensor) = tensors.iter().find(|(_, tensor)| tensor.dtype().is_float()).unwrap();
        let (key, changed) = (key.clone(), (tensor + 1.0).unwrap());
        tensors.insert(key, changed);
        save_tensors(&path, &tensors).unwrap();
        let error = refusal(&dir);
        let is_named = matches!(&error, MethodError::ReplacedFile { path: named } if *named == path);
        assert!(is_named, "{error}");
        assert!(error.to_string().ends_with("is not the file that was saved with this model"), "{error}");

        std::fs::remove_file(&path).unwrap();
        let error = refusal(&dir);
        let is_named = matches!(&error, MethodError::MissingFile { path: named } if *named == path);
        assert!(is_named, "{error}");
        std::fs::write(&path, whole).unwrap();
    }
    let surplus = dir.join("student.safetensors");
    std::fs::copy(dir.join("teacher.safetensors"), &surplus).unwrap();
    let error = refusal(&dir);
    let is_named = matches!(&error, MethodError::SurplusFile { path } if *path == surplus);
    assert!(is_named, "{error}");
    std::fs::rename(surplus, dir.join("._teacher.safetensors")).unwrap();
    load_detector(&dir, &Device::Cpu).unwrap();
}

#[test]
fn a_value_that_is_no_number_is_refused_in_every_file_of_every_method() {
    let folder = tempfile::tempdir().unwrap();
    for entry in methods() {
        let dir = folder.path().join(entry.name);
        saved(entry.name, &dir);
        without_digests(&dir);
        load_detector(&dir, &Device::Cpu).unwrap();
        for path in network_files(&dir) {
            let whole = std::fs::read(&path).unwrap();
            for (key, tensor) in load_tensors(&path).unwrap() {
                if !tensor.dtype().is_float() || tensor.elem_count() == 0 {
                    continue;
                }
                blind(&path, &key, 1);
                let error = refusal(&dir);
                let MethodError::Model(ModelError::NotFinite { origin, key: named }) = &error else {
                    panic!("{}: {error}", entry.name);
                };
                assert!(Path::new(origin) == path && *named == key, "{}: {error}", entry.name);
                std::fs::write(&path, &whole).unwrap();
            }
        }
    }
}

/// A flipped bit of the number of the layout once switched every comparison of digests off, and one
/// of a setting changed scores without a word.
#[test]
fn a_flipped_bit_anywhere_in_a_card_is_found() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("model");
    let held_out = |score| HeldOut { score, peak: score, typical: 0.5 };
    let good: Vec<HeldOut> = (0..20_u8).map(|score| held_out(f32::from(score))).collect();
    let calibration = Calibration::new(Procedure::HoldOut, &good, 0.1).unwrap();
    saved("padim", &dir).with_calibration(calibration).save_calibration(&dir).unwrap();
    let path = dir.join("model.toml");
    let whole = std::fs::read(&path).unwrap();
    for bit in 0..8 * whole.len() {
        let mut flipped = whole.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        std::fs::write(&path, &flipped).unwrap();
        let Err(error) = load_detector(&dir, &Device::Cpu) else {
            panic!("bit {bit} of `{}`", String::from_utf8_lossy(&flipped))
        };
        assert!(error.to_string().contains("model.toml"), "bit {bit}: {error}");
        assert!(!matches!(error, MethodError::ReplacedFile { .. }), "bit {bit}: {error}");
    }
    std::fs::write(&path, &whole).unwrap();
    load_detector(&dir, &Device::Cpu).unwrap();
}

#[test]
fn an_edited_card_is_named_and_old_layouts_are_not_taken_for_it() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("model");
    saved("padim", &dir);
    let path = dir.join("model.toml");
    let whole = std::fs::read_to_string(&path).unwrap();
    let (_, unsealed) = whole.split_once('\n').unwrap();
    let of_layout_3 = unsealed.replace("schema = 4", "schema = 3");
    for edited in [
        whole.replace("blur_sigma = 4.0", "blur_sigma = 2.0"),
        whole.replace("schema = 4", "schema = 3"),
        unsealed.to_owned(),
        of_layout_3.replace("schema = 3", "schema = 2"),
    ] {
        assert_ne!(edited, whole);
        std::fs::write(&path, &edited).unwrap();
        let error = refusal(&dir);
        assert!(matches!(error, MethodError::EditedCard { .. }), "{error}: {edited}");
        assert!(error.to_string().ends_with("bring the original back, or fit the model again"), "{error}");
        // A damaged card is not sealed anew.
        assert!(load_detector(&dir, &Device::Cpu).is_err());
    }
    // The line ends of a checkout on Windows are no edit.
    for same in [whole.replace('\n', "\r\n"), of_layout_3] {
        std::fs::write(&path, same).unwrap();
        load_detector(&dir, &Device::Cpu).unwrap();
    }
}

/// NaN in the means of some cells of PaDiM once gave a defect there a fifth of its score, and an
/// AUROC of 0.5, without a word.
#[test]
fn blind_cells_of_padim_are_refused_with_a_fitting_digest_too() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("model");
    saved("padim", &dir);
    let path = dir.join("normal.safetensors");
    blind(&path, "mean", 16);
    assert!(matches!(refusal(&dir), MethodError::ReplacedFile { .. }));
    without_seal(&dir);
    let card = dir.join("model.toml");
    let mut table: toml::Table = std::fs::read_to_string(&card).unwrap().parse().unwrap();
    let digest = fmam_files::Digest::of_file(&path).unwrap().to_string();
    table["files"].as_table_mut().unwrap().insert("normal.safetensors".to_owned(), digest.into());
    std::fs::write(&card, toml::to_string(&table).unwrap()).unwrap();
    let error = refusal(&dir);
    assert!(matches!(error, MethodError::Model(ModelError::NotFinite { .. })), "{error}");
}

#[test]
fn a_model_of_the_layout_before_loads_and_other_layouts_are_refused() {
    let (images, ..) = test_images();
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("model");
    let detector = saved("padim", &dir);
    without_digests(&dir);
    let loaded = load_detector(&dir, &Device::Cpu).unwrap();
    assert!(loaded.calibration().is_none());
    assert_eq!(bits(&loaded.score(&images).unwrap()), bits(&detector.score(&images).unwrap()));

    let path = dir.join("model.toml");
    let card = std::fs::read_to_string(&path).unwrap();
    for layout in ["1", "5", "-3"] {
        std::fs::write(&path, card.replace("schema = 2", &format!("schema = {layout}"))).unwrap();
        let error = refusal(&dir);
        assert!(matches!(error, MethodError::UnknownLayout { .. }), "{error}");
        let message = error.to_string();
        assert!(
            message.contains(&format!("layout {layout};")) && message.ends_with("2, 3 and 4"),
            "{message}"
        );
    }
}

#[test]
fn a_new_calibration_keeps_the_digests_and_an_old_folder_gets_some() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path().join("model");
    let detector = saved("padim", &dir);
    let files = |dir: &Path| {
        let card: toml::Table = std::fs::read_to_string(dir.join("model.toml")).unwrap().parse().unwrap();
        card["files"].as_table().unwrap().clone()
    };
    let before = files(&dir);
    assert_eq!(before.len(), 2);
    // From the detector in memory, which knows no digest.
    let held_out = |score| HeldOut { score, peak: score, typical: 0.5 };
    let good: Vec<HeldOut> = (0..20_u8).map(|score| held_out(f32::from(score))).collect();
    let calibration = Calibration::new(Procedure::HoldOut, &good, 0.1).unwrap();
    let detector = detector.with_calibration(calibration.clone());
    detector.save_calibration(&dir).unwrap();
    assert_eq!(files(&dir), before);
    let loaded = load_detector(&dir, &Device::Cpu).unwrap();
    assert_eq!(loaded.calibration(), Some(&calibration));

    without_seal(&dir);
    load_detector(&dir, &Device::Cpu).unwrap().save_calibration(&dir).unwrap();
    assert_eq!(files(&dir), before);
    without_digests(&dir);
    load_detector(&dir, &Device::Cpu).unwrap().save_calibration(&dir).unwrap();
    assert_eq!(files(&dir), before);
    assert!(detector.save_calibration(&folder.path().join("absent")).is_err());
}
