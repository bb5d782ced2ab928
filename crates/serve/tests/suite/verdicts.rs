use fmam::output::{Files, Line};
use fmam::{Image, Session};
use fmam_serve::Options;
use serde_json::{Value, json};

use crate::client::{ask, form, get, good, model, post, scratched, server, session};

/// The lines of `fmam predict` for `images`, without seconds.
fn predicted(session: &Session, name: &str, images: &[(&str, Vec<u8>)]) -> Vec<Value> {
    let detector = session.load(&model(name).folder).unwrap();
    let images = images.iter().map(|(name, bytes)| Image::from(bytes.clone()).named(*name));
    let verdicts = session.predict(&detector, images).map(|verdict| verdict.unwrap());
    let line = |verdict| Line::new(&verdict, Files::default()).json().unwrap();
    verdicts.map(|verdict| serde_json::from_str(&line(verdict)).unwrap()).collect()
}

#[test]
fn the_verdicts_are_those_of_predict_for_each_model() {
    let router = server(Options::default()).router();
    let images = [("a.png", good()), ("b/c.png", scratched())];
    for name in ["first", "second"] {
        let answer = ask(&router, form(&format!("/v1/predict?model={name}"), &images));
        let mut answer = answer.json();
        assert_eq!(answer["model"], name);
        let expected = predicted(&session(), name, &images);
        for (entry, expected) in answer["images"].as_array_mut().unwrap().iter_mut().zip(expected) {
            let entry = entry.as_object_mut().unwrap();
            assert_eq!(entry.remove("size"), Some(json!({ "height": 50, "width": 90 })));
            assert!(entry.remove("seconds").unwrap().as_f64().unwrap() > 0.0);
            assert_eq!(Value::Object(entry.clone()), expected);
        }
    }
    let one = ask(&router, post("/v1/predict", "image/png", scratched())).json();
    assert_eq!((&one["model"], &one["images"][0]["verdict"]), (&json!("first"), &json!("defect")));
    assert_eq!(one["images"][0]["image"], "image");
    assert!(!one["images"][0]["regions"].as_array().unwrap().is_empty());
    assert_eq!(ask(&router, post("/v1/predict", "image/png", good())).json()["images"][0]["verdict"], "ok");
}

#[test]
fn pictures_come_on_demand() {
    let router = server(Options::default()).router();
    let answer = ask(&router, post("/v1/predict?overlay=1&map=1&heat=1&preview=1", "image/png", scratched()));
    let pictures = answer.json()["images"][0]["pictures"].clone();
    for name in ["overlay", "map", "heat", "preview"] {
        let address = pictures[name].as_str().unwrap();
        assert!(address.starts_with("data:image/png;base64,iVBOR"), "{name}: {address:.60}");
    }
    let mut request = post("/v1/predict", "image/png", scratched());
    request.headers_mut().insert("accept", "image/png".parse().unwrap());
    let overlay = ask(&router, request);
    assert_eq!(overlay.header("content-type"), "image/png");
    assert_eq!(overlay.header("x-fmam-verdict"), "defect");
    let size = Image::from(overlay.body.clone()).size().unwrap();
    assert_eq!((size.height, size.width), (50, 90));
    let (score, threshold): (f32, f32) = (
        overlay.header("x-fmam-score").parse().unwrap(),
        overlay.header("x-fmam-threshold").parse().unwrap(),
    );
    assert!(score > threshold);
    // The overlay is another picture than the image, and the image comes back as it was.
    assert_ne!(overlay.body, scratched());
    let mut request = form("/v1/predict", &[("a", good()), ("b", good())]);
    request.headers_mut().insert("accept", "image/png".parse().unwrap());
    assert_eq!(ask(&router, request).refusal(), (406, "one_picture".to_owned()));
}

#[test]
fn an_image_at_fault_does_not_keep_the_others_from_their_verdicts() {
    let router = server(Options::default()).router();
    let truncated = good()[..60].to_vec();
    let answer = ask(&router, form("/v1/predict", &[("a", truncated.clone()), ("b", good())]));
    assert_eq!(answer.status, 200);
    let images = answer.json()["images"].clone();
    assert_eq!((&images[0]["image"], &images[0]["code"]), (&json!("a"), &json!("unreadable_image")));
    assert!(images[0]["error"].as_str().unwrap().contains('a'), "{images}");
    assert_eq!(images[1]["verdict"], "ok");
    let none = ask(&router, form("/v1/predict", &[("a", truncated.clone()), ("b", truncated.clone())]));
    assert_eq!(none.status, 422);
    assert_eq!(none.json()["images"].as_array().unwrap().len(), 2);
    let alone = ask(&router, post("/v1/predict", "image/png", truncated));
    assert_eq!(alone.refusal(), (422, "unreadable_image".to_owned()));
}

#[test]
fn the_models_the_figures_and_the_description_are_told() {
    let router = server(Options::default()).router();
    ask(&router, post("/v1/predict", "image/png", good()));
    ask(&router, post("/v1/predict", "image/png", "no image"));
    let known = ask(&router, get("/v1/models")).json();
    let first = &known["models"][0];
    assert_eq!(
        (&first["name"], &first["method"], &first["backbone"]),
        (&json!("first"), &json!("padim"), &json!("tiny"))
    );
    assert_eq!(first["image_size"], json!({ "height": 64, "width": 64 }));
    assert!(first["promise"].as_str().unwrap().contains("good parts"), "{first}");
    assert_eq!((first["sha256"].as_str().unwrap().len(), &first["problem"]), (64, &Value::Null));
    assert_eq!((known["models"].as_array().unwrap().len(), &known["collects"]), (2, &json!(false)));

    let figures = String::from_utf8(ask(&router, get("/metrics")).body).unwrap();
    for line in [
        "fmam_requests_total{route=\"/v1/predict\",status=\"200\"} 1",
        "fmam_requests_total{route=\"/v1/predict\",status=\"422\"} 1",
        "fmam_images_total{model=\"first\",outcome=\"ok\"} 1",
        "fmam_images_total{model=\"first\",outcome=\"refused\"} 1",
        "fmam_model_reloads{model=\"second\"} 0",
        "fmam_batch_images_count 1",
        "# EOF",
    ] {
        assert!(figures.lines().any(|other| other == line), "{line} in {figures}");
    }
    let description = ask(&router, get("/openapi.json")).json();
    assert!(description["paths"]["/v1/predict"]["post"].is_object());
    assert_eq!(ask(&router, get("/healthz")).body, b"ok\n");
    assert_eq!(ask(&router, get("/readyz")).body, b"ready\n");
}

#[test]
fn every_answer_has_the_headers_that_keep_a_browser_safe() {
    let router = server(Options::default()).router();
    for request in [get("/"), get("/none"), get("/v1/models"), post("/v1/predict", "text/plain", "x")] {
        let path = request.uri().path().to_owned();
        let answer = ask(&router, request);
        assert_eq!(answer.header("x-content-type-options"), "nosniff", "{path}");
        assert!(answer.header("content-security-policy").starts_with("default-src 'none'"), "{path}");
        assert!(!answer.headers.contains_key("access-control-allow-origin"), "{path}");
    }
    let page = ask(&router, get("/"));
    assert_eq!(page.header("content-type"), "text/html; charset=utf-8");
    assert!(page.header("content-security-policy").contains("script-src 'sha256-"));
}
