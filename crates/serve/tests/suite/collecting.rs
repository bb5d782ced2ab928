use fmam::{Recalibration, Session};
use fmam_serve::{Collecting, Options, Server};

use crate::client::{ask, good, model, png, post, scene, scratched, server, session};

#[test]
fn judged_images_calibrate_the_model() {
    let folder = tempfile::tempdir().unwrap();
    let judged = folder.path().join("judged");
    let collecting = Some(Collecting { folder: judged.clone(), images: 100, bytes: 1 << 20 });
    let options = Options { collecting, ..Options::default() };
    let server = Server::open(session(), vec![model("first")], options).unwrap();
    let router = server.router();
    for seed in 20..24 {
        let image = png(&scene(fmam::ImageSize::square(64), seed));
        let kept = ask(&router, post("/v1/collect?label=good", "image/png", image)).json();
        assert_eq!(kept["is_new"], true);
    }
    let kept = ask(&router, post("/v1/collect?label=defective", "image/png", scratched())).json();
    assert!(kept["file"].as_str().unwrap().starts_with("defective/"), "{kept}");

    // The folders are those that `fmam calibrate` takes.
    let session: Session = session();
    let detector = session.load(&model("first").folder).unwrap();
    let before = detector.calibration().unwrap().scores().count();
    let good: Vec<_> = std::fs::read_dir(judged.join("good")).unwrap().map(|e| e.unwrap().path()).collect();
    let detector = session.calibrate(detector, good, Recalibration::default()).unwrap();
    assert_eq!(detector.calibration().unwrap().scores().count(), before + 4);
}

#[test]
fn an_image_that_cannot_be_read_is_not_kept() {
    let folder = tempfile::tempdir().unwrap();
    let collecting = Some(Collecting { folder: folder.path().to_owned(), images: 100, bytes: 1 << 20 });
    let router = server(Options { collecting, ..Options::default() }).router();
    let truncated = good()[..100].to_vec();
    let refused = ask(&router, post("/v1/collect?label=good", "image/png", truncated));
    assert_eq!(refused.refusal(), (422, "unreadable_image".to_owned()));
    assert_eq!(std::fs::read_dir(folder.path().join("first/good")).unwrap().count(), 0);
    for (path, status) in [("/v1/collect?label=maybe", 400), ("/v1/collect", 400)] {
        assert_eq!(ask(&router, post(path, "image/png", good())).status, status);
    }
    let off = server(Options::default()).router();
    let refused = ask(&off, post("/v1/collect?label=good", "image/png", good()));
    assert_eq!(refused.refusal(), (404, "not_found".to_owned()));
}
