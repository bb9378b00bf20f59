//! Manual commands: a command must come from this page, pass the user's authorization check, and be valid for its component.

use ::http::header::{CONTENT_TYPE, HOST, HeaderName, ORIGIN};
use ::http::request::Parts;
use ::http::{Response, StatusCode};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer;
use super::body::Body;
use crate::admission::registry::{Command, Registry};

/// No form and no link can send this header. A script of another origin would need a CORS preflight, which is not granted.
const CONTROL: HeaderName = HeaderName::from_static("x-seawall-control");
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Returns the error response for a request that the page did not send.
pub(super) fn fault(parts: &Parts) -> Option<Response<Body>> {
    if parts.headers.get(CONTROL).is_none_or(|value| value != "1") {
        return Some(answer::error(StatusCode::FORBIDDEN, "x-seawall-control: 1 is missing"));
    }
    if !is_same_origin(parts) {
        return Some(answer::error(StatusCode::FORBIDDEN, "the request comes from another origin"));
    }
    let content_type = parts.headers.get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let essence = content_type.split(';').next().unwrap_or_default().trim();
    if !essence.eq_ignore_ascii_case("application/json") {
        return Some(answer::error(StatusCode::UNSUPPORTED_MEDIA_TYPE, "the content-type must be application/json"));
    }
    None
}

/// Browsers state where a request comes from, and scripts cannot change that. `Sec-Fetch-Site` is the browser's own comparison,
/// which also holds behind a proxy that changes the host. Older browsers, and browsers over plain `http`, send only `Origin`.
fn is_same_origin(parts: &Parts) -> bool {
    let mut sites = parts.headers.get_all(SEC_FETCH_SITE).iter().peekable();
    if sites.peek().is_some() {
        return sites.all(|site| site == "same-origin");
    }
    let host = match parts.headers.get(HOST) {
        Some(host) => host.to_str().ok(),
        // HTTP/2 has the host in the URI.
        None => parts.uri.authority().map(|authority| authority.as_str()),
    };
    parts.headers.get_all(ORIGIN).iter().all(|origin| {
        let origin = origin.to_str().ok().and_then(|origin| origin.split_once("://"));
        matches!((origin, host), (Some((_, origin)), Some(host)) if origin.eq_ignore_ascii_case(host))
    })
}

/// Applies the command in the body.
pub(super) fn apply(registry: &Registry, body: &[u8]) -> Response<Body> {
    let Ok(order) = serde_json::from_slice::<Value>(body) else {
        return answer::error(StatusCode::BAD_REQUEST, "the body is not JSON");
    };
    let text = |field: &str| order.get(field).and_then(Value::as_str);
    let (Some(name), Some(layer), Some(command)) = (text("name"), text("layer"), order.get("command")) else {
        return answer::error(StatusCode::BAD_REQUEST, "name, layer and command are needed");
    };
    let Some(component) = registry.find(name).into_iter().find(|component| component.layer() == layer) else {
        return answer::error(StatusCode::NOT_FOUND, "there is no such component");
    };
    let command = match Command::deserialize(command) {
        Ok(command) => command,
        Err(error) => return answer::error(StatusCode::UNPROCESSABLE_ENTITY, &error.to_string()),
    };
    if let Err(unsupported) = component.apply(command) {
        return answer::error(StatusCode::UNPROCESSABLE_ENTITY, &unsupported.to_string());
    }
    answer::json(StatusCode::OK, &json!(component.snapshot()))
}
