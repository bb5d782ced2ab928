//! The body of a request as the images in it.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, header};
use bytes::{Bytes, BytesMut};
use futures_util::stream;
use http_body_util::BodyExt;

use crate::refusal::{Code, Refusal};

/// An image of a request: its label, and the bytes of the file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Upload {
    /// The name that the client gave, for people. It is never a path.
    pub(crate) name: String,
    /// The bytes of the file.
    pub(crate) bytes: Vec<u8>,
}

/// Characters of a label, at most.
const LONGEST_NAME: usize = 200;

/// The bytes that the header of a request announces; `None` without an announcement.
///
/// # Errors
/// A refusal of more than `limit`, before anything is read.
pub(crate) fn announced(headers: &HeaderMap, limit: usize) -> Result<Option<usize>, Refusal> {
    let Some(length) = headers.get(header::CONTENT_LENGTH) else { return Ok(None) };
    let length = length.to_str().ok().and_then(|text| text.parse::<usize>().ok());
    match length {
        Some(length) if length <= limit => Ok(Some(length)),
        _ => Err(too_large(limit)),
    }
}

fn too_large(limit: usize) -> Refusal {
    Refusal::new(Code::BodyTooLarge, format!("the body has more than {limit} bytes"))
}

/// Reads a body of at most `limit` bytes, within `time`.
///
/// # Errors
/// A refusal of a longer or slower body, and of one that breaks off.
pub(crate) async fn read(body: Body, limit: usize, time: Duration) -> Result<Bytes, Refusal> {
    let read = async {
        let mut body = body;
        let (mut first, mut rest) = (Bytes::new(), BytesMut::new());
        while let Some(frame) = body.frame().await {
            let frame = frame
                .map_err(|error| Refusal::new(Code::BadRequest, format!("the body broke off: {error}")))?;
            let Ok(data) = frame.into_data() else { continue };
            if first.len() + rest.len() + data.len() > limit {
                return Err(too_large(limit));
            }
            if first.is_empty() {
                // Most bodies come at once and are not copied.
                first = data;
            } else {
                rest.extend_from_slice(&data);
            }
        }
        if rest.is_empty() {
            return Ok(first);
        }
        let mut whole = BytesMut::with_capacity(first.len() + rest.len());
        whole.extend_from_slice(&first);
        whole.extend_from_slice(&rest);
        Ok(whole.freeze())
    };
    match tokio::time::timeout(time, read).await {
        Ok(read) => read,
        Err(_) => {
            Err(Refusal::new(Code::SlowBody, format!("the body was not here after {} s", time.as_secs_f64())))
        }
    }
}

/// The images of a body: the body itself, or the files of a form.
///
/// # Errors
/// A refusal of another type of body, of a broken form, and of none or more than `most` images.
pub(crate) async fn images(headers: &HeaderMap, body: Bytes, most: usize) -> Result<Vec<Upload>, Refusal> {
    let kind = match headers.get(header::CONTENT_TYPE) {
        None => "",
        Some(kind) => kind.to_str().map_err(|_| bad("the header Content-Type is no text"))?,
    };
    let media = kind.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    match media.as_str() {
        "multipart/form-data" => form(kind, body, most).await,
        "" | "application/octet-stream" => one(body),
        media if media.starts_with("image/") => one(body),
        _ => Err(Refusal::new(
            Code::NotAnImage,
            format!(
                "a body of the type `{}` is not taken; send the bytes of an image as `image/png`, `image/jpeg` and \
                 so on, or files as `multipart/form-data`",
                label(&media)
            ),
        )),
    }
}

fn bad(message: impl Into<String>) -> Refusal {
    Refusal::new(Code::BadRequest, message)
}

fn one(body: Bytes) -> Result<Vec<Upload>, Refusal> {
    if body.is_empty() {
        return Err(bad("the body is empty; it should be an image"));
    }
    Ok(vec![Upload { name: "image".to_owned(), bytes: body.into() }])
}

/// The files of a form, whatever their fields are called.
async fn form(kind: &str, body: Bytes, most: usize) -> Result<Vec<Upload>, Refusal> {
    let broken = |error: multer::Error| bad(format!("the form cannot be read: {error}"));
    let boundary = multer::parse_boundary(kind).map_err(broken)?;
    let body = stream::once(async { Ok::<_, Infallible>(body) });
    let mut form = multer::Multipart::new(body, boundary);
    let mut images = Vec::new();
    while let Some(field) = form.next_field().await.map_err(broken)? {
        let Some(name) = field.file_name().map(label) else {
            let field = field.name().map(label).unwrap_or_default();
            return Err(bad(format!("the field `{field}` of the form is not a file")));
        };
        if images.len() == most {
            return Err(Refusal::new(Code::TooManyImages, format!("a request has {most} images at most")));
        }
        let name = if name.is_empty() { format!("image {}", images.len()) } else { name };
        let bytes = field.bytes().await.map_err(broken)?.into();
        images.push(Upload { name, bytes });
    }
    if images.is_empty() { Err(bad("the form has no file")) } else { Ok(images) }
}

/// A name of a client as a label: without control characters, and short.
fn label(name: &str) -> String {
    name.chars().filter(|c| !c.is_control()).take(LONGEST_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(kind: Option<&str>) -> HeaderMap {
        let kind = kind.map(|kind| (header::CONTENT_TYPE, kind.parse().unwrap()));
        kind.into_iter().collect()
    }

    fn run<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(work)
    }

    fn code(kind: Option<&str>, body: &'static [u8]) -> Code {
        run(images(&headers(kind), Bytes::from_static(body), 2)).unwrap_err().code
    }

    #[test]
    fn an_image_is_the_body_or_a_file_of_a_form() {
        for kind in [None, Some("image/png"), Some("application/octet-stream"), Some("IMAGE/JPEG; q=1")] {
            let found = run(images(&headers(kind), Bytes::from_static(b"x"), 1)).unwrap();
            assert_eq!((found[0].name.as_str(), found[0].bytes.as_slice()), ("image", &b"x"[..]), "{kind:?}");
        }
        let form = concat!(
            "--B\r\nContent-Disposition: form-data; name=\"a\"; filename=\"../../etc/a.png\"\r\n\r\none\r\n",
            "--B\r\nContent-Disposition: form-data; name=\"a\"; filename=\"\"\r\n\r\ntwo\r\n--B--\r\n"
        );
        let found = run(images(&headers(Some("multipart/form-data; boundary=B")), form.into(), 2)).unwrap();
        let found: Vec<_> = found.iter().map(|image| (image.name.as_str(), image.bytes.as_slice())).collect();
        assert_eq!(found, [("../../etc/a.png", &b"one"[..]), ("image 1", &b"two"[..])]);
        let refused = run(images(&headers(Some("multipart/form-data; boundary=B")), form.into(), 1));
        assert_eq!(refused.unwrap_err().code, Code::TooManyImages);
    }

    #[test]
    fn a_label_is_short_and_has_no_control_characters() {
        assert_eq!(label("a\u{7}b\r\nc"), "abc");
        assert_eq!(label(&"ü".repeat(999)).chars().count(), LONGEST_NAME);
    }

    #[test]
    fn other_bodies_are_refused() {
        assert_eq!(code(Some("text/plain"), b"x"), Code::NotAnImage);
        assert_eq!(code(Some("application/json"), b"{}"), Code::NotAnImage);
        assert_eq!(code(None, b""), Code::BadRequest);
        assert_eq!(code(Some("multipart/form-data"), b"--B--"), Code::BadRequest);
        assert_eq!(code(Some("multipart/form-data; boundary=B"), b"--B--\r\n"), Code::BadRequest);
        assert_eq!(code(Some("multipart/form-data; boundary=B"), b"no form"), Code::BadRequest);
        let field = b"--B\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nx\r\n--B--\r\n";
        assert_eq!(code(Some("multipart/form-data; boundary=B"), field), Code::BadRequest);
    }

    #[test]
    fn a_long_or_slow_body_is_refused() {
        let time = Duration::from_millis(20);
        let long = run(read(Body::from(vec![0; 11]), 10, time)).unwrap_err();
        assert_eq!(long.code, Code::BodyTooLarge);
        assert_eq!(run(read(Body::from(vec![0; 10]), 10, time)).unwrap().len(), 10);
        let never = Body::from_stream(stream::pending::<Result<Bytes, Infallible>>());
        assert_eq!(run(read(never, 10, time)).unwrap_err().code, Code::SlowBody);
        let parts = stream::iter([&b"ab"[..], b"cd", b"e"].map(Ok::<_, Infallible>));
        assert_eq!(run(read(Body::from_stream(parts), 10, time)).unwrap(), "abcde");
        let broken = stream::iter([Ok(&b"ab"[..]), Err(std::io::Error::other("gone"))]);
        assert_eq!(run(read(Body::from_stream(broken), 10, time)).unwrap_err().code, Code::BadRequest);
        let length = |text: &str| [(header::CONTENT_LENGTH, text.parse().unwrap())].into_iter().collect();
        assert_eq!(announced(&length("10"), 10), Ok(Some(10)));
        assert_eq!(announced(&HeaderMap::new(), 10), Ok(None));
        for long in ["11", "99999999999999999999999", "-1"] {
            assert_eq!(announced(&length(long), 10).unwrap_err().code, Code::BodyTooLarge, "{long}");
        }
    }
}
