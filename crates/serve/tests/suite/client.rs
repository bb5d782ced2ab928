//! A detector, images, and a client in process.

use std::path::Path;
use std::sync::LazyLock;

use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, Request, StatusCode, header};
use fmam::{Fit, ImageSize, RgbImage, SampleSource, Seed, Session};
use fmam_serve::{ModelFolder, Options, Server};
use fmam_testkit::{striped_scene, striped_train};
use http_body_util::BodyExt;
use serde_json::Value;
use tempfile::TempDir;
use tower::ServiceExt;

pub(crate) fn session() -> Session {
    Session::builder().threads(2).build().unwrap()
}

/// Fits a calibrated detector of images of 50 by 90 pixels by `seed` into the folder `to`.
pub(crate) fn fit(to: &Path, seed: u64) {
    let train = striped_train(24, ImageSize::new(50, 90), Seed::new(seed));
    let images: Vec<RgbImage> = (0..train.len()).map(|index| train.image(index).unwrap()).collect();
    let fit = Fit::new().method("padim").backbone("tiny").image_size(64).seed(seed);
    session().fit(images, &fit).unwrap().save(to).unwrap();
}

/// Two models in a folder that lasts as long as the tests.
static MODELS: LazyLock<TempDir> = LazyLock::new(|| {
    let folder = tempfile::tempdir().unwrap();
    fit(&folder.path().join("first"), 1);
    fit(&folder.path().join("second"), 2);
    folder
});

/// The folder of the model `first` or `second`.
pub(crate) fn model(name: &str) -> ModelFolder {
    ModelFolder::new(None, &MODELS.path().join(name)).unwrap()
}

pub(crate) fn server(options: Options) -> Server {
    Server::open(session(), vec![model("first"), model("second")], options).unwrap()
}

/// An image of the product.
pub(crate) fn scene(size: ImageSize, seed: u64) -> RgbImage {
    striped_scene(size, Seed::new(seed))
}

pub(crate) fn png(image: &RgbImage) -> Vec<u8> {
    fmam_report::encode_png(image).unwrap()
}

/// A part as it should be, 50 rows by 90.
pub(crate) fn good() -> Vec<u8> {
    png(&scene(ImageSize::new(50, 90), 9))
}

/// A defective part: the good one with a bright square in it.
pub(crate) fn scratched() -> Vec<u8> {
    let mut image = scene(ImageSize::new(50, 90), 9);
    for (y, x) in (15..35).flat_map(|y| (30..60).map(move |x| (y, x))) {
        image.set_pixel(y, x, [255, 0, 255]);
    }
    png(&image)
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers[name].to_str().unwrap()
    }

    /// The status and the code of a refusal.
    pub(crate) fn refusal(&self) -> (u16, String) {
        let body = self.json();
        assert!(body["error"].as_str().is_some_and(|text| !text.is_empty()), "{body}");
        (self.status.as_u16(), body["code"].as_str().unwrap().to_owned())
    }
}

/// The answer to a request, on a runtime that waits for the threads of the server.
pub(crate) fn ask(router: &Router, request: Request<Body>) -> Answer {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(answer(router, request))
}

pub(crate) async fn answer(router: &Router, request: Request<Body>) -> Answer {
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let body = body.collect().await.unwrap().to_bytes().to_vec();
    Answer { status: parts.status, headers: parts.headers, body }
}

pub(crate) fn get(path: &str) -> Request<Body> {
    Request::get(path).header(header::HOST, "localhost").body(Body::empty()).unwrap()
}

pub(crate) fn post(path: &str, kind: &str, body: impl Into<Body>) -> Request<Body> {
    let request = Request::post(path).header(header::HOST, "localhost").header(header::CONTENT_TYPE, kind);
    request.body(body.into()).unwrap()
}

/// A form with the files `images`.
pub(crate) fn form(path: &str, images: &[(&str, Vec<u8>)]) -> Request<Body> {
    let mut body = Vec::new();
    for (name, bytes) in images {
        let head = format!("--B\r\nContent-Disposition: form-data; name=\"f\"; filename=\"{name}\"\r\n\r\n");
        body.extend_from_slice(head.as_bytes());
        body.extend_from_slice(bytes);
        body.extend_from_slice(b"\r\n");
    }
    body.extend_from_slice(b"--B--\r\n");
    post(path, "multipart/form-data; boundary=B", body)
}
