//! Between other layers: a refusal is not retried, and no evidence for a breaker.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer, State};
use seawall::deadline::DeadlineLayer;
use seawall::retry::{Backoff, CloneRequest, RetryConfig, RetryLayer, Stop, report};
use tower::ServiceBuilder;

use super::*;

fn retry() -> RetryLayer<AsTold, CloneRequest> {
    let config = RetryConfig { backoff: Backoff::exponential(MS, 1.0), ..RetryConfig::default() };
    RetryLayer::new(config).unwrap().with_classifier(as_told()).with_replay(CloneRequest::idempotent())
}

#[tokio::test(start_paused = true)]
async fn refusal_is_not_retried() {
    let throttle = layer(ThrottleConfig { max_share: 0.999_999, ..Default::default() });
    calls(&throttle, OVERLOADED, 1_000).await;
    let service = ServiceBuilder::new().layer(retry()).layer(throttle).service(service_fn(echo));
    // One attempt in a thousand is sent.
    let report = loop {
        let (answer, report) = report(service.clone().oneshot(OVERLOADED)).await;
        if is_throttled(answer) {
            break report;
        }
    };
    let report = report.expect("there is a retry layer");
    assert_eq!((report.attempts, report.stopped, report.verdicts), (1, Stop::Verdict, vec![Verdict::Ignored]));
}

/// The answer of the dependency is never replaced by a refusal of ours.
#[tokio::test(start_paused = true)]
async fn refused_retry_returns_the_answer_of_the_dependency() {
    let sent = Arc::new(AtomicU32::new(0));
    for _ in 0..20 {
        let throttle = layer(ThrottleConfig { max_share: 0.999_999, ..Default::default() });
        let (filling, counted) = (throttle.clone(), Arc::clone(&sent));
        let inner = service_fn(move |verdict: Verdict| {
            let filling = filling.clone();
            counted.fetch_add(1, Ordering::Relaxed);
            async move {
                calls(&filling, OVERLOADED, 1_000).await;
                Ok::<_, BoxError>(verdict)
            }
        });
        let service = ServiceBuilder::new().layer(retry()).layer(throttle).service(inner);
        assert_eq!(service.oneshot(OVERLOADED).await.unwrap(), OVERLOADED);
    }
    let sent = sent.load(Ordering::Relaxed);
    assert!(sent < 30, "{sent} attempts of 20 calls: nearly all retries are refused");
}

#[tokio::test(start_paused = true)]
async fn refusals_are_no_evidence_for_breakers_on_either_side() {
    let breaker = || CircuitBreakerLayer::new(CircuitBreakerConfig::default()).unwrap().with_classifier(as_told());
    let (outer, inner, throttle) = (breaker(), breaker(), layer(ThrottleConfig::default()));
    let service =
        ServiceBuilder::new().layer(outer.clone()).layer(throttle).layer(inner.clone()).service(service_fn(echo));
    for _ in 0..1000 {
        let _ = service.clone().oneshot(OVERLOADED).await;
    }
    for breaker in [outer, inner] {
        let snapshot = breaker.handle().snapshot();
        assert_eq!((snapshot.state, snapshot.failures), (State::Closed, 0));
    }
}

/// What the layers inside refuse was not sent, and is counted on neither side.
#[tokio::test(start_paused = true)]
async fn refusals_of_inner_layers_are_not_counted() {
    let throttle = layer(ThrottleConfig::default());
    let full = BulkheadConfig { max_concurrent: 1, max_waiting: 0, ..BulkheadConfig::default() };
    let bulkhead = BulkheadLayer::new(full).unwrap();
    let hangs = service_fn(|()| std::future::pending::<Result<Verdict, BoxError>>());
    let service = ServiceBuilder::new().layer(throttle.clone()).layer(bulkhead).service(hangs);
    let mut first = tokio_test::task::spawn(service.clone().oneshot(()));
    assert!(first.poll().is_pending());
    for _ in 0..100 {
        let error = service.clone().oneshot(()).await.unwrap_err();
        assert_eq!(rejection(&error).expect("a refusal").reason(), Reason::QueueFull);
    }
    assert_eq!((throttle.handle().requests(), throttle.handle().accepted()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn every_call_ends_at_its_deadline() {
    let throttle = layer(ThrottleConfig { max_hold: 2 * SECOND, ..Default::default() });
    let hangs = service_fn(|()| std::future::pending::<Result<Verdict, BoxError>>());
    let start = tokio::time::Instant::now();
    let error = throttle.layer(hangs).oneshot(()).await.unwrap_err();
    assert_eq!(rejection(&error).expect("a cut").reason(), Reason::HoldExceeded);
    assert_eq!(start.elapsed(), 2 * SECOND);
    let deadline = DeadlineLayer::new(SECOND).unwrap();
    let error = ServiceBuilder::new().layer(deadline).layer(throttle).service(hangs).oneshot(()).await.unwrap_err();
    assert_eq!(rejection(&error).expect("a cut").reason(), Reason::DeadlineExceeded);
    assert_eq!(start.elapsed(), 3 * SECOND);
}
