//! Bounds and failures keep their meaning in every order of the layers.
#![cfg(feature = "http")]
#![allow(clippy::disallowed_methods, reason = "tests sleep and look at the clock as users do")]

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty, Full};
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer, State};
use seawall::deadline::{DeadlineConfig, DeadlineLayer};
use seawall::error::{Reason, rejection};
use seawall::http::LongLived;
use seawall::retry::{Backoff, RetryConfig, RetryLayer};
use tokio::time::Sleep;
use tower::{BoxError, Layer, ServiceBuilder, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);

/// Frames, each after its own wait.
struct Slow(VecDeque<Pin<Box<Sleep>>>);

fn slow(times: &[Duration]) -> Slow {
    Slow(times.iter().map(|time| Box::pin(tokio::time::sleep(*time))).collect())
}

impl Body for Slow {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let Some(next) = self.0.front_mut() else { return Poll::Ready(None) };
        ready!(next.as_mut().poll(cx));
        self.0.pop_front();
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b".")))))
    }
}

fn request() -> Request<Empty<Bytes>> {
    Request::get("http://callee.test/").body(Empty::new()).unwrap()
}

/// A cut by the head timeout counts against the dependency, although it comes before the deadline.
#[tokio::test(start_paused = true)]
async fn heads_cut_by_the_head_timeout_open_the_breaker() {
    let breaker = CircuitBreakerLayer::http(CircuitBreakerConfig::default()).unwrap();
    let handle = breaker.handle();
    let config = DeadlineConfig { head_timeout: Some(SECOND), ..DeadlineConfig::default() };
    let calls = ServiceBuilder::new().layer(DeadlineLayer::http(config).unwrap()).layer(breaker).service(service_fn(
        |_: Request<Empty<Bytes>>| std::future::pending::<Result<Response<Full<Bytes>>, BoxError>>(),
    ));
    let calls = (0..30).map(|_| calls.clone().oneshot(request()));
    for answer in futures::future::join_all(calls).await {
        assert_eq!(rejection(&answer.unwrap_err()).unwrap().reason(), Reason::HeadTimeout);
    }
    assert_eq!(handle.state(), State::Open, "{:?}", handle.snapshot());
}

#[tokio::test(start_paused = true)]
async fn idle_dependency_opens_the_breaker() {
    let breaker = CircuitBreakerLayer::http(CircuitBreakerConfig::default()).unwrap();
    let handle = breaker.handle();
    let config = DeadlineConfig { idle_timeout: Some(SECOND / 5), ..DeadlineConfig::default() };
    let calls = ServiceBuilder::new().layer(DeadlineLayer::http(config).unwrap()).layer(breaker).service(service_fn(
        |_: Request<Empty<Bytes>>| async { Ok::<_, BoxError>(Response::new(slow(&[60 * SECOND]))) },
    ));
    let calls = (0..30).map(|_| async {
        let response = calls.clone().oneshot(request()).await.unwrap();
        response.into_body().collect().await.map(drop)
    });
    for answer in futures::future::join_all(calls).await {
        assert_eq!(rejection(&answer.unwrap_err()).unwrap().reason(), Reason::IdleTimeout);
    }
    assert_eq!(handle.state(), State::Open, "{:?}", handle.snapshot());
}

/// The second attempt hangs, so the deadline has nearly passed when the retry returns the kept failure.
#[tokio::test(start_paused = true)]
async fn failure_kept_by_retry_is_readable_through_outer_layers() {
    let attempts = Arc::new(AtomicUsize::new(0));
    let calls = ServiceBuilder::new()
        .layer(DeadlineLayer::http(SECOND).unwrap())
        .layer(BulkheadLayer::http(BulkheadConfig::default()).unwrap())
        .layer(CircuitBreakerLayer::http(CircuitBreakerConfig::default()).unwrap())
        .layer(RetryLayer::http(RetryConfig::default()).unwrap())
        .service(service_fn(move |_: Request<_>| {
            let first = attempts.fetch_add(1, Ordering::Relaxed) == 0;
            async move {
                if !first {
                    std::future::pending::<()>().await;
                }
                let regret = Full::new(Bytes::from_static(b"regret"));
                Ok::<_, BoxError>(Response::builder().status(500).body(regret).unwrap())
            }
        }));
    let response = calls.oneshot(request()).await.unwrap();
    assert_eq!(response.status(), 500);
    tokio::time::sleep(SECOND).await;
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "regret");
}

/// There is no deadline, but the retry has a bound of its own.
#[tokio::test(start_paused = true)]
async fn failure_is_returned_if_the_retry_bound_passes_meanwhile() {
    let config = RetryConfig { max_hold: SECOND / 10, ..RetryConfig::default() };
    let config = RetryConfig { backoff: Backoff::constant(SECOND / 1000), ..config };
    let calls = RetryLayer::http(config).unwrap().layer(service_fn(|_: Request<_>| async {
        tokio::time::sleep(SECOND / 1000 * 80).await;
        Ok::<_, BoxError>(Response::builder().status(500).body(slow(&[Duration::ZERO, SECOND])).unwrap())
    }));
    let response = calls.oneshot(request()).await.unwrap();
    assert_eq!(response.status(), 500);
}

/// The attempt timeout does not cut a long-lived body, but it cuts a head that does not come.
#[tokio::test(start_paused = true)]
async fn long_lived_response_outlasts_the_attempt_timeout() {
    let attempts = Arc::new(AtomicUsize::new(0));
    let breaker = CircuitBreakerLayer::http(CircuitBreakerConfig::default()).unwrap();
    let handle = breaker.handle();
    let config = RetryConfig { attempt_timeout: Some(SECOND / 5), ..RetryConfig::default() };
    let calls = ServiceBuilder::new()
        .layer(DeadlineLayer::http(10 * SECOND).unwrap())
        .layer(RetryLayer::http(config).unwrap())
        .layer(BulkheadLayer::http(BulkheadConfig::default()).unwrap())
        .layer(breaker)
        .service(service_fn(move |_: Request<_>| {
            let first = attempts.fetch_add(1, Ordering::Relaxed) == 0;
            async move {
                if first {
                    std::future::pending::<()>().await;
                }
                Ok::<_, BoxError>(Response::new(slow(&[30 * SECOND, 40 * SECOND])))
            }
        }));
    let mut request = request();
    request.extensions_mut().insert(LongLived::new(60 * SECOND).with_head(5 * SECOND));
    let response = calls.oneshot(request).await.unwrap();
    assert_eq!(
        handle.snapshot().slow,
        0,
        "the first attempt had less time than a slow call takes: {:?}",
        handle.snapshot()
    );
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes().len(), 2);
}
