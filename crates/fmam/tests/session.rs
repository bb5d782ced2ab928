//! A session as a program uses it: images of every kind and size, errors that name the image, and a
//! stop at every point.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on must fail")]

use fmam::report::Overlays;
use fmam::{
    Basis, CalibrationMode, Detector, Error, ErrorKind, ExperimentConfig, FinishedRuns, Fit, Image,
    ImageSize, MemorySource, Progress, Recalibration, RgbImage, SampleSource, Seed, Session, Silent, StageId,
};
use fmam_testkit::{striped_scene, striped_test, striped_train};

fn quick() -> Fit {
    Fit::new().method("nkd").backbone("tiny").image_size(64).epochs(1)
}

fn scene(size: ImageSize, seed: u64) -> RgbImage {
    striped_scene(size, Seed::new(seed))
}

fn pixels(source: &MemorySource) -> Vec<RgbImage> {
    (0..source.len()).map(|index| source.image(index).unwrap()).collect()
}

fn fitted(session: &Session) -> Detector {
    let train = striped_train(6, ImageSize::square(64), Seed::new(0));
    session.fit(pixels(&train), &quick()).unwrap()
}

/// Asks to stop from the first look on.
struct Stop;

impl Progress for Stop {
    fn start(&self, _stage: &StageId, _total: u64) {}
    fn update(&self, _done: u64, _detail: &str) {}
    fn finish(&self) {}
    fn cancelled(&self) -> bool {
        true
    }
}

#[test]
fn a_loaded_detector_gives_the_verdicts_of_the_fitted_one_on_every_kind_of_image() {
    let folder = tempfile::tempdir().unwrap();
    let session = Session::builder().threads(2).build().unwrap();
    let detector = fitted(&session);
    detector.save(&folder.path().join("model")).unwrap();
    let loaded = session.load(folder.path().join("model")).unwrap();

    let image = scene(ImageSize::new(50, 90), 9);
    let path = folder.path().join("image.png");
    fmam_report::write_png(&path, &image).unwrap();
    let kinds = [Image::from(&image), Image::from(&path), Image::from(std::fs::read(&path).unwrap())];
    let verdicts: Vec<_> = session.predict(&loaded, &kinds).map(Result::unwrap).collect();
    assert_eq!(verdicts[1].name, path.display().to_string());
    let expected = session.predict(&detector, [&image]).next().unwrap().unwrap();
    assert_eq!(expected.image.size(), ImageSize::square(64));
    for verdict in &verdicts {
        assert_eq!(verdict.prediction, expected.prediction);
    }
}

#[test]
fn a_source_and_images_of_every_size_fit_the_same_detector() {
    let session = Session::new().unwrap();
    let train = striped_train(6, ImageSize::new(80, 70), Seed::new(0));
    let of_source = session.fit_source(&train, &quick()).unwrap();
    let of_images = session.fit(pixels(&train), &quick()).unwrap();
    let image = [scene(ImageSize::square(64), 3)];
    let score = |detector| session.predict(detector, &image).next().unwrap().unwrap().prediction;
    assert_eq!(score(&of_source), score(&of_images));
}

#[test]
fn an_image_that_cannot_be_read_is_named_and_the_others_are_scored() {
    let session = Session::new().unwrap();
    let detector = fitted(&session);
    let size = ImageSize::square(64);
    let mut images: Vec<Image> = (0..19).map(|seed| scene(size, seed).into()).collect();
    images[8] = Image::from(vec![1, 2, 3]).named("upload 8");
    images[18] = Image::from("no/such.png");
    let verdicts: Vec<_> = session.predict(&detector, images).collect();
    assert_eq!(verdicts.len(), 19);
    for (index, verdict) in verdicts.iter().enumerate() {
        match (index, verdict) {
            (8, Err(Error::Image { index: 8, name, .. })) => assert_eq!(name, "upload 8"),
            (18, Err(Error::Image { index: 18, name, .. })) => assert_eq!(name, "no/such.png"),
            (_, verdict) => assert_eq!(verdict.as_ref().unwrap().index, index),
        }
    }
}

#[test]
fn what_is_wrong_is_found_before_the_training() {
    let session = Session::new().unwrap();
    let forever = quick().epochs(1_000_000);
    let good = || scene(ImageSize::square(64), 0);
    let fit = |fit: Fit| session.fit([good()], &fit).unwrap_err();
    for error in [
        fit(forever.clone().image_size(100)),
        fit(forever.clone().image_size(0)),
        fit(forever.clone().method("nosuch")),
        fit(forever.clone().backbone("nosuch")),
        fit(forever.clone().set("no_such", 1).unwrap()),
    ] {
        assert_eq!(error.kind(), ErrorKind::Usage, "{error:?}");
    }
    let images = [Image::from(good()), Image::from("no/such.png")];
    let error = session.fit(images, &forever).unwrap_err();
    assert!(matches!(&error, Error::Image { index: 1, name, .. } if name == "no/such.png"), "{error:?}");
    assert!(!error.one_line().contains("--"), "{error}");
    let none: [RgbImage; 0] = [];
    assert_eq!(session.fit(none, &quick()).unwrap_err().kind(), ErrorKind::Data);
}

#[test]
fn a_test_split_of_another_size_is_evaluated() {
    let session = Session::new().unwrap();
    let detector = fitted(&session);
    let test = striped_test(3, 3, ImageSize::new(96, 128), Seed::new(1));
    let evaluation = session.evaluate(&detector, &test).unwrap();
    assert_eq!(evaluation.small_maps[0].size(), ImageSize::square(64));
    assert!(evaluation.pixels.is_some());
}

#[test]
fn a_request_to_stop_ends_a_fit_and_a_prediction() {
    let session = Session::builder().progress(Stop).build().unwrap();
    let image = scene(ImageSize::square(64), 0);
    let stopped = session.fit([&image, &scene(ImageSize::square(64), 1)], &quick());
    assert!(matches!(stopped, Err(Error::Cancelled)), "{stopped:?}");
    let detector = fitted(&Session::new().unwrap());
    let verdicts: Vec<_> = session.predict(&detector, [&image, &image]).collect();
    assert!(matches!(verdicts[..], [Err(Error::Cancelled)]), "{verdicts:?}");
}

#[test]
fn more_good_images_calibrate_a_detector_without_a_training() {
    let session = Session::new().unwrap();
    let size = ImageSize::square(64);
    let images = |seeds: std::ops::Range<u64>| seeds.map(|seed| scene(size, seed)).collect::<Vec<_>>();
    let mode = CalibrationMode::HoldOut { share: 0.4 };
    let fit = Fit::new().method("padim").backbone("tiny").image_size(64).calibration(mode).false_alarms(0.3);
    let fitted = || session.fit(images(0..5), &fit).unwrap();
    let before = fitted().calibration().unwrap().clone();
    assert_eq!((before.scores().count(), before.threshold().basis), (2, promised(0.3, 1.0 / 3.0)));

    let added = Recalibration::default();
    let detector = session.calibrate(fitted(), images(10..14), added).unwrap();
    let known = detector.calibration().unwrap();
    assert_eq!((known.scores().count(), known.threshold().basis), (6, promised(0.3, 0.3)));
    // The looks are those of the images that it learnt from.
    assert_eq!(known.images(), before.images());
    assert_eq!((known.known().learnt.len(), known.known().calibrated.len()), (3, 6));

    let replaced = Recalibration { replaces: true, false_alarms: Some(0.2) };
    let held_out: Vec<_> = images(0..5)
        .into_iter()
        .filter(|image| session.calibrate(fitted(), [image], added).is_err())
        .collect();
    assert_eq!(held_out.len(), 5, "all of them are known");
    let detector = session.calibrate(detector, images(10..14), replaced).unwrap();
    let known = detector.calibration().unwrap();
    assert_eq!((known.scores().count(), known.threshold().basis), (4, promised(0.2, 0.2)));
    let twice = session.calibrate(fitted(), [&scene(size, 20), &scene(size, 20)], added);
    assert!(matches!(twice, Err(Error::AlreadyLearnt { .. })));
    let none: [RgbImage; 0] = [];
    let mut empty = session.calibrate(fitted(), none, replaced);
    assert_eq!(empty.as_mut().unwrap_err().kind(), ErrorKind::Data);

    // A threshold that was chosen by hand stays.
    let known = before.clone().with_threshold(before.at_score(0.5, Basis::Given).unwrap());
    let detector = session.calibrate(fitted().with_calibration(known), images(10..14), added).unwrap();
    let threshold = detector.calibration().unwrap().threshold();
    assert_eq!((threshold.score, threshold.basis), (0.5, Basis::Given));
}

fn promised(asked: f64, promised: f64) -> Basis {
    Basis::FalseAlarms { asked, promised }
}

#[test]
fn a_study_is_done_once() {
    let folder = tempfile::tempdir().unwrap();
    let text = "methods = ['nkd']\nbackbones = ['tiny']\nseeds = [0]\nimage_size = 64\nepochs = 1\n\
                [dataset.demo]\nn_train = 4\nn_test_normal = 2\nn_test_per_defect = 1\ncategories = ['plain']\n";
    let config = ExperimentConfig::from_toml(text, "study".as_ref()).unwrap();
    let session = Session::new().unwrap();
    let reproduce = || {
        let configs = vec![config.clone()];
        session.reproduce(configs, folder.path(), FinishedRuns::Keep, &Overlays, &Silent).unwrap()
    };
    let first = reproduce();
    assert!(first.n_finished == 1 && first.failed.is_empty(), "{first:?}");
    assert_eq!(reproduce().n_finished, 0);
}
