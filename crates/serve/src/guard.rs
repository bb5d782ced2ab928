//! The checks of a request before its handler, and the headers of every answer.

use std::net::IpAddr;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

use crate::Access;
use crate::refusal::{Code, Refusal};

/// Addresses that need no token: they tell nothing about images or models.
const OPEN: [&str; 4] = ["/", "/healthz", "/readyz", "/openapi.json"];

/// The headers of every answer.
const HEADERS: [(&str, &str); 6] = [
    ("x-content-type-options", "nosniff"),
    ("x-frame-options", "DENY"),
    ("referrer-policy", "no-referrer"),
    ("cross-origin-resource-policy", "same-origin"),
    ("cross-origin-opener-policy", "same-origin"),
    ("cache-control", "no-store"),
];

/// The policy of every answer but the page, which loads nothing.
const NOTHING: &str = "default-src 'none'; frame-ancestors 'none'";

/// Lets a request pass, or refuses it.
pub(crate) async fn guard(State(access): State<Arc<Access>>, request: Request, next: Next) -> Response {
    let checked = check(&access, request.method(), request.uri(), request.headers());
    let mut response = match checked {
        Ok(()) => next.run(request).await,
        Err(refusal) => refusal.into_response(),
    };
    let headers = response.headers_mut();
    for (name, value) in HEADERS {
        headers.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(HeaderValue::from_static(NOTHING));
    response
}

fn check(access: &Access, method: &Method, uri: &Uri, headers: &HeaderMap) -> Result<(), Refusal> {
    let host = host(uri, headers)?;
    if !access.knows(&host) {
        return Err(Refusal::new(
            Code::OtherOrigin,
            format!("this server is not called `{host}`; `--allow-host` gives it the name"),
        ));
    }
    // A page of somebody else that is open in the browser of a user must not send images here.
    if let Some(origin) = headers.get(header::ORIGIN) {
        let origin = origin.to_str().unwrap_or_default();
        let of_origin = origin.split_once("://").map(|(_, rest)| rest).unwrap_or_default();
        let is_own = of_origin == authority(uri, headers).unwrap_or_default()
            || access.hosts.iter().any(|known| known.eq_ignore_ascii_case(&without_port(of_origin)));
        if !is_own && *method != Method::GET {
            return Err(Refusal::new(Code::OtherOrigin, "a page of another origin may not use this server"));
        }
    }
    if access.tokens.is_empty() || OPEN.contains(&uri.path()) {
        return Ok(());
    }
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let token = token.and_then(|value| value.split_once(' '));
    let token =
        token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer")).map(|(_, token)| token.trim());
    // All tokens are compared, whichever fits.
    let fits = |text: &str| access.tokens.iter().fold(false, |any, token| any | token.is(text));
    if token.is_some_and(fits) {
        return Ok(());
    }
    Err(Refusal::new(Code::NoToken, "the request needs a token: `Authorization: Bearer TOKEN`"))
}

/// The host and port that the client names.
fn authority<'a>(uri: &'a Uri, headers: &'a HeaderMap) -> Option<&'a str> {
    match uri.authority() {
        Some(authority) => Some(authority.as_str()),
        None => headers.get(header::HOST)?.to_str().ok(),
    }
}

/// The host that the client names, without port.
fn host(uri: &Uri, headers: &HeaderMap) -> Result<String, Refusal> {
    let authority = authority(uri, headers);
    let authority = authority.ok_or_else(|| Refusal::new(Code::BadRequest, "the header Host is missing"))?;
    Ok(without_port(authority))
}

/// `[::1]:80` without its port and its brackets.
fn without_port(authority: &str) -> String {
    let host = match authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((host, _)) => host,
        None => authority.rsplit_once(':').map_or(authority, |(host, _)| host),
    };
    host.to_ascii_lowercase()
}

impl Access {
    /// True if the server is called `host`. A page that has its name resolve to this machine is a
    /// stranger (DNS rebinding).
    fn knows(&self, host: &str) -> bool {
        let Some(address) = self.address else { return true };
        if address.is_unspecified() && self.hosts.is_empty() {
            return true;
        }
        let parsed: Option<IpAddr> = host.parse().ok();
        host == "localhost"
            || parsed.is_some_and(|parsed| parsed.is_loopback() || parsed == address)
            || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(host))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Token;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let parsed = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        pairs.iter().map(parsed).collect()
    }

    fn code(access: &Access, method: &Method, path: &str, pairs: &[(&'static str, &str)]) -> Option<Code> {
        check(access, method, &path.parse().unwrap(), &headers(pairs)).err().map(|refusal| refusal.code)
    }

    #[test]
    fn a_stranger_with_a_name_that_leads_here_is_refused() {
        let access = Access { address: Some([127, 0, 0, 1].into()), ..Access::default() };
        let on = |host| code(&access, &Method::GET, "/", &[("host", host)]);
        for own in ["localhost:8080", "127.0.0.1:8080", "[::1]:8080", "LOCALHOST"] {
            assert_eq!(on(own), None, "{own}");
        }
        for other in ["evil.example", "evil.example:8080", "localhost.evil.example", "10.0.0.1"] {
            assert_eq!(on(other), Some(Code::OtherOrigin), "{other}");
        }
        assert_eq!(code(&access, &Method::GET, "/", &[]), Some(Code::BadRequest));
        let named = Access { hosts: vec!["line4.example".to_owned()], ..access };
        assert_eq!(code(&named, &Method::GET, "/", &[("host", "Line4.example:80")]), None);
        let all = Access { address: Some([0, 0, 0, 0].into()), ..Access::default() };
        assert_eq!(code(&all, &Method::GET, "/", &[("host", "anything")]), None);
    }

    #[test]
    fn a_page_of_another_origin_may_not_send() {
        let access = Access { hosts: vec!["line4.example".to_owned()], ..Access::default() };
        let from = |method: &Method, origin: &str| {
            code(&access, method, "/v1/predict", &[("host", "localhost:8080"), ("origin", origin)])
        };
        assert_eq!(from(&Method::POST, "http://localhost:8080"), None);
        assert_eq!(from(&Method::POST, "https://line4.example"), None);
        for other in ["http://localhost:9090", "https://evil.example", "null"] {
            assert_eq!(from(&Method::POST, other), Some(Code::OtherOrigin), "{other}");
        }
    }

    #[test]
    fn a_token_opens_all_but_the_page_and_the_health() {
        let tokens = vec![Token::new("0123456789abcdef"), Token::new("fedcba9876543210")];
        let access = Access { tokens, ..Access::default() };
        let with = |path, token: Option<&str>| {
            let mut pairs = vec![("host", "x")];
            pairs.extend(token.map(|token| ("authorization", token)));
            code(&access, &Method::GET, path, &pairs)
        };
        for open in OPEN {
            assert_eq!(with(open, None), None, "{open}");
        }
        for path in ["/v1/models", "/v1/predict", "/metrics", "/other"] {
            assert_eq!(with(path, None), Some(Code::NoToken), "{path}");
            assert_eq!(with(path, Some("Bearer 0123456789abcdef")), None);
            assert_eq!(with(path, Some("bearer fedcba9876543210")), None);
            for wrong in ["Bearer 0123456789abcde", "Bearer", "Basic 0123456789abcdef", "0123456789abcdef"] {
                assert_eq!(with(path, Some(wrong)), Some(Code::NoToken), "{wrong}");
            }
        }
    }
}
