use std::fs;
use std::path::Path;

use fmam_serve::{ModelFolder, Options, Server};
use serde_json::Value;

use crate::client::{Answer, ask, fit, get, model, post, scratched, session};

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &to);
        } else {
            fs::copy(entry.path(), to).unwrap();
        }
    }
}

fn score(answer: &Answer) -> Value {
    answer.json()["images"][0]["score"].clone()
}

#[test]
fn a_changed_folder_takes_the_place_whole_and_a_broken_one_never() {
    let folder = tempfile::tempdir().unwrap();
    let line = folder.path().join("line");
    copy(&model("first").folder, &line);
    let models = vec![ModelFolder::new(None, &line).unwrap()];
    let server = Server::open(session(), models, Options::default()).unwrap();
    let router = server.router();
    let predict = || ask(&router, post("/v1/predict", "image/png", scratched()));
    let about = || ask(&router, get("/v1/models")).json()["models"][0].clone();
    let (first, before) = (score(&predict()), about());
    server.look();
    assert_eq!((score(&predict()), about()["reloads"].as_u64()), (first.clone(), Some(0)));

    // Another detector: at the first look it may be half copied.
    let other = folder.path().join("other");
    fit(&other, 3);
    fs::rename(&line, folder.path().join("old")).unwrap();
    fs::rename(&other, &line).unwrap();
    server.look();
    assert_eq!(score(&predict()), first);
    server.look();
    let second = score(&predict());
    assert_ne!(second, first);
    assert_eq!(about()["reloads"], 1);
    assert_ne!(about()["sha256"], before["sha256"]);

    // A network that is cut off keeps the detector in use.
    let network = fs::read_dir(&line).unwrap().map(|entry| entry.unwrap().path());
    let network = network.max_by_key(|path| fs::metadata(path).unwrap().len()).unwrap();
    let bytes = fs::read(&network).unwrap();
    fs::write(&network, &bytes[..bytes.len() / 2]).unwrap();
    for _ in 0..3 {
        server.look();
    }
    assert_eq!(score(&predict()), second);
    assert!(about()["problem"].as_str().is_some_and(|text| !text.is_empty()), "{}", about());
    let figures = String::from_utf8(ask(&router, get("/metrics")).body).unwrap();
    assert!(figures.contains("fmam_model_reload_failures{model=\"line\"} 1"), "{figures}");

    // So does a folder that went away.
    fs::rename(&line, folder.path().join("away")).unwrap();
    for _ in 0..2 {
        server.look();
    }
    assert_eq!(score(&predict()), second);
    assert!(about()["problem"].is_string());

    // The mended folder is in use again.
    fs::rename(folder.path().join("old"), &line).unwrap();
    for _ in 0..2 {
        server.look();
    }
    assert_eq!((score(&predict()), &about()["problem"]), (first, &Value::Null));
}
