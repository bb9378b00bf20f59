//! The responses, and the headers that every response has.

use ::http::header::{
    ALLOW, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName,
    HeaderValue, REFERRER_POLICY, RETRY_AFTER, VARY, X_CONTENT_TYPE_OPTIONS,
};
use ::http::{Response, StatusCode};
use bytes::Bytes;
use serde_json::{Value, json};

use super::body::Body;
use super::page;

/// The headers of every response. They keep browsers from caching it, guessing its content type, framing it, and naming it in a
/// `Referer`. The policy allows only the page's own style and script, and requests to its own origin. In browsers that support
/// trusted types it also forbids markup made from text.
const ALWAYS: [(HeaderName, HeaderValue); 4] = [
    (CACHE_CONTROL, HeaderValue::from_static("no-store")),
    (X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (CONTENT_SECURITY_POLICY, HeaderValue::from_static(page::POLICY)),
];

pub(super) fn page() -> Response<Body> {
    of(StatusCode::OK, "text/html; charset=utf-8", Bytes::from_static(page::PAGE.as_bytes()))
}

pub(super) fn json(status: StatusCode, value: &Value) -> Response<Body> {
    of(status, "application/json", Bytes::from(value.to_string()))
}

/// Responds with the current document.
pub(super) fn document(document: Bytes, is_gzip: bool) -> Response<Body> {
    let mut response = of(StatusCode::OK, "application/json", document);
    response.headers_mut().insert(VARY, HeaderValue::from_static("accept-encoding"));
    if is_gzip {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

pub(super) fn too_many() -> Response<Body> {
    let mut response = error(StatusCode::SERVICE_UNAVAILABLE, "too many responses in flight: retry later");
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from_static("1"));
    response
}

/// An error response with a text that the page can show.
pub(super) fn error(status: StatusCode, what: &str) -> Response<Body> {
    json(status, &json!({ "error": what }))
}

pub(super) fn wrong_method(allowed: &'static str) -> Response<Body> {
    let mut response = error(StatusCode::METHOD_NOT_ALLOWED, "wrong method");
    response.headers_mut().insert(ALLOW, HeaderValue::from_static(allowed));
    response
}

fn of(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Body> {
    let length = HeaderValue::from(body.len());
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(CONTENT_LENGTH, length);
    headers.extend(ALWAYS);
    response
}

/// The same head without the body. `content-length` stays that of the body.
pub(super) fn head_only(response: Response<Body>) -> Response<Body> {
    response.map(|_| Body::default())
}
