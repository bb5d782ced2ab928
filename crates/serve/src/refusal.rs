use std::time::Duration;

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use fmam::ErrorKind;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// A request that is not answered with a verdict, and the reason.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Refusal {
    pub(crate) code: Code,
    pub(crate) message: String,
}

/// The reason of a refusal for programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Code {
    /// A parameter, a header or the form of the body is wrong.
    BadRequest,
    /// The request has no valid token.
    NoToken,
    /// The request comes from another page than that of this server, or names another host.
    OtherOrigin,
    /// There is no such model, page or function.
    NotFound,
    /// The address has other methods.
    WrongMethod,
    /// Several images were sent, and a picture was asked for.
    OnePicture,
    /// The body did not come in time.
    SlowBody,
    /// The body has more bytes than the server takes.
    BodyTooLarge,
    /// The image has more pixels than the server takes.
    ImageTooLarge,
    /// The request has more images than the server takes.
    TooManyImages,
    /// The body is not an image.
    NotAnImage,
    /// The image cannot be read.
    UnreadableImage,
    /// The server is at work on as many images as it takes.
    Busy,
    /// The answer was not ready in time.
    TimedOut,
    /// The folder of collected images is full.
    Full,
    /// The server failed.
    Failed,
}

/// The body of a refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct RefusalBody {
    /// The reason, for programs.
    pub(crate) code: Code,
    /// The reason in a sentence, for people.
    pub(crate) error: String,
}

/// The time after which a client may come again.
const COME_AGAIN: Duration = Duration::from_secs(1);

impl Code {
    pub(crate) fn status(self) -> StatusCode {
        match self {
            Self::BadRequest => StatusCode::BAD_REQUEST,
            Self::NoToken => StatusCode::UNAUTHORIZED,
            Self::OtherOrigin => StatusCode::FORBIDDEN,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::WrongMethod => StatusCode::METHOD_NOT_ALLOWED,
            Self::OnePicture => StatusCode::NOT_ACCEPTABLE,
            Self::SlowBody => StatusCode::REQUEST_TIMEOUT,
            Self::BodyTooLarge | Self::ImageTooLarge | Self::TooManyImages => StatusCode::PAYLOAD_TOO_LARGE,
            Self::NotAnImage => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::UnreadableImage => StatusCode::UNPROCESSABLE_ENTITY,
            Self::Busy | Self::TimedOut => StatusCode::SERVICE_UNAVAILABLE,
            Self::Full => StatusCode::INSUFFICIENT_STORAGE,
            Self::Failed => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl Refusal {
    pub(crate) fn new(code: Code, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// The queue is full.
    pub(crate) fn busy() -> Self {
        Self::new(Code::Busy, "the server is at work on as many images as it takes; come again in a moment")
    }

    /// The answer was not ready in time.
    pub(crate) fn timed_out(limit: Duration) -> Self {
        Self::new(Code::TimedOut, format!("the answer was not ready after {} s", limit.as_secs_f64()))
    }

    /// A part of the server ended before its time.
    pub(crate) fn failed() -> Self {
        Self::new(Code::Failed, "the server failed; its log has the reason")
    }

    /// The refusal of an image whose `error` came while it was read, where the image is at fault,
    /// or scored.
    pub(crate) fn of_image(error: &fmam::Error, was_read: bool) -> Self {
        let code = match error.kind() {
            _ if !was_read => Code::UnreadableImage,
            ErrorKind::Data | ErrorKind::Usage => Code::UnreadableImage,
            _ => Code::Failed,
        };
        if code == Code::Failed {
            tracing::error!(error = %error.one_line(), "an image could not be scored");
            return Self::failed();
        }
        Self::new(code, error.one_line())
    }

    pub(crate) fn body(self) -> RefusalBody {
        RefusalBody { code: self.code, error: self.message }
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let code = self.code;
        let mut response = (code.status(), Json(self.body())).into_response();
        if matches!(code, Code::Busy | Code::TimedOut) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(COME_AGAIN.as_secs()));
        }
        if code == Code::NoToken {
            response.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        }
        response
    }
}
