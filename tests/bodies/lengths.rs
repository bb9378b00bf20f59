//! The length of a response is no slowness of the dependency if frames come steadily or the call is long-lived. The
//! attempt timeout bounds the body in the same way whatever layers are inside.

use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use futures::StreamExt;
use futures::stream::{self, FuturesUnordered};
use http::{Request, Response, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, StreamBody};
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer, Snapshot, State};
use seawall::deadline::{DeadlineConfig, DeadlineLayer};
use seawall::error::Reason;
use seawall::http::LongLived;
use seawall::retry::{RetryConfig, RetryLayer};
use tokio::time::{Instant, sleep};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};

use crate::client::{Calls, boxed, refusal};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);
/// The slow threshold, for the head and for each single wait.
const SLOW: Duration = Duration::from_millis(500);

/// A number of frames with a pause before each, followed by the end or by nothing.
#[derive(Clone, Copy, Debug)]
struct Pieces {
    count: u32,
    every: Duration,
    ends: bool,
}

impl Pieces {
    fn body(self) -> impl http_body::Body<Data = Bytes, Error = BoxError> + Send + Unpin + 'static {
        let frames = stream::unfold(0, move |n| async move {
            if n == self.count {
                return if self.ends { None } else { std::future::pending().await };
            }
            sleep(self.every).await;
            Some((Ok::<_, BoxError>(Frame::data(Bytes::from_static(b"."))), n + 1))
        });
        StreamBody::new(Box::pin(frames))
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Mark {
    Nothing,
    InRequest,
    InResponse,
}

/// Sends a hundred calls at once through deadline and breaker, reads them to their end, and returns what the breaker
/// recorded.
async fn hundred(pieces: Pieces, mark: Mark, deadline: impl Into<DeadlineConfig>) -> Snapshot {
    let config = CircuitBreakerConfig { slow_after: Some(SLOW), ..CircuitBreakerConfig::default() };
    let breaker = CircuitBreakerLayer::http(config).unwrap();
    let handle = breaker.handle();
    let service = ServiceBuilder::new().layer(DeadlineLayer::http(deadline.into()).unwrap()).layer(breaker).service(
        service_fn(move |_: Request<()>| async move {
            let mut response = Response::new(pieces.body());
            if mark == Mark::InResponse {
                response.extensions_mut().insert(LongLived::new(10 * SECOND));
            }
            Ok::<_, BoxError>(response)
        }),
    );
    let calls: FuturesUnordered<_> = (0..100)
        .map(|_| {
            let mut request = Request::new(());
            if mark == Mark::InRequest {
                request.extensions_mut().insert(LongLived::new(10 * SECOND));
            }
            let call = service.clone().oneshot(request);
            async move { call.await.unwrap().into_body().collect().await.map(|_| ()) }
        })
        .collect();
    let _ends: Vec<_> = calls.collect().await;
    handle.snapshot()
}

#[tokio::test(start_paused = true)]
async fn steady_stream_is_never_slow() {
    let pieces = Pieces { count: 100, every: 20 * MS, ends: true };
    let seen = hundred(pieces, Mark::Nothing, 60 * SECOND).await;
    assert_eq!((seen.state, seen.calls, seen.failures, seen.slow), (State::Closed, 100, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn stream_with_a_long_wait_is_slow() {
    let pieces = Pieces { count: 1, every: 2 * SLOW, ends: true };
    let seen = hundred(pieces, Mark::Nothing, 60 * SECOND).await;
    assert_eq!(seen.state, State::Open, "{seen:?}");
}

/// An event stream is quiet for longer than a call may take, and goes on until its own timeout.
#[tokio::test(start_paused = true)]
async fn long_lived_response_is_judged_by_its_head() {
    for mark in [Mark::InRequest, Mark::InResponse] {
        // Ends by itself, or is cut by the layer; longer and shorter than the deadline.
        for (count, ends) in [(3, true), (100, false)] {
            for deadline in [2 * SECOND, 60 * SECOND] {
                let seen = hundred(Pieces { count, every: 2 * SLOW, ends }, mark, deadline).await;
                let seen = (seen.state, seen.calls, seen.failures, seen.slow);
                assert_eq!(seen, (State::Closed, 100, 0, 0), "{mark:?}, {count}, {deadline:?}");
            }
        }
    }
}

type Bodies = Pin<Box<dyn http_body::Body<Data = Bytes, Error = BoxError> + Send>>;

/// Answers with such a body.
fn callee<B>(
    pieces: Pieces,
    mark: Mark,
    status: StatusCode,
) -> impl Service<Request<B>, Response = Response<Bodies>, Error = BoxError, Future: Send> + Clone {
    service_fn(move |_| {
        let mut response = Response::new(Box::pin(pieces.body()) as Bodies);
        *response.status_mut() = status;
        if mark == Mark::InResponse {
            response.extensions_mut().insert(LongLived::new(HOUR));
        }
        std::future::ready(Ok(response))
    })
}

/// When the body ends, and why; read at once, or parked first.
async fn ends(calls: Calls, mark: Mark, reads: bool) -> (Duration, Option<(&'static str, Reason)>) {
    let start = Instant::now();
    let mut request = Request::new(Empty::new());
    if mark == Mark::InRequest {
        request.extensions_mut().insert(LongLived::new(HOUR));
    }
    let mut body = calls.oneshot(request).await.unwrap().into_body();
    if !reads {
        sleep(5 * SECOND).await;
    }
    loop {
        match body.frame().await {
            Some(Ok(_)) => {}
            Some(Err(error)) => return (start.elapsed(), refusal(&error)),
            None => return (start.elapsed(), None),
        }
    }
}

/// The layers inside of the retry make no difference.
#[tokio::test(start_paused = true)]
async fn attempt_timeout_bounds_the_body_with_any_inner_layers() {
    let config = RetryConfig { attempt_timeout: Some(SECOND), ..RetryConfig::default() };
    let deadline = || DeadlineLayer::http(10 * SECOND).unwrap();
    let retry = || RetryLayer::http(config.clone()).unwrap();
    let bulkhead = || BulkheadLayer::http(BulkheadConfig::default()).unwrap();
    let breaker = || CircuitBreakerLayer::http(CircuitBreakerConfig::default()).unwrap();
    let in_time = Pieces { count: 5, every: 100 * MS, ends: true };
    let too_long = Pieces { count: 20, every: 100 * MS, ends: true };
    let stalls = Pieces { count: 1, every: MS, ends: false };
    for (pieces, mark, status) in [
        (in_time, Mark::Nothing, 200),
        (too_long, Mark::Nothing, 200),
        (too_long, Mark::Nothing, 400),
        (stalls, Mark::Nothing, 200),
        (in_time, Mark::InRequest, 200),
        (too_long, Mark::InRequest, 200),
        (too_long, Mark::InResponse, 200),
    ] {
        let status = StatusCode::from_u16(status).unwrap();
        for reads in [true, false] {
            let all = [
                boxed(deadline().layer(retry().layer(callee(pieces, mark, status)))),
                boxed(deadline().layer(retry().layer(bulkhead().layer(callee(pieces, mark, status))))),
                boxed(deadline().layer(retry().layer(breaker().layer(callee(pieces, mark, status))))),
                boxed(deadline().layer(retry().layer(bulkhead().layer(breaker().layer(callee(pieces, mark, status)))))),
                // And without a deadline layer around it.
                boxed(retry().layer(callee(pieces, mark, status))),
                boxed(retry().layer(bulkhead().layer(callee(pieces, mark, status)))),
            ];
            let mut ended = Vec::new();
            for calls in all {
                ended.push(ends(calls, mark, reads).await);
            }
            // Without a deadline layer nothing reads `LongLived` from the request.
            if mark == Mark::InRequest {
                ended.truncate(4);
            }
            let case = format!("{pieces:?}, {mark:?}, {status}, reads: {reads}: {ended:?}");
            let is_cut = mark == Mark::Nothing && !(reads && pieces.count == 5);
            for (after, refusal) in &ended {
                assert_eq!(*refusal, is_cut.then_some(("retry", Reason::AttemptTimeout)), "{case}");
                assert!(!is_cut || !reads || *after < SECOND + 20 * MS, "{case}");
            }
        }
    }
}

/// Without an attempt timeout only the deadline of the call cuts the body.
#[tokio::test(start_paused = true)]
async fn body_without_attempt_timeout_lasts_to_the_deadline() {
    let stalls = callee(Pieces { count: 1, every: MS, ends: false }, Mark::Nothing, StatusCode::OK);
    let retry = RetryLayer::http(RetryConfig::default()).unwrap();
    let calls = boxed(DeadlineLayer::http(10 * SECOND).unwrap().layer(retry.layer(stalls)));
    let (after, refusal) = ends(calls, Mark::Nothing, true).await;
    assert_eq!(refusal, Some(("deadline", Reason::DeadlineExceeded)));
    assert!(after >= 10 * SECOND);
}
