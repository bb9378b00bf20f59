//! `x-should-retry: false`: the tier that responds has exhausted its retries, or had none left to begin with.

use ::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

/// Several public HTTP APIs use this name, and their clients obey it.
static SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// Whether the response is a failure that forbids retries. In any other response the header is ignored.
pub(crate) fn forbids_retry(status: StatusCode, headers: &HeaderMap) -> bool {
    is_failure(status)
        && headers.get_all(&SHOULD_RETRY).iter().any(|value| value.as_bytes().eq_ignore_ascii_case(b"false"))
}

/// Adds "do not retry" to a 5xx, unless the response has that header already.
pub(super) fn forbid_retry<B>(response: &mut Response<B>) {
    if response.status().is_server_error() {
        response.headers_mut().entry(&SHOULD_RETRY).or_insert(HeaderValue::from_static("false"));
    }
}

/// Whether this status is a failure of the service that responds.
pub(super) fn is_failure(status: StatusCode) -> bool {
    status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS
}

#[cfg(test)]
mod tests {
    use super::*;

    fn forbids_retry(response: &Response<()>) -> bool {
        super::forbids_retry(response.status(), response.headers())
    }

    fn answer(status: u16, value: &str) -> Response<()> {
        Response::builder().status(status).header("X-Should-Retry", value).body(()).unwrap()
    }

    #[test]
    fn only_a_marked_failure_forbids_retries() {
        for (status, value, forbids) in [
            (503, "false", true),
            (500, "FALSE", true),
            (429, "false", true),
            (503, "true", false),
            (503, "", false),
            (503, "no", false),
            (503, "falsehood", false),
            (404, "false", false),
            (200, "false", false),
        ] {
            assert_eq!(forbids_retry(&answer(status, value)), forbids, "{status} {value}");
        }
        assert!(!forbids_retry(&Response::builder().status(503).body(()).unwrap()));
    }

    #[test]
    fn responses_own_should_retry_is_kept() {
        let mut marked = Response::builder().status(502).body(()).unwrap();
        forbid_retry(&mut marked);
        assert!(forbids_retry(&marked));
        let mut own = answer(502, "true");
        forbid_retry(&mut own);
        assert_eq!(own.headers().get_all("x-should-retry").iter().collect::<Vec<_>>(), ["true"]);
        let mut fine = Response::new(());
        forbid_retry(&mut fine);
        assert!(fine.headers().is_empty());
    }
}
