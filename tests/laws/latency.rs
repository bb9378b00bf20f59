//! The dependency is judged for its own time only: no sample includes a wait of ours or a caller's lack of time.

use std::time::Duration;

use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer, Snapshot, State};
use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
use seawall::retry::{Backoff, Jitter, RetryConfig, RetryLayer};
use tokio::time::{sleep, timeout};
use tower::layer::util::Identity;
use tower::{BoxError, Layer, Service, ServiceExt};

use crate::drive::{Driven, past_its_deadline};
use crate::inner::{Answer, Difficult, Readiness};

const SECOND: Duration = Duration::from_secs(1);
const QUICK: Duration = Duration::from_millis(20);
const AS_USUAL: Answer = Answer::After(QUICK);
/// Longer than any quick answer, and shorter than every wait of these tests.
const SLOW: Duration = Duration::from_millis(500);

fn breaker() -> CircuitBreakerLayer {
    CircuitBreakerLayer::new(CircuitBreakerConfig { slow_after: Some(SLOW), ..CircuitBreakerConfig::default() })
        .unwrap()
}

/// Sends fifty calls at once through a breaker and, further in, a layer that makes them wait. Checks the breaker all
/// the time, and returns its final snapshot.
async fn crowd<L>(within: L, callee: Difficult, patience: Duration) -> Snapshot
where
    L: Layer<Difficult>,
    L::Service: Service<u32, Response = u32, Error: Into<BoxError>, Future: Send> + Clone + Send + 'static,
{
    let breaker = breaker();
    let service = breaker.layer(within.layer(callee));
    let calls: Vec<_> = (0..50).map(|n| tokio::spawn(timeout(patience, service.clone().oneshot(n)))).collect();
    let handle = breaker.handle();
    while !calls.iter().all(tokio::task::JoinHandle::is_finished) {
        let snapshot = handle.snapshot();
        assert_eq!((snapshot.state, snapshot.slow, snapshot.overdue), (State::Closed, 0, 0));
        sleep(QUICK / 3).await;
    }
    handle.snapshot()
}

#[tokio::test(start_paused = true)]
async fn slow_dependency_opens_the_breaker() {
    let breaker = breaker();
    let service = breaker.layer(Difficult::new(Readiness::AtOnce, Answer::After(2 * SLOW)));
    let calls: Vec<_> = (0..50).map(|n| tokio::spawn(service.clone().oneshot(n))).collect();
    for call in calls {
        let _ = call.await.unwrap();
    }
    assert_ne!(breaker.handle().state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn wait_for_readiness_is_no_time_of_the_dependency() {
    let callee = Difficult::new(Readiness::After(4 * SLOW), AS_USUAL);
    let end = crowd(Identity::new(), callee, 60 * SECOND).await;
    assert_eq!((end.state, end.calls, end.slow), (State::Closed, 50, 0));
    // All calls wait in turn for one slot.
    let callee = Difficult::new(Readiness::Slots, AS_USUAL);
    let end = crowd(Identity::new(), callee, 60 * SECOND).await;
    assert_eq!((end.state, end.calls, end.slow), (State::Closed, 50, 0));
}

#[tokio::test(start_paused = true)]
async fn backoff_is_no_time_of_the_dependency() {
    let callee =
        Difficult::scripted(Readiness::AtOnce, |call| if call < 5 { Answer::FailsAfter(QUICK) } else { AS_USUAL });
    let backoff = Backoff { jitter: Jitter::None, ..Backoff::constant(4 * SLOW) };
    let retry = RetryLayer::new(RetryConfig { backoff, ..RetryConfig::default() }).unwrap();
    let end = crowd(retry, callee, 60 * SECOND).await;
    assert_eq!((end.state, end.calls, end.slow), (State::Closed, 50, 0));
}

#[tokio::test(start_paused = true)]
async fn wait_in_a_queue_is_no_time_of_the_dependency() {
    let bulkhead = BulkheadConfig { max_concurrent: 1, max_wait: 60 * SECOND, ..BulkheadConfig::default() };
    let end =
        crowd(BulkheadLayer::new(bulkhead).unwrap(), Difficult::new(Readiness::AtOnce, AS_USUAL), 60 * SECOND).await;
    assert_eq!((end.state, end.calls, end.slow), (State::Closed, 50, 0));
    let load_shed = LoadShedConfig { max_in_flight: 1, queue_ratio: 100.0, ..LoadShedConfig::default() };
    let end =
        crowd(LoadShedLayer::new(load_shed).unwrap(), Difficult::new(Readiness::AtOnce, AS_USUAL), 60 * SECOND).await;
    assert_eq!((end.state, end.calls, end.slow), (State::Closed, 50, 0));
}

#[tokio::test(start_paused = true)]
async fn call_dropped_in_a_queue_is_no_evidence() {
    let callee = Difficult::new(Readiness::Slots, AS_USUAL);
    let _taken = callee.slots().try_acquire_owned();
    let end = crowd(Identity::new(), callee, 4 * SLOW).await;
    assert_eq!((end.state, end.slow), (State::Closed, 0));
}

#[tokio::test(start_paused = true)]
async fn call_without_time_is_no_evidence() {
    let breaker = breaker();
    let handle = breaker.handle();
    past_its_deadline(async move {
        for _ in 0..100 {
            let mut service = breaker.layer(Difficult::new(Readiness::AtOnce, AS_USUAL));
            assert!(Driven::new(service.call(7)).finish().await.is_err());
        }
    })
    .await;
    let end = handle.snapshot();
    assert_eq!((end.state, end.failures, end.slow), (State::Closed, 0, 0));
}
