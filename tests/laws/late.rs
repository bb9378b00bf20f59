//! Late news is old news: an answer moves no state but that in which its call was admitted.

use std::time::Duration;

use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerHandle, CircuitBreakerLayer, State};
use tokio::time::advance;
use tower::util::BoxCloneService;
use tower::{BoxError, Layer, Service, ServiceExt};

use crate::drive::Driven;
use crate::inner::{Answer, Hard, Readiness};
use crate::subject::Call;

const SECOND: Duration = Duration::from_secs(1);

/// One failure opens it, for a second.
struct Breaker {
    layer: CircuitBreakerLayer,
    handle: CircuitBreakerHandle,
}

impl Breaker {
    fn new() -> Self {
        let layer = CircuitBreakerLayer::new(CircuitBreakerConfig {
            consecutive_failures: Some(1),
            // Whoever is slow here is slow on purpose.
            slow_after: Some(3600 * SECOND),
            jitter: 0.0,
            max_hold: 24 * 3600 * SECOND,
            ..CircuitBreakerConfig::default()
        })
        .unwrap();
        let handle = layer.handle();
        Self { layer, handle }
    }

    fn call(&self, answer: Answer) -> Driven<Call> {
        let service = self.layer.layer(Hard::new(Readiness::AtOnce, answer));
        let mut service: BoxCloneService<u32, u32, BoxError> = service.boxed_clone();
        let mut call = Driven::new(service.call(7));
        let _ = call.poll();
        call
    }

    /// Closed => HalfOpen, with a probe that has not answered.
    async fn half_open(&self) -> Driven<Call> {
        self.call(Answer::Fails);
        assert_eq!(self.handle.state(), State::Open);
        advance(SECOND).await;
        let probe = self.call(Answer::Never);
        assert_eq!(self.handle.state(), State::HalfOpen);
        probe
    }
}

#[tokio::test(start_paused = true)]
async fn a_success_of_the_closed_era_does_not_close_a_half_open_breaker() {
    let breaker = Breaker::new();
    let mut late = breaker.call(Answer::After(60 * SECOND));
    let _probe = breaker.half_open().await;
    assert_eq!(late.finish().await.unwrap(), 7, "who still waits for it gets it");
    assert_eq!(breaker.handle.state(), State::HalfOpen);
}

#[tokio::test(start_paused = true)]
async fn a_failure_of_the_closed_era_does_not_open_a_half_open_breaker() {
    let breaker = Breaker::new();
    let mut late = breaker.call(Answer::FailsAfter(60 * SECOND));
    let _probe = breaker.half_open().await;
    assert!(late.finish().await.is_err());
    assert_eq!(breaker.handle.state(), State::HalfOpen);
}

#[tokio::test(start_paused = true)]
async fn an_abandoned_call_of_the_closed_era_does_not_open_a_half_open_breaker() {
    let breaker = Breaker::new();
    let late = breaker.call(Answer::Never);
    let _probe = breaker.half_open().await;
    advance(2 * 3600 * SECOND).await;
    drop(late);
    assert_eq!(breaker.handle.state(), State::HalfOpen);
}

#[tokio::test(start_paused = true)]
async fn a_probe_of_an_earlier_half_open_era_moves_nothing() {
    for answer in [Answer::After(60 * SECOND), Answer::FailsAfter(60 * SECOND)] {
        let breaker = Breaker::new();
        breaker.call(Answer::Fails);
        advance(SECOND).await;
        let mut late = breaker.call(answer);
        assert_eq!(breaker.handle.state(), State::HalfOpen);
        breaker.handle.reset();
        let _probe = breaker.half_open().await;
        let _ = late.finish().await;
        assert_eq!(breaker.handle.state(), State::HalfOpen, "{answer:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_failure_from_before_a_reset_is_not_counted_after_it() {
    for forget in [
        CircuitBreakerHandle::reset,
        |handle: &CircuitBreakerHandle| {
            handle.force_open();
            handle.enforce();
        },
        |handle: &CircuitBreakerHandle| {
            handle.disable();
            handle.enforce();
        },
    ] {
        let breaker = Breaker::new();
        let mut late = breaker.call(Answer::FailsAfter(60 * SECOND));
        forget(&breaker.handle);
        assert!(late.finish().await.is_err());
        let snapshot = breaker.handle.snapshot();
        assert_eq!((snapshot.state, snapshot.calls, snapshot.failures), (State::Closed, 0, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn news_that_is_not_late_is_news() {
    let breaker = Breaker::new();
    let mut call = breaker.call(Answer::FailsAfter(60 * SECOND));
    assert!(call.finish().await.is_err());
    assert_eq!((breaker.handle.state(), breaker.handle.snapshot().failures), (State::Open, 1));
}
