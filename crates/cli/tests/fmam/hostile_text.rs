//! Names and values that would act on a terminal or flood it.

use std::path::Path;

use crate::{Call, fmam, image_dataset, succeed};

/// Asserts that the call failed, with short lines that do nothing to a terminal.
#[track_caller]
fn check(what: &str, call: &Call) {
    assert!(matches!(call.code, Some(1 | 2)), "{what}: {:?} {}", call.code, call.stderr);
    assert!(!call.stderr.is_empty(), "{what}");
    for text in [&call.stderr, &call.stdout] {
        assert!(!text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{what}: {text:?}");
        let longest = text.lines().map(|line| line.chars().count()).max().unwrap_or(0);
        assert!(longest <= 2100 && text.lines().count() <= 12, "{what}: {longest} characters");
    }
}

/// A state dict of PyTorch's older format that refers to the Python object `module.name`.
fn pickle(name: &str) -> Vec<u8> {
    let head =
        b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.\x80\x02M\xe9\x03.\x80\x02}.".to_vec();
    [head, b"\x80\x02".to_vec(), format!("cmodule\n{name}\n.").into_bytes()].concat()
}

fn safetensors(path: &Path, name: &str) {
    let tensor = candle_core::Tensor::new(&[1.0_f32], &candle_core::Device::Cpu).unwrap();
    fmam_models::save_tensors(path, &[(name.to_owned(), tensor)].into()).unwrap();
}

#[test]
fn no_input_acts_on_a_terminal_or_floods_it() {
    let dir = tempfile::tempdir().unwrap();
    image_dataset(dir.path());
    let fit = ["fit", "--data-root", "data", "--dataset", "mvtec", "--method", "padim", "--image-size", "64"];
    succeed(dir.path(), &format!("{} --backbone tiny --out m", fit.join(" ")));
    let run = |args: &[&str]| fmam(dir.path(), args);
    let odd = "a\u{1b}]0;x\u{7}\u{1b}[2J\u{202e}b";
    // An argument has at most 128 KB.
    for name in [odd, &"x".repeat(100_000), &"y ".repeat(50_000)] {
        for args in [
            vec!["predict", name, "--model", "m"],
            vec!["predict", "data", "--model", name],
            vec!["eval", "--model", "m", "--dataset", name],
            vec!["fit", "--dataset", "demo", "--method", name, "--out", "n"],
            vec!["fit", "--dataset", "demo", "--method", "padim", "--backbone", name, "--out", "n"],
            vec!["fit", "--dataset", "demo", "--method", "padim", "--set", name, "--out", "n"],
            vec!["reproduce", "--preset", name, "--out", "n"],
            vec!["reproduce", "--dataset", "demo", "--categories", name, "--out", "n"],
            vec!["metrics", "--scores", name, "--labels", name],
            vec!["check", name],
            vec![name],
            vec!["fit", "--image-size", name],
        ] {
            check(&format!("{} {}", args[0], args.len()), &run(&args));
        }
    }
    for name in [odd.to_owned(), "k".repeat(1 << 20), format!("{odd} ").repeat(100_000)] {
        let write = |file: &str, content: &[u8]| std::fs::write(dir.path().join(file), content).unwrap();
        let quoted = serde_json::to_string(&name).unwrap().replace("\\u001b", "\\u001B");
        write("p.toml", format!("{quoted} = 1\n").as_bytes());
        check("preset", &run(&["reproduce", "--preset", "p.toml", "--out", "n"]));
        write("p.toml", format!("dataset = {quoted}\n").as_bytes());
        check("data set", &run(&["reproduce", "--preset", "p.toml", "--out", "n"]));
        let card = std::fs::read_to_string(dir.path().join("m/model.toml")).unwrap();
        let (_seal, card) = card.split_once('\n').unwrap();
        let card = card.replace("schema = 4", "schema = 3").replace("\"padim\"", &quoted);
        std::fs::create_dir_all(dir.path().join("n")).unwrap();
        write("n/model.toml", card.as_bytes());
        check("card", &run(&["predict", "data", "--model", "n"]));
        std::fs::remove_dir_all(dir.path().join("n")).unwrap();
        std::fs::create_dir_all(dir.path().join("list")).unwrap();
        write("list/list.csv", format!("path,label\n\"{}\",1\n", name.replace('"', "")).as_bytes());
        check(
            "list",
            &run(&["fit", "--data-root", "list", "--dataset", "csv", "--method", "padim", "--out", "n"]),
        );
        let weights = |file: &str| {
            let options = ["--backbone", "resnet18", "--weights", file, "--out", "n"];
            run(&[fit.as_slice(), &options].concat())
        };
        write("w.pth", &pickle(&name.replace('\n', "")));
        check("pickle", &weights("w.pth"));
        safetensors(&dir.path().join("w.safetensors"), &name);
        check("tensor", &weights("w.safetensors"));
    }
}
