use std::time::Duration;

use axum::body::Body;
use fmam::ImageSize;
use fmam_serve::{Access, Limits, Options, ServeError, Server, Token};

use crate::client::{answer, ask, form, get, good, model, png, post, scene, server, session};

/// A PNG of a few bytes whose header claims `side` pixels a side.
fn claims(side: u32) -> Vec<u8> {
    let mut bytes = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut header = b"IHDR".to_vec();
    header.extend_from_slice(&side.to_be_bytes());
    header.extend_from_slice(&side.to_be_bytes());
    header.extend_from_slice(&[8, 2, 0, 0, 0]);
    bytes.extend_from_slice(&13_u32.to_be_bytes());
    bytes.extend_from_slice(&header);
    bytes.extend_from_slice(&crc32(&header).to_be_bytes());
    bytes.extend_from_slice(&[0, 0, 4, 0]);
    bytes.extend_from_slice(b"IDAT");
    bytes.resize(1024, 0);
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(crc & 1)))
    })
}

#[test]
fn an_image_that_claims_many_pixels_is_refused_by_its_header() {
    let router = server(Options::default()).router();
    let refused = ask(&router, post("/v1/predict", "image/png", claims(40_000)));
    assert_eq!(refused.refusal(), (413, "image_too_large".to_owned()));
    assert!(refused.json()["error"].as_str().unwrap().contains("40000 by 40000"), "{}", refused.json());
    // As many as are taken: the file is refused for what it lacks.
    let small = ask(&router, post("/v1/predict", "image/png", claims(100)));
    assert_eq!(small.refusal(), (422, "unreadable_image".to_owned()));
    let limits = Limits { pixels: 1000, ..Limits::default() };
    let strict = server(Options { limits, ..Options::default() }).router();
    let refused = ask(&strict, post("/v1/predict", "image/png", good()));
    assert_eq!(refused.refusal(), (413, "image_too_large".to_owned()));
    assert_eq!(
        ask(&strict, post("/v1/predict", "image/png", png(&scene(ImageSize::square(30), 1)))).status,
        200
    );
}

#[test]
fn bodies_and_numbers_of_images_have_limits() {
    let limits = Limits { body: 100_000, images: 2, ..Limits::default() };
    let router = server(Options { limits, ..Options::default() }).router();
    let long = ask(&router, post("/v1/predict", "image/png", vec![0; 100_001]));
    assert_eq!(long.refusal(), (413, "body_too_large".to_owned()));
    let three = [("a", good()), ("b", good()), ("c", good())];
    assert_eq!(ask(&router, form("/v1/predict", &three)).refusal(), (413, "too_many_images".to_owned()));
    let kind = ask(&router, post("/v1/predict", "text/html", "<p>"));
    assert_eq!(kind.refusal(), (415, "not_an_image".to_owned()));
    for path in ["/v1/predict?model=none", "/nothing", "/../../etc/passwd", "/v1/predict/../../x"] {
        assert_eq!(
            ask(&router, post(path, "image/png", good())).refusal(),
            (404, "not_found".to_owned()),
            "{path}"
        );
    }
    for path in ["/v1/predict?other=1", "/v1/predict?overlay=maybe"] {
        assert_eq!(ask(&router, post(path, "image/png", good())).refusal(), (400, "bad_request".to_owned()));
    }
    assert_eq!(ask(&router, get("/v1/predict")).refusal(), (405, "wrong_method".to_owned()));
    let slow = Limits { time: Duration::from_millis(50), ..limits };
    let slow = server(Options { limits: slow, ..Options::default() }).router();
    let never = Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    assert_eq!(ask(&slow, post("/v1/predict", "image/png", never)).refusal(), (408, "slow_body".to_owned()));
}

#[test]
fn a_full_queue_is_told_with_the_time_to_come_again() {
    let limits = Limits { queue: 2, images: 2, ..Limits::default() };
    let router = server(Options { limits, ..Options::default() }).router();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let statuses = runtime.block_on(async {
        let many = (0..40).map(|_| answer(&router, post("/v1/predict", "image/png", good())));
        futures_util::future::join_all(many).await
    });
    let busy: Vec<_> = statuses.iter().filter(|answer| answer.status == 503).collect();
    let served = statuses.iter().filter(|answer| answer.status == 200).count();
    assert!(
        !busy.is_empty() && served >= 2 && busy.len() + served == 40,
        "{served} served, {} busy",
        busy.len()
    );
    for answer in busy {
        assert_eq!(answer.refusal(), (503, "busy".to_owned()));
        assert_eq!(answer.header("retry-after"), "1");
    }
    // The room is given back.
    assert_eq!(ask(&router, form("/v1/predict", &[("a", good()), ("b", good())])).status, 200);
}

#[test]
fn a_token_is_asked_for_where_there_is_one() {
    let access = Access { tokens: vec![Token::new("0123456789abcdef")], ..Access::default() };
    let router = server(Options { access, ..Options::default() }).router();
    let refused = ask(&router, post("/v1/predict", "image/png", good()));
    assert_eq!(refused.refusal(), (401, "no_token".to_owned()));
    assert_eq!(refused.header("www-authenticate"), "Bearer");
    let mut request = post("/v1/predict", "image/png", good());
    request.headers_mut().insert("authorization", "Bearer 0123456789abcdef".parse().unwrap());
    assert_eq!(ask(&router, request).status, 200);
    assert_eq!(ask(&router, get("/")).status, 200);
    assert_eq!(ask(&router, get("/metrics")).status, 401);
}

#[test]
fn a_server_without_its_models_does_not_start() {
    let open = |models| Server::open(session(), models, Options::default()).map(drop);
    assert!(matches!(open(Vec::new()), Err(ServeError::NoModel)));
    let twice = vec![model("first"), model("first")];
    assert!(matches!(open(twice), Err(ServeError::SameName { name }) if name == "first"));
    let mut missing = model("first");
    missing.folder = missing.folder.join("none");
    let error = open(vec![missing]).unwrap_err();
    assert!(matches!(&error, ServeError::Model { name, .. } if name == "first"), "{error}");
    assert!(error.to_string().contains("none"), "{error}");
}
