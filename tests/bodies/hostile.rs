//! Bodies that need no server: they never pause, take long, or observe what is held for them.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame};
use http_body_util::{BodyExt, Empty};
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer, PermitsHandle};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
use seawall::deadline::DeadlineLayer;
use seawall::error::Reason;
use tokio::time::{Instant, sleep};
use tower::{BoxError, ServiceBuilder, ServiceExt, service_fn};

use crate::client::{LATEST, boxed, refusal, until};

const DEADLINE: Duration = Duration::from_millis(100);

/// Always has another frame, each of which takes this long to produce.
struct Busy(Duration);

impl Body for Busy {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let begun = Instant::now();
        while begun.elapsed() < self.0 {
            std::hint::spin_loop();
        }
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
    }
}

/// Reads without ever yielding to other tasks.
async fn is_cut_in_time(takes: Duration) {
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::http(DEADLINE).unwrap())
        .layer(BulkheadLayer::http(BulkheadConfig::default()).unwrap())
        .service(service_fn(move |_| async move { Ok::<_, BoxError>(Response::new(Busy(takes))) }));
    let service = boxed(service);
    let start = Instant::now();
    let mut body = service.oneshot(Request::new(Empty::new())).await.unwrap().into_body();
    while start.elapsed() < LATEST {
        if let Err(error) = body.frame().await.unwrap() {
            assert_eq!(refusal(&error).map(|(_, reason)| reason), Some(Reason::DeadlineExceeded));
            assert!(start.elapsed() >= DEADLINE, "{:?}", start.elapsed());
            return;
        }
    }
    panic!("the body was not cut");
}

#[tokio::test]
async fn body_that_never_pauses_is_cut_on_a_blocked_runtime() {
    is_cut_in_time(Duration::ZERO).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn body_that_is_nearly_always_in_poll_is_cut() {
    tokio::spawn(is_cut_in_time(Duration::from_millis(1))).await.unwrap();
}

/// Notes how many permits are in use when it is dropped.
struct Witness(PermitsHandle, Arc<AtomicUsize>);

impl Body for Witness {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        Poll::Pending
    }
}

impl Drop for Witness {
    fn drop(&mut self) {
        self.1.store(1 + self.0.in_flight(), SeqCst);
    }
}

/// The call that gets the permit next must not begin while the connection is still open.
#[tokio::test(start_paused = true)]
async fn connection_is_dropped_before_the_permit_is_released() {
    let bulkhead = BulkheadLayer::http(BulkheadConfig::default()).unwrap();
    let (handle, seen) = (bulkhead.handle(), Arc::new(AtomicUsize::new(0)));
    let witness = (handle.clone(), Arc::clone(&seen));
    let breaker = CircuitBreakerLayer::http(CircuitBreakerConfig::default()).unwrap();
    let service = ServiceBuilder::new().layer(DeadlineLayer::http(DEADLINE).unwrap()).layer(bulkhead).layer(breaker);
    let service = service.service(service_fn(move |_| {
        let (handle, seen) = witness.clone();
        async move { Ok::<_, BoxError>(Response::new(Witness(handle, seen))) }
    }));
    let body = async || service.clone().oneshot(Request::new(())).await.unwrap().into_body();

    drop(body().await);
    assert_eq!(seen.swap(0, SeqCst), 1 + 1, "dropped");
    assert_eq!(handle.in_flight(), 0);

    let mut waited = body().await;
    assert!(futures::poll!(waited.frame()).is_pending());
    drop(waited);
    assert_eq!(seen.swap(0, SeqCst), 1 + 1, "dropped while a call waits for the permit");

    let parked = body().await;
    until(|| handle.in_flight() == 0).await;
    assert_eq!(seen.swap(0, SeqCst), 1 + 1, "cut");
    drop(parked);

    let mut read = body().await;
    assert!(read.frame().await.unwrap().is_err());
    assert_eq!(seen.swap(0, SeqCst), 1 + 1, "cut while a call waits for the permit");
}

/// A reader that panics and unwinds while it owns the body.
#[tokio::test(start_paused = true)]
async fn panicking_reader_leaves_nothing() {
    let bulkhead = BulkheadLayer::http(BulkheadConfig::default()).unwrap();
    let handle = bulkhead.handle();
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::http(DEADLINE).unwrap())
        .layer(bulkhead)
        .service(service_fn(|_| async { Ok::<_, BoxError>(Response::new(Busy(Duration::ZERO))) }));
    let service = boxed(service);
    let reader = tokio::spawn(async move {
        let mut body = service.oneshot(Request::new(Empty::new())).await.unwrap().into_body();
        body.frame().await.unwrap().unwrap();
        sleep(Duration::from_millis(1)).await;
        panic!("while it owns a body");
    });
    assert!(reader.await.is_err());
    assert_eq!(handle.in_flight(), 0);
}

/// Four threads and the reaper end bodies in every way: read, dropped, parked for a while, or cut at that moment.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn thousands_of_bodies_race_with_their_deadline() {
    let bulkhead = BulkheadLayer::http(BulkheadConfig { max_concurrent: 10_000, ..BulkheadConfig::default() }).unwrap();
    let breaker = CircuitBreakerLayer::http(CircuitBreakerConfig { observe_only: true, ..Default::default() }).unwrap();
    let (permits, breakers) = (bulkhead.handle(), breaker.handle());
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::http(Duration::from_millis(20)).unwrap())
        .layer(bulkhead)
        .layer(breaker)
        .service(service_fn(|_| async { Ok::<_, BoxError>(Response::new(Ticking(Box::pin(sleep(TICK))))) }));
    let service = boxed(service);
    let readers: Vec<_> = (0..2000_u64)
        .map(|n| {
            let service = service.clone();
            tokio::spawn(async move {
                let Ok(response) = service.oneshot(Request::new(Empty::new())).await else { return };
                let mut body = response.into_body();
                let mut frames = 0;
                let end = loop {
                    match body.frame().await {
                        Some(Ok(_)) => frames += 1,
                        end => break end,
                    }
                    if frames > n % 7 && n % 2 == 0 {
                        // Polls once and leaves, returns in time or too late, and drops the body.
                        let _ = futures::poll!(body.frame());
                        sleep(Duration::from_millis(n % 31)).await;
                        return;
                    }
                    if n % 3 == 0 {
                        sleep(Duration::from_millis(n % 11)).await;
                    }
                };
                let error = end.expect("the body is endless").unwrap_err();
                assert!(refusal(&error).is_some(), "{error}");
                assert!(body.frame().await.is_none());
            })
        })
        .collect();
    for reader in readers {
        reader.await.unwrap();
    }
    until(|| permits.in_flight() == 0).await;
    until(|| breakers.snapshot().in_flight == 0).await;
}

const TICK: Duration = Duration::from_millis(2);

/// A frame every two milliseconds.
struct Ticking(Pin<Box<tokio::time::Sleep>>);

impl Body for Ticking {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        std::task::ready!(self.0.as_mut().poll(cx));
        self.0 = Box::pin(sleep(TICK));
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(b"x")))))
    }
}
