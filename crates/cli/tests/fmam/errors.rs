//! Wrong command lines and unusable files: one line, the right exit code, nothing left behind.

use crate::{fail, files, image_dataset};

#[test]
fn unknown_names_and_bad_values_are_usage_errors() {
    let dir = tempfile::tempdir().unwrap();
    let check = |args: &str, words: &[&str]| fail(dir.path(), &format!("reproduce {args} --out o"), 2, words);
    check("--methods nkd,nosuch", &["nosuch", "rkd+fmam"]);
    check("--backbone nosuch", &["nosuch", "efficientnet-lite0"]);
    check("--backbone resnet18", &["resnet18", "--weights"]);
    check("--dataset nosuch", &["nosuch", "mvtec"]);
    check("--dataset mvtec", &["--data-root"]);
    check("--preset nosuch", &["nosuch", "demo"]);
    check("--categories nosuch", &["nosuch", "plain"]);
    check("--image-size 100", &["multiples of 32", "100x100"]);
    check("--image-size 160x100", &["multiples of 32", "160x100"]);
    check("--image-size 16", &["from 32 to 2048", "16x16"]);
    check("--image-size 4096", &["2048", "4096"]);
    check("--methods ,", &["--methods", "empty"]);
    check("--categories plain,", &["--categories", "empty"]);
    check("--seeds 0,", &["--seeds"]);
    check("--set rkd.nosuch=1", &["rkd", "nosuch"]);
    check("--set rkd.epochs=0", &["rkd", "epochs"]);
    check("--set epochs=1", &["METHOD.epochs"]);
    check("--seeds 0,0", &["seeds", "twice"]);
    check("--data-root .", &["--dataset"]);
    fail(dir.path(), "fit --dataset demo --method nkd --backbone tiny --out o", 2, &["--category", "plain"]);
    fail(dir.path(), "fit --dataset demo --category plain --method nosuch --out o", 2, &["nosuch"]);
    fail(dir.path(), "synth --set max_area=2 --out o", 2, &["max_area"]);
    fail(dir.path(), "synth --set nosuch=2 --out o", 2, &["nosuch"]);
    for args in
        ["reproduce --device gpu", "reproduce --epochs 0", "reproduce --threads 0", "nosuch", "list x"]
    {
        fail(dir.path(), args, 2, &[]);
    }
    assert!(files(dir.path()).is_empty());
}

#[test]
fn a_preset_file_with_a_mistake_is_named_with_its_line() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("mine.toml"), "dataset = 'demo'\nmethod_s = []\n").unwrap();
    fail(dir.path(), "reproduce --preset mine.toml", 2, &["mine.toml", "line 2", "method_s"]);
    fail(dir.path(), "reproduce --preset absent.toml", 1, &["absent.toml"]);
    let empty = "dataset = 'demo'\nmethods = ['nkd', '']\nbackbones = ['tiny']\nseeds = [0]\n";
    std::fs::write(dir.path().join("empty.toml"), empty).unwrap();
    fail(dir.path(), "reproduce --preset empty.toml", 2, &["`methods`", "empty"]);
}

#[test]
fn an_output_that_cannot_be_written_is_found_at_once() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("file"), "").unwrap();
    let small = "--dataset demo --backbone tiny --image-size 64";
    fail(dir.path(), &format!("reproduce {small} --out file/o"), 1, &["file/o"]);
    fail(dir.path(), &format!("fit {small} --category plain --method nkd --out file/o"), 1, &["file"]);
    fail(dir.path(), &format!("fit {small} --category plain --method nkd --out file"), 1, &["exists"]);
    fail(dir.path(), "synth --count 1 --image-size 32 --out file/sheet.png", 1, &["file/sheet.png"]);
}

#[test]
fn broken_data_is_named_before_training() {
    let dir = tempfile::tempdir().unwrap();
    let root = image_dataset(dir.path());
    let reproduce = "reproduce --data-root data --dataset mvtec --backbone tiny --image-size 64 --out o";
    fail(dir.path(), &reproduce.replace("data --", "absent --"), 1, &["absent"]);
    let mask = files(&root).into_iter().find(|path| path.to_string_lossy().contains("_mask")).unwrap();
    std::fs::remove_file(&mask).unwrap();
    fail(dir.path(), reproduce, 1, &[mask.file_name().unwrap().to_str().unwrap()]);
    assert!(!dir.path().join("o").exists());
}

#[test]
fn a_damaged_image_mask_or_texture_is_found_before_training() {
    let dir = tempfile::tempdir().unwrap();
    let root = image_dataset(dir.path());
    let reproduce = "reproduce --data-root data --dataset mvtec --backbone tiny --image-size 64 --methods nkd,rkd+fmam \
                     --seeds 0 --epochs 1 --out new/o";
    let fit = "fit --data-root data --dataset mvtec --backbone tiny --image-size 64 --method rkd+fmam --out new/model";
    let texture = root.join("dtd/images/dotted/dotted_0001.png");
    std::fs::create_dir_all(texture.parent().unwrap()).unwrap();
    std::fs::copy(root.join("plain/train/good/000.png"), &texture).unwrap();
    let mask = files(&root).into_iter().find(|path| path.to_string_lossy().contains("_mask")).unwrap();
    for file in [root.join("plain/train/good/000.png"), root.join("plain/test/good/001.png"), mask, texture] {
        let whole = std::fs::read(&file).unwrap();
        std::fs::write(&file, &whole[..whole.len() / 2]).unwrap();
        let name = file.file_name().unwrap().to_str().unwrap();
        fail(dir.path(), reproduce, 1, &[name]);
        // A fit reads nothing of the test split.
        if !file.starts_with(root.join("plain/test")) && !file.starts_with(root.join("plain/ground_truth")) {
            fail(dir.path(), fit, 1, &[name]);
        }
        std::fs::write(&file, whole).unwrap();
    }
    assert!(!dir.path().join("new").exists());
}

#[test]
fn weight_files_that_do_not_fit_are_named() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("w.safetensors"), "no tensors").unwrap();
    let args = "reproduce --backbone resnet18 --image-size 64 --weights";
    fail(dir.path(), &format!("{args} w.safetensors --out o"), 1, &["w.safetensors"]);
    fail(dir.path(), &format!("{args} absent.pth --out o"), 1, &["absent.pth"]);
    fail(dir.path(), "weights import --from absent.pth --out w2.safetensors", 1, &["absent.pth"]);
    assert!(!dir.path().join("w2.safetensors").exists() && !dir.path().join("o").exists());
}

#[cfg(not(feature = "cuda"))]
#[test]
fn asking_for_cuda_without_it_says_how_to_build() {
    let dir = tempfile::tempdir().unwrap();
    fail(dir.path(), "reproduce --device cuda --out o", 1, &["--features cuda"]);
}
