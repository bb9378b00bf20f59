//! `x-should-retry: false`: the tier that answers has spent its retries, or had none to spend.

use ::http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

/// The name is that of several public HTTP interfaces, whose clients obey it.
static SHOULD_RETRY: HeaderName = HeaderName::from_static("x-should-retry");

/// Whether the answer is a failure that asks not to be tried again. That of anything else says nothing about retries.
pub(crate) fn forbids_retry(status: StatusCode, headers: &HeaderMap) -> bool {
    is_failure(status)
        && headers.get_all(&SHOULD_RETRY).iter().any(|value| value.as_bytes().eq_ignore_ascii_case(b"false"))
}

/// Asks, in a 5xx, that it is not tried again, unless it says something about that by itself.
pub(super) fn forbid_retry<B>(response: &mut Response<B>) {
    if response.status().is_server_error() {
        response.headers_mut().entry(&SHOULD_RETRY).or_insert(HeaderValue::from_static("false"));
    }
}

/// Whether an answer is a failure of whoever gave it.
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
    fn only_a_failure_that_says_no_forbids_retries() {
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
    fn an_answer_s_own_word_stays() {
        let mut told = Response::builder().status(502).body(()).unwrap();
        forbid_retry(&mut told);
        assert!(forbids_retry(&told));
        let mut own = answer(502, "true");
        forbid_retry(&mut own);
        assert_eq!(own.headers().get_all("x-should-retry").iter().collect::<Vec<_>>(), ["true"]);
        let mut fine = Response::new(());
        forbid_retry(&mut fine);
        assert!(fine.headers().is_empty());
    }
}
