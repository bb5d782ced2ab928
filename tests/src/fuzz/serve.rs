//! Requests to a server of detectors.

use std::sync::LazyLock;

use axum::Router;
use axum::body::Body;
use axum::http::{Request, StatusCode, header};
use fmam::ImageSize;
use fmam_serve::{Collecting, Limits, ModelFolder, Options, Server};
use http_body_util::BodyExt;
use serde_json::Value;
use tempfile::TempDir;
use tokio::runtime::Runtime;
use tower::ServiceExt;

use super::bytes::Seed;
use super::scratch::scratch;

/// A server in this process, and the folder of its model and of collected images.
struct Served {
    router: Router,
    runtime: Runtime,
    _server: Server,
    _folder: TempDir,
}

static SERVED: LazyLock<Served> = LazyLock::new(|| {
    let folder = scratch();
    let model = folder.path().join("part");
    super::model::fit_into(&model, "padim", ImageSize::new(40, 30));
    let limits = Limits { body: 1 << 16, bodies: 1 << 18, pixels: 1 << 16, images: 4, ..Limits::default() };
    let collecting = Collecting { folder: folder.path().join("collected"), images: 8, bytes: 1 << 20 };
    let options = Options { limits, collecting: Some(collecting), ..Options::default() };
    let model = ModelFolder::new(None, &model).unwrap();
    let server = Server::open(super::model::session(), vec![model], options).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    Served { router: server.router(), runtime, _server: server, _folder: folder }
});

/// The request in `data`: its method, address, type of body and accepted types in a line each, then
/// the body. `None` for what is no request.
fn request(data: &[u8]) -> Option<Request<Body>> {
    let mut parts = data.splitn(5, |&byte| byte == b'\n');
    let mut line = || parts.next();
    let (method, address, kind, accept) = (line()?, line()?, line()?, line()?);
    let body = line()?.to_vec();
    Request::builder()
        .method(method)
        .uri(address)
        .header(header::HOST, "localhost")
        .header(header::CONTENT_TYPE, kind)
        .header(header::ACCEPT, accept)
        .body(Body::from(body))
        .ok()
}

/// Every request has an answer within the rules: a verdict with a finite score, a picture, or a
/// refusal with its code and a sentence. None makes the server fail.
pub fn serve(data: &[u8]) -> bool {
    let Some(request) = request(data) else { return false };
    let is_verdict = request.uri().path() == "/v1/predict";
    let served = &*SERVED;
    let (status, kind, body) = served.runtime.block_on(async {
        let response = served.router.clone().oneshot(request).await.unwrap();
        let (parts, body) = response.into_parts();
        let kind = parts.headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
        let kind = kind.unwrap_or_default().to_owned();
        (parts.status, kind, body.collect().await.unwrap().to_bytes())
    });
    assert_ne!(status, StatusCode::INTERNAL_SERVER_ERROR, "{}", String::from_utf8_lossy(&body));
    if kind == "image/png" {
        assert!(body.starts_with(b"\x89PNG"));
    } else if kind == "application/json" {
        let json: Value = serde_json::from_slice(&body).expect("JSON");
        if is_verdict && status.is_success() {
            let entries = json["images"].as_array().expect("a verdict or a refusal of each image");
            assert!(
                entries.iter().all(|entry| entry["score"].is_f64() || entry["code"].is_string()),
                "{json}"
            );
        } else if !status.is_success() && json.get("images").is_none() {
            assert!(json["code"].is_string() && json["error"].as_str().is_some_and(|text| !text.is_empty()));
        }
    }
    status.is_success()
}

pub(super) fn seeds() -> Vec<Seed> {
    let png = super::image::seeds().swap_remove(0).1;
    let plain = |lines: &str| [lines.as_bytes(), &png].concat();
    let mut form = b"POST\n/v1/predict?map=0&heat=1\nmultipart/form-data; boundary=B\n*/*\n".to_vec();
    for name in ["a.png", "../b.png"] {
        form.extend(b"--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"");
        form.extend([name.as_bytes(), b"\"\r\n\r\n", &png[..], b"\r\n"].concat());
    }
    form.extend(b"--B--\r\n");
    vec![
        ("image".to_owned(), plain("POST\n/v1/predict?model=part&overlay=1\nimage/png\napplication/json\n")),
        ("picture".to_owned(), plain("POST\n/v1/predict\nimage/png\nimage/png\n")),
        ("collect".to_owned(), plain("POST\n/v1/collect?label=good\nimage/png\n*/*\n")),
        ("form".to_owned(), form),
        ("models".to_owned(), b"GET\n/v1/models\n\n*/*\n".to_vec()),
        ("metrics".to_owned(), b"GET\n/metrics\n\n*/*\n".to_vec()),
    ]
}
