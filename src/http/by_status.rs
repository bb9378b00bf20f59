//! Verdicts by HTTP status.

use ::http::{HeaderMap, Response, StatusCode};

use crate::ground::verdict::Verdict;
use crate::http::held_body::{Judge, SealedJudge};
use crate::http::overrides::Overrides;
use crate::http::propagation::retry_forbidden::forbids_retry;
use crate::http::retry_after;

/// The classifier for HTTP: by status and by transport error. A call is over when the body of its response is over.
///
/// | status | verdict |
/// |---|---|
/// | 1xx, 2xx, 3xx, and anything outside of 100 to 599 | [`Success`](Verdict::Success) |
/// | 429, 502, 503, 504, or a 5xx with a `Retry-After`, with `x-should-retry: false` | [`DoNotRetry`](Verdict::DoNotRetry): a refusal, or the failure of a lower tier whose retries are exhausted |
/// | 429, and 408, 421, 425 or 5xx with a `Retry-After` | [`Overloaded`](Verdict::Overloaded), with that wait |
/// | 408, 421, 425 | [`Unprocessed`](Verdict::Unprocessed): the same request may succeed |
/// | any other 4xx | [`CallerFault`](Verdict::CallerFault) |
/// | 501, 505 | [`CallerFault`](Verdict::CallerFault): another attempt changes nothing |
/// | 504 | [`TimedOut`](Verdict::TimedOut) |
/// | any other 5xx with `x-should-retry: false`, such as 500 | [`Failed`](Verdict::Failed): the service's own failure |
/// | any other 5xx, 503 included | [`Transient`](Verdict::Transient) |
///
/// | error, as hyper, hyper-util, h2 (feature `grpc`) and reqwest (feature `reqwest`) report it | verdict |
/// |---|---|
/// | a refusal or a cut by a layer of this crate | the verdict of that refusal |
/// | no connection could be made, or not within the connector's timeout | [`Unsent`](Verdict::Unsent) |
/// | the connection was closed before the request was written | [`Unsent`](Verdict::Unsent) |
/// | HTTP/2: `REFUSED_STREAM`, or a `GOAWAY` that says that the request was not processed | [`Unsent`](Verdict::Unsent) |
/// | HTTP/2: a stream that was reset with `ENHANCE_YOUR_CALM` | [`Overloaded`](Verdict::Overloaded) |
/// | the request cannot be sent as it is, or its own body failed | [`Ignored`](Verdict::Ignored) |
/// | a timeout of the connection or of the client | [`TimedOut`](Verdict::TimedOut) |
/// | too many redirects | [`CallerFault`](Verdict::CallerFault) |
/// | any other: the request may have been executed | [`Lost`](Verdict::Lost) |
///
/// A retry waits for as long as the response asks, whatever its status: by `Retry-After` in seconds, fractions or as a
/// date (relative to the response's own `Date`), or by `retry-after-ms`, `x-ms-retry-after-ms` or `x-amz-retry-after`
/// in milliseconds.
///
/// If a dependency uses a status differently, override it by status or by a closure:
///
/// ```
/// use http::StatusCode;
/// use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
/// use seawall::http::ByStatus;
/// use seawall::verdict::Verdict;
///
/// let classifier = ByStatus::new()
///     // there it means "being indexed, come back"
///     .with_status(StatusCode::NOT_FOUND, Verdict::Transient)
///     .with(|_, headers| headers.contains_key("x-maintenance").then_some(Verdict::Failed));
/// let breaker = CircuitBreakerLayer::http(CircuitBreakerConfig::default())?.with_classifier(classifier);
/// # let _ = breaker;
/// # Ok::<(), seawall::error::InvalidConfig>(())
/// ```
#[derive(Clone, Debug, Default)]
pub struct ByStatus {
    overrides: Overrides<StatusCode>,
}

impl ByStatus {
    /// The verdicts of the table.
    pub const fn new() -> Self {
        Self { overrides: Overrides::none() }
    }

    /// Responses with `status` mean `verdict`, whatever else they contain.
    pub fn with_status(self, status: StatusCode, verdict: Verdict) -> Self {
        self.with(move |of, _| (of == status).then_some(verdict))
    }

    /// Asks `verdict` about each response. If it returns `None`, the earlier rules apply. It should be cheap: it runs
    /// more than once in a call that passes several layers.
    pub fn with<F>(self, verdict: F) -> Self
    where
        F: Fn(StatusCode, &HeaderMap) -> Option<Verdict> + Send + Sync + 'static,
    {
        Self { overrides: self.overrides.with(verdict) }
    }
}

impl SealedJudge for ByStatus {}

impl Judge for ByStatus {
    fn of_head<B>(&self, response: &Response<B>) -> Verdict {
        let (status, headers) = (response.status(), response.headers());
        match self.overrides.ask(status, headers) {
            Some(verdict) => verdict,
            None if forbids_retry(status, headers) => without_retry(status, by_table(status, headers)),
            None => by_table(status, headers),
        }
    }

    fn is_decided<B>(&self, _: &Response<B>) -> bool {
        true
    }

    fn at_end(&self, head: Verdict, _: Option<&HeaderMap>) -> Verdict {
        head
    }
}

/// The verdict of a response that forbids retries. Forbidding retries does not prove the dependency alive: a handler
/// that fails by itself also does so if an optional dependency failed for good before. The proof is a status that
/// stands for a refusal or for a lower tier, or a wait that the response asks for.
fn without_retry(status: StatusCode, verdict: Verdict) -> Verdict {
    match verdict {
        Verdict::Transient if !matches!(status, StatusCode::BAD_GATEWAY | StatusCode::SERVICE_UNAVAILABLE) => {
            Verdict::Failed
        }
        Verdict::CallerFault => verdict,
        _ => Verdict::DoNotRetry,
    }
}

fn by_table(status: StatusCode, headers: &HeaderMap) -> Verdict {
    let bare = match status {
        StatusCode::TOO_MANY_REQUESTS => Verdict::Overloaded { retry_after: None },
        StatusCode::GATEWAY_TIMEOUT => Verdict::TimedOut,
        StatusCode::NOT_IMPLEMENTED | StatusCode::HTTP_VERSION_NOT_SUPPORTED => Verdict::CallerFault,
        StatusCode::REQUEST_TIMEOUT | StatusCode::MISDIRECTED_REQUEST | StatusCode::TOO_EARLY => Verdict::Unprocessed,
        status if status.is_server_error() => Verdict::Transient,
        status if status.is_client_error() => Verdict::CallerFault,
        _ => Verdict::Success,
    };
    match bare {
        Verdict::Success | Verdict::CallerFault => bare,
        // A service that says when to come back is alive, and refuses.
        _ => match retry_after::parse(headers) {
            Some(wait) => Verdict::Overloaded { retry_after: Some(wait) },
            None => bare,
        },
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use ::http::header::RETRY_AFTER;

    use super::*;
    use crate::ground::verdict::Classify;

    #[test]
    fn every_status_has_its_verdict() {
        for code in 100..1000 {
            let response = Response::builder().status(code).body(String::new()).unwrap();
            let expected = match code {
                429 => Verdict::Overloaded { retry_after: None },
                504 => Verdict::TimedOut,
                501 | 505 => Verdict::CallerFault,
                408 | 421 | 425 => Verdict::Unprocessed,
                400..=499 => Verdict::CallerFault,
                500..=599 => Verdict::Transient,
                _ => Verdict::Success,
            };
            assert_eq!(ByStatus::new().classify(Ok(&response)), expected, "{code}");
        }
    }

    #[test]
    fn retryable_status_with_retry_after_is_overloaded() {
        let of = |status: u16, wait: &str| {
            let response = Response::builder().status(status).header(RETRY_AFTER, wait).body(String::new()).unwrap();
            ByStatus::new().classify(Ok(&response))
        };
        for status in [408, 421, 425, 429, 500, 502, 503, 504, 507, 599] {
            let wait = Duration::from_secs(7);
            assert_eq!(of(status, "7"), Verdict::Overloaded { retry_after: Some(wait) }, "{status}");
        }
        assert_eq!((of(503, "soon"), of(504, "-1")), (Verdict::Transient, Verdict::TimedOut), "not to be read");
        assert_eq!((of(404, "7"), of(501, "7"), of(301, "7")), {
            (Verdict::CallerFault, Verdict::CallerFault, Verdict::Success)
        });
    }

    #[test]
    fn forbidden_retry_keeps_the_services_own_failure_failed() {
        for (status, verdict) in [
            (429, Verdict::DoNotRetry),
            (500, Verdict::Failed),
            (501, Verdict::CallerFault),
            (502, Verdict::DoNotRetry),
            (503, Verdict::DoNotRetry),
            (504, Verdict::DoNotRetry),
            (507, Verdict::Failed),
            (404, Verdict::CallerFault),
            (200, Verdict::Success),
        ] {
            let response = Response::builder().status(status).header("x-should-retry", "false");
            assert_eq!(ByStatus::new().classify(Ok(&response.body(String::new()).unwrap())), verdict, "{status}");
        }
        let refusal = Response::builder().status(500).header("x-should-retry", "false").header(RETRY_AFTER, "1");
        assert_eq!(ByStatus::new().classify(Ok(&refusal.body(String::new()).unwrap())), Verdict::DoNotRetry);
    }

    #[test]
    fn last_override_is_asked_first() {
        let classifier = ByStatus::new()
            .with_status(StatusCode::NOT_FOUND, Verdict::Transient)
            .with_status(StatusCode::GONE, Verdict::Transient)
            .with(|status, headers| {
                (status == StatusCode::GONE && headers.contains_key("moved")).then_some(Verdict::Success)
            });
        let of = |status: u16, header: &str| {
            let response = Response::builder().status(status).header(header, "1").body(String::new()).unwrap();
            classifier.classify(Ok(&response))
        };
        assert_eq!(of(404, "moved"), Verdict::Transient);
        assert_eq!(of(410, "other"), Verdict::Transient);
        assert_eq!(of(410, "moved"), Verdict::Success);
        assert_eq!(of(400, "moved"), Verdict::CallerFault);
    }
}
