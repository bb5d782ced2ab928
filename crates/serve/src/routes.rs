//! The addresses of the server and their handlers.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use axum::body::Body;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::{Json, Router};
use fmam::output::promise;
use fmam::{Calibration, Image, Session, Verdict};
use tower_http::catch_panic::CatchPanicLayer;

use crate::answer::{
    Collected, Entry, LimitsEntry, ModelEntry, ModelList, Predictions, RefusedEntry, VerdictEntry,
};
use crate::collect::Collector;
use crate::guard::guard;
use crate::metrics::{ModelLabels, RequestLabels, RouteLabels};
use crate::models::{Model, Models, Slot};
use crate::page::{PAGE, policy};
use crate::pictures::{Pictures, colour_range};
use crate::query::{CollectQuery, PredictQuery, Query};
use crate::refusal::{Code, Refusal, RefusalBody};
use crate::work::{Judged, Work};
use crate::{Access, upload};

/// The state of a server, shared by all requests.
pub(crate) struct App {
    pub(crate) session: Session,
    pub(crate) models: Models,
    pub(crate) work: Work,
    pub(crate) collector: Option<Collector>,
    /// True after the server was told to stop.
    pub(crate) is_stopping: AtomicBool,
}

/// The addresses, as metrics and the log name them.
const ROUTES: [&str; 8] =
    ["/", "/healthz", "/readyz", "/metrics", "/openapi.json", "/v1/models", "/v1/predict", "/v1/collect"];

/// The handlers of all addresses, behind the checks of `access`. `description` is that of the
/// interface, as JSON.
pub(crate) fn router(app: Arc<App>, access: Access, description: String) -> Router {
    let policy = HeaderValue::from_str(&policy()).unwrap_or(HeaderValue::from_static("default-src 'none'"));
    let page = move || async move {
        let kind = (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
        ([kind, (header::CONTENT_SECURITY_POLICY, policy)], PAGE)
    };
    let described = move || async move { ([(header::CONTENT_TYPE, "application/json")], description) };
    let wrong_method = || async { Refusal::new(Code::WrongMethod, "this address has other methods") };
    Router::new()
        .route("/", get(page))
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/openapi.json", get(described))
        .route("/v1/models", get(models))
        .route("/v1/predict", post(predict))
        .route("/v1/collect", post(collect))
        .fallback(|| async { Refusal::new(Code::NotFound, "there is nothing at this address") })
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(Arc::new(access), guard))
        .layer(CatchPanicLayer::custom(|_: Box<dyn std::any::Any + Send>| {
            tracing::error!("a request ended in a panic");
            Refusal::failed().into_response()
        }))
        .layer(from_fn_with_state(Arc::clone(&app), observe))
        .with_state(app)
}

/// Counts a request and logs its answer. Nothing of it that the client chose goes to the log.
async fn observe(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    let (start, metrics) = (Instant::now(), &app.work.metrics);
    let matched = request.extensions().get::<MatchedPath>().map(MatchedPath::as_str);
    let route = ROUTES.into_iter().find(|route| Some(*route) == matched).unwrap_or("other");
    let method = match request.method().as_str() {
        "GET" => "GET",
        "POST" => "POST",
        "HEAD" => "HEAD",
        _ => "other",
    };
    metrics.in_flight.inc();
    let mut response = next.run(request).await;
    metrics.in_flight.dec();
    if app.is_stopping.load(Ordering::Relaxed) {
        // The client opens another connection for its next request, and learns that none is taken.
        response.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let (status, seconds) = (response.status().as_u16(), start.elapsed().as_secs_f64());
    metrics.requests.get_or_create(&RequestLabels { route, status }).inc();
    metrics.answered.get_or_create(&RouteLabels { route }).observe(seconds);
    tracing::info!(target: "fmam_serve::access", method, route, status, seconds, "answered");
    response
}

impl App {
    fn model(&self, name: Option<&str>) -> Result<Arc<Model>, Refusal> {
        let slot = self.models.find(name).ok_or_else(|| {
            let known: Vec<&str> = self.models.iter().map(Slot::name).collect();
            Refusal::new(Code::NotFound, format!("there is no such model; there are {}", known.join(", ")))
        });
        slot.map(Slot::current)
    }

    /// The body of a request, within all limits.
    async fn uploads(
        &self,
        headers: &HeaderMap,
        body: Body,
        most: usize,
    ) -> Result<(Vec<upload::Upload>, [tokio::sync::OwnedSemaphorePermit; 2]), Refusal> {
        let limits = &self.work.limits;
        let length = upload::announced(headers, limits.body)?;
        // A body that does not tell its length takes the room of the longest one.
        let room = self.work.room.take_request(length.unwrap_or(limits.body))?;
        let bytes = upload::read(body, limits.body, limits.time).await?;
        Ok((upload::images(headers, bytes, most).await?, room))
    }
}

/// Verdicts on one or several images.
///
/// The body is the file of an image, or a form with files. With `Accept: image/png` the answer is a
/// picture of the one image of the request, and the verdict is in the headers.
#[utoipa::path(
    post,
    path = "/v1/predict",
    params(PredictQuery),
    request_body(content(
        (Vec<u8> = "image/*"), (Vec<u8> = "application/octet-stream"), (Object = "multipart/form-data")
    )),
    responses(
        (status = 200, description = "The verdicts", content(
            (inline(Predictions<'static>) = "application/json"), (Vec<u8> = "image/png")
        )),
        (status = 400, description = "A parameter or the form of the body is wrong", body = RefusalBody),
        (status = 401, description = "The request has no valid token", body = RefusalBody),
        (status = 403, description = "The request comes from another page", body = RefusalBody),
        (status = 404, description = "There is no such model", body = RefusalBody),
        (status = 406, description = "A picture of several images was asked for", body = RefusalBody),
        (status = 408, description = "The body did not come in time", body = RefusalBody),
        (status = 413, description = "The body, an image or their number is too large", body = RefusalBody),
        (status = 415, description = "The body is of another type", body = RefusalBody),
        (status = 422, description = "The image cannot be read", body = RefusalBody),
        (status = 503, description = "The server is busy; `Retry-After` says when to come again",
            body = RefusalBody),
    )
)]
pub(crate) async fn predict(
    State(app): State<Arc<App>>,
    Query(query): Query<PredictQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Refusal> {
    let model = app.model(query.model.as_deref())?;
    let (uploads, _room) = app.uploads(&headers, body, app.work.limits.images).await?;
    let wants_picture = wants_png(&headers);
    if wants_picture && uploads.len() != 1 {
        return Err(Refusal::new(Code::OnePicture, "a picture as the answer is of one image"));
    }
    let mut asked = query;
    if wants_picture && !(asked.map || asked.heat || asked.preview) {
        asked.overlay = true;
    }
    let _places = app.work.room.take_images(uploads.len())?;
    let deadline = Instant::now() + app.work.limits.time;
    let (names, images): (Vec<String>, Vec<Image>) = uploads
        .into_iter()
        .map(|upload| (upload.name.clone(), Image::from(upload.bytes).named(upload.name)))
        .unzip();
    let judged = app.work.judge(&model, images, deadline).await;
    let mut drawn: Vec<Result<(Verdict, Pictures), Refusal>> = Vec::with_capacity(judged.len());
    for (image, verdict) in judged as Vec<Judged> {
        drawn.push(match verdict {
            Ok(verdict) => app.work.draw(&model, &image, verdict, &asked, deadline).await,
            Err(refusal) => Err(refusal),
        });
    }
    if drawn.len() == 1 {
        match drawn.pop() {
            Some(Ok((verdict, pictures))) if wants_picture => return Ok(picture(&verdict, pictures)),
            Some(Ok(one)) => drawn.push(Ok(one)),
            Some(Err(refusal)) => return Err(refusal),
            None => {}
        }
    }
    let all = drawn.iter().map(|drawn| drawn.as_ref().err().map(|refusal| refusal.code));
    // The status is a refusal where no image has a verdict.
    let status = match all.collect::<Option<Vec<Code>>>().as_deref() {
        Some([first, ..]) => first.status(),
        _ => StatusCode::OK,
    };
    let mut verdicts = Vec::with_capacity(drawn.len());
    for drawn in drawn {
        verdicts.push(drawn.map(|(verdict, pictures)| (verdict, pictures.addresses())));
    }
    let entries = verdicts.iter().zip(&names).map(|(drawn, name)| match drawn {
        Ok((verdict, pictures)) => Entry::Verdict(Box::new(VerdictEntry::new(verdict, pictures.clone()))),
        Err(refusal) => Entry::Refused(RefusedEntry::new(name, refusal.clone())),
    });
    let answer = Predictions { model: &model.name, images: entries.collect() };
    Ok((status, Json(&answer)).into_response())
}

/// True if a picture is asked for before JSON.
fn wants_png(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter().filter_map(|value| value.to_str().ok());
    let kinds = accepted.flat_map(|value| value.split(','));
    let mut kinds = kinds.map(|kind| kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
    kinds
        .find(|kind| ["image/png", "application/json", "application/*", "*/*"].contains(&kind.as_str()))
        .is_some_and(|kind| kind == "image/png")
}

/// A picture, with the verdict in its headers.
fn picture(verdict: &Verdict, pictures: Pictures) -> Response {
    let inspection = verdict.inspection.as_ref();
    let outcome = inspection.map_or("none", |inspection| inspection.outcome.name());
    let mut response = pictures.first().unwrap_or_default().into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("image/png"));
    headers.insert(HeaderName::from_static("x-fmam-verdict"), HeaderValue::from_static(outcome));
    let numbers = [
        ("x-fmam-score", Some(verdict.prediction.image_score)),
        ("x-fmam-threshold", inspection.map(|inspection| inspection.threshold.score)),
    ];
    for (name, number) in numbers {
        let value = number.and_then(|number| HeaderValue::from_str(&number.to_string()).ok());
        if let Some(value) = value {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    response
}

/// Keeps an image that a person has judged, for `fmam calibrate`.
#[utoipa::path(
    post,
    path = "/v1/collect",
    params(CollectQuery),
    request_body(content((Vec<u8> = "image/*"), (Object = "multipart/form-data"))),
    responses(
        (status = 200, description = "The image is kept", body = Collected),
        (status = 400, description = "A parameter or the form of the body is wrong", body = RefusalBody),
        (status = 404, description = "The server keeps no images, or has no such model", body = RefusalBody),
        (status = 413, description = "The body or the image is too large", body = RefusalBody),
        (status = 422, description = "The image cannot be read", body = RefusalBody),
        (status = 507, description = "The folder is full", body = RefusalBody),
    )
)]
pub(crate) async fn collect(
    State(app): State<Arc<App>>,
    Query(query): Query<CollectQuery>,
    headers: HeaderMap,
    body: Body,
) -> Result<Json<Collected>, Refusal> {
    let off = || Refusal::new(Code::NotFound, "this server keeps no images; `--collect FOLDER` makes it");
    if app.collector.is_none() {
        return Err(off());
    }
    let model = app.model(query.model.as_deref())?;
    let (mut uploads, _room) = app.uploads(&headers, body, 1).await?;
    let Some(upload) = uploads.pop() else { return Err(Refusal::failed()) };
    let deadline = Instant::now() + app.work.limits.time;
    let image = Arc::new(Image::from(upload.bytes).named(upload.name));
    // An image that cannot be read would stop a calibration.
    app.work.check(&model, &image, deadline).await?;
    let (keeper, label) = (Arc::clone(&app), query.label);
    let kept = tokio::task::spawn_blocking(move || match &keeper.collector {
        Some(collector) => collector.keep(&model.name, label, &image),
        None => Err(off()),
    });
    let kept = kept.await.unwrap_or_else(|_| Err(Refusal::failed()))?;
    if kept.is_new {
        let labels = crate::metrics::JudgementLabels { label: label.name() };
        app.work.metrics.collected.get_or_create(&labels).inc();
        tracing::info!(file = kept.file, "kept a judged image");
    }
    Ok(Json(kept))
}

/// The models in use, and the limits of requests.
#[utoipa::path(
    get,
    path = "/v1/models",
    responses((status = 200, description = "The models in use", body = ModelList))
)]
pub(crate) async fn models(State(app): State<Arc<App>>) -> Json<ModelList> {
    let limits = app.work.limits;
    Json(ModelList {
        models: app.models.iter().map(entry).collect(),
        collects: app.collector.is_some(),
        limits: LimitsEntry {
            body_bytes: limits.body,
            pixels: limits.pixels,
            images: limits.images,
            seconds: limits.time.as_secs_f64(),
        },
    })
}

fn entry(slot: &Slot) -> ModelEntry {
    let (model, looks) = (slot.current(), slot.looks());
    let (card, calibration) = (model.detector.card(), model.detector.calibration());
    let threshold = calibration.map(Calibration::threshold);
    ModelEntry {
        name: model.name.clone(),
        method: card.method.to_string(),
        backbone: card.backbone.clone(),
        image_size: card.image_size.into(),
        tiled: model.is_tiled(),
        threshold: threshold.map(|threshold| threshold.score),
        false_alarms: threshold.and_then(|threshold| threshold.basis.promised_false_alarms()),
        promise: calibration.zip(threshold).map(|(known, threshold)| promise(known, threshold.basis)),
        colour_range: colour_range(calibration),
        sha256: model.sha256.clone(),
        loaded: model.loaded,
        reloads: looks.reloads,
        problem: looks.problem,
    }
}

/// The server is alive.
#[utoipa::path(get, path = "/healthz", responses((status = 200, description = "The server is alive")))]
pub(crate) async fn health() -> &'static str {
    "ok\n"
}

/// The server takes images: its models are loaded and it was not told to stop.
#[utoipa::path(
    get,
    path = "/readyz",
    responses(
        (status = 200, description = "The server takes images"),
        (status = 503, description = "The server was told to stop", body = RefusalBody),
    )
)]
pub(crate) async fn ready(State(app): State<Arc<App>>) -> Result<&'static str, Refusal> {
    if app.is_stopping.load(Ordering::Relaxed) {
        return Err(Refusal::new(Code::Busy, "the server was told to stop"));
    }
    Ok("ready\n")
}

/// The figures of the server, in the text format of Prometheus.
#[utoipa::path(
    get,
    path = "/metrics",
    responses((status = 200, description = "The figures", content_type = "application/openmetrics-text"))
)]
pub(crate) async fn metrics(State(app): State<Arc<App>>) -> impl IntoResponse {
    let metrics = &app.work.metrics;
    metrics.waiting.set(i64::try_from(app.work.scorer.waiting()).unwrap_or(i64::MAX));
    for slot in app.models.iter() {
        let labels = ModelLabels { model: slot.name().to_owned() };
        let (looks, number) = (slot.looks(), |n: u64| i64::try_from(n).unwrap_or(i64::MAX));
        metrics.loaded.get_or_create(&labels).set(number(slot.current().loaded));
        metrics.reloads.get_or_create(&labels).set(number(looks.reloads));
        metrics.reload_failures.get_or_create(&labels).set(number(looks.failures));
    }
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(header::CONTENT_TYPE, kind)], metrics.text())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_is_the_answer_where_it_is_asked_for_first() {
        let wants = |accept: &str| {
            wants_png(&[(header::ACCEPT, HeaderValue::from_str(accept).unwrap())].into_iter().collect())
        };
        for yes in
            ["image/png", "IMAGE/PNG", "text/html, image/png;q=0.9, */*", "image/png, application/json"]
        {
            assert!(wants(yes), "{yes}");
        }
        for no in ["*/*", "application/json, image/png", "image/jpeg", ""] {
            assert!(!wants(no), "{no}");
        }
        assert!(!wants_png(&HeaderMap::new()));
    }
}
