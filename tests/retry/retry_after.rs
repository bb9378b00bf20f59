//! How a response over HTTP sets the wait before a retry.

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use seawall::http::ByStatus;
use seawall::retry::{Stop, report};
use seawall::verdict::Verdict;
use tower::{Layer, ServiceExt};

use super::*;

type Answer = Response<Full<Bytes>>;

/// Statuses that are retried by default.
const RETRIED: [u16; 10] = [408, 421, 425, 429, 500, 502, 503, 504, 520, 529];

fn config() -> RetryConfig {
    let backoff = Backoff { jitter: Jitter::None, ..Backoff::constant(millis(1)) };
    RetryConfig { backoff, max_retry_after: 60 * SECOND, max_hold: 600 * SECOND, ..RetryConfig::default() }
}

/// The wait before the second attempt, after a first response with this status and these headers.
async fn wait_after(status: u16, headers: &[(&'static str, &str)]) -> Duration {
    let log = Log::default();
    let noted = log.clone();
    let headers: Vec<_> = headers.iter().map(|&(name, value)| (name, value.to_owned())).collect();
    let callee = service_fn(move |_: Request<_>| {
        let status = if noted.note() == 1 { status } else { 200 };
        let mut answer = Response::builder().status(status);
        if status != 200 {
            answer = headers.iter().fold(answer, |answer, (name, value)| answer.header(*name, value.as_str()));
        }
        ready(Ok::<Answer, BoxError>(answer.body(Full::default()).unwrap()))
    });
    let client = RetryLayer::http(config()).unwrap().layer(callee);
    let answer = client.oneshot(Request::get("http://x.test/").body(String::new()).unwrap()).await.unwrap();
    assert_eq!(answer.status(), 200, "{status}");
    log.waits()[0]
}

#[tokio::test(start_paused = true)]
async fn every_retried_status_honours_retry_after() {
    for status in RETRIED {
        for (header, value) in [("retry-after", "7"), ("retry-after-ms", "7000"), ("x-amz-retry-after", "7000")] {
            let wait = wait_after(status, &[(header, value)]).await;
            assert!((7 * SECOND..8 * SECOND).contains(&wait), "{status} {header}: {wait:?}");
        }
        assert!(wait_after(status, &[]).await < SECOND, "{status}");
    }
}

#[tokio::test(start_paused = true)]
async fn retry_after_date_is_read_by_the_server_clock() {
    for (date, after) in [
        ("Sun, 06 Nov 2005 08:49:37 GMT", "Sun, 06 Nov 2005 08:49:47 GMT"),
        ("Mon, 06 Nov 2045 08:49:37 GMT", "Mon, 06 Nov 2045 08:49:47 GMT"),
        ("Mon, 06 Nov 2045 08:49:37 GMT", "monday, 06-nov-45 09:49:47 +0100"),
    ] {
        let wait = wait_after(503, &[("date", date), ("retry-after", after)]).await;
        assert!((10 * SECOND..11 * SECOND).contains(&wait), "{date}: {wait:?}");
    }
}

/// A user's classifier decides what is retried; the response still sets the wait.
#[tokio::test(start_paused = true)]
async fn retry_after_holds_under_a_custom_classifier() {
    let log = Log::default();
    let noted = log.clone();
    let callee = service_fn(move |_: Request<_>| {
        let status = if noted.note() == 1 { 404 } else { 200 };
        let answer = Response::builder().status(status).header("retry-after", "3").body(Full::<Bytes>::default());
        ready(Ok::<Answer, BoxError>(answer.unwrap()))
    });
    let classifier = ByStatus::new().with_status(http::StatusCode::NOT_FOUND, Verdict::Transient);
    let client = RetryLayer::http(config()).unwrap().with_classifier(classifier).layer(callee);
    client.oneshot(Request::get("http://x.test/").body(String::new()).unwrap()).await.unwrap();
    assert!(log.waits()[0] >= 3 * SECOND, "{:?}", log.waits());
}

#[tokio::test(start_paused = true)]
async fn too_long_retry_after_ends_the_call() {
    for status in RETRIED {
        let callee = service_fn(move |_: Request<_>| {
            let answer = Response::builder().status(status).header("retry-after", "61").body(Full::<Bytes>::default());
            ready(Ok::<Answer, BoxError>(answer.unwrap()))
        });
        let client = RetryLayer::http(config()).unwrap().layer(callee);
        let request = Request::get("http://x.test/").body(String::new()).unwrap();
        let (answer, report) = report(client.oneshot(request)).await;
        assert_eq!(answer.unwrap().status(), status);
        let report = report.unwrap();
        assert_eq!(
            (report.stopped, report.attempts, report.elapsed),
            (Stop::RetryAfter, 1, Duration::ZERO),
            "{status}"
        );
    }
}

/// azure-sdk-for-python#10778: a success was retried because it had the header.
#[tokio::test(start_paused = true)]
async fn success_with_retry_after_is_not_retried() {
    for status in [200, 201, 202, 301, 304, 400, 403, 404, 413, 501] {
        let callee = service_fn(move |_: Request<_>| {
            let answer = Response::builder().status(status).header("retry-after", "1").body(Full::<Bytes>::default());
            ready(Ok::<Answer, BoxError>(answer.unwrap()))
        });
        let client = RetryLayer::http(config()).unwrap().layer(callee);
        let (answer, report) =
            report(client.oneshot(Request::get("http://x.test/").body(String::new()).unwrap())).await;
        assert_eq!((answer.unwrap().status().as_u16(), report.unwrap().attempts), (status, 1));
    }
}

/// guzzle_retry_middleware#36, openai-go#884, actor-ts#771: a wait that is too long was cut to the longest allowed
/// wait, or became zero where a timer could not hold it.
#[tokio::test(start_paused = true)]
async fn retry_after_is_never_shortened_and_never_overflows() {
    let year = 365 * 86_400;
    for (header, value) in [
        ("retry-after", "18446744073709551615"),
        ("retry-after", "99999999999999999999"),
        ("retry-after", "Fri, 31 Dec 9999 23:59:59 GMT"),
        ("retry-after", "900000000"),
        ("retry-after-ms", "18446744073709551615"),
        ("retry-after", "18446744073709551615h"),
    ] {
        for max_retry_after in [SECOND, Duration::from_secs(9 * year)] {
            let log = Log::default();
            let noted = log.clone();
            let callee = service_fn(move |_: Request<_>| {
                noted.note();
                let answer = Response::builder().status(503).header(header, value).body(Full::<Bytes>::default());
                ready(Ok::<Answer, BoxError>(answer.unwrap()))
            });
            let client = RetryLayer::http(RetryConfig { max_retry_after, ..config() }).unwrap().layer(callee);
            let start = Instant::now();
            let answer = client.oneshot(Request::get("http://x.test/").body(String::new()).unwrap()).await.unwrap();
            assert_eq!(
                (answer.status().as_u16(), log.attempts(), start.elapsed()),
                (503, vec![1], Duration::ZERO),
                "{value}"
            );
        }
    }
}
