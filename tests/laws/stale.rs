//! Stale results do not count: an answer changes only the state in which its call was admitted.

use std::time::Duration;

use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerHandle, CircuitBreakerLayer, State};
use tokio::time::{Instant, advance, sleep};
use tower::util::BoxCloneService;
use tower::{BoxError, Layer, Service, ServiceExt};

use crate::drive::Driven;
use crate::inner::{Answer, Difficult, Readiness};
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
            // The slow calls of these tests are slow on purpose.
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
        let service = self.layer.layer(Difficult::new(Readiness::AtOnce, answer));
        let mut service: BoxCloneService<u32, u32, BoxError> = service.boxed_clone();
        let mut call = Driven::new(service.call(7));
        let _ = call.poll();
        call
    }

    /// Closed, then half-open, with a probe that has not answered.
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
async fn stale_success_does_not_close_a_half_open_breaker() {
    let breaker = Breaker::new();
    let mut late = breaker.call(Answer::After(60 * SECOND));
    let _probe = breaker.half_open().await;
    assert_eq!(late.finish().await.unwrap(), 7, "the caller still gets the stale answer");
    assert_eq!(breaker.handle.state(), State::HalfOpen);
}

#[tokio::test(start_paused = true)]
async fn stale_failure_does_not_open_a_half_open_breaker() {
    let breaker = Breaker::new();
    let mut late = breaker.call(Answer::FailsAfter(60 * SECOND));
    let _probe = breaker.half_open().await;
    assert!(late.finish().await.is_err());
    assert_eq!(breaker.handle.state(), State::HalfOpen);
}

#[tokio::test(start_paused = true)]
async fn stale_abandoned_call_does_not_open_a_half_open_breaker() {
    let breaker = Breaker::new();
    let late = breaker.call(Answer::Never);
    let _probe = breaker.half_open().await;
    advance(2 * 3600 * SECOND).await;
    drop(late);
    assert_eq!(breaker.handle.state(), State::HalfOpen);
}

#[tokio::test(start_paused = true)]
async fn superseded_probe_changes_nothing() {
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
async fn failure_from_before_a_reset_is_not_counted() {
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
async fn late_answer_of_the_present_generation_counts() {
    let breaker = Breaker::new();
    let mut call = breaker.call(Answer::FailsAfter(60 * SECOND));
    assert!(call.finish().await.is_err());
    assert_eq!((breaker.handle.state(), breaker.handle.snapshot().failures), (State::Open, 1));
}

/// How long a breaker takes to detect a hanging dependency that used to be quick.
async fn opens_after(layer: &CircuitBreakerLayer) -> Duration {
    let handle = layer.handle();
    let start = Instant::now();
    let mut hung = Vec::new();
    while handle.state() == State::Closed {
        let mut call = Driven::new(layer.layer(Difficult::new(Readiness::AtOnce, Answer::Never)).call(7));
        let _ = call.poll();
        hung.push(call);
        advance(Duration::from_millis(100)).await;
        assert!(start.elapsed() < 3600 * SECOND, "the breaker never opens");
    }
    start.elapsed()
}

#[tokio::test(start_paused = true)]
async fn stale_answers_do_not_change_the_slow_threshold() {
    let layer = CircuitBreakerLayer::new(CircuitBreakerConfig::default()).unwrap();
    let handle = layer.handle();
    let quick = Difficult::new(Readiness::AtOnce, Answer::After(Duration::from_millis(20)));
    for _ in 0..500 {
        layer.layer(quick.clone()).oneshot(7).await.unwrap();
    }
    let usually = opens_after(&layer).await;
    let recovered = async || {
        while handle.state() != State::Closed {
            advance(SECOND).await;
            let _ = layer.layer(quick.clone()).oneshot(7).await;
        }
    };
    recovered().await;

    // Five hundred calls are sent before the stall can be detected. The breaker opens and closes again long before
    // they are answered.
    let stalled = layer.layer(Difficult::new(Readiness::AtOnce, Answer::After(50 * SECOND)));
    let calls: Vec<_> = (0..500).map(|n| tokio::spawn(stalled.clone().oneshot(n))).collect();
    sleep(Duration::from_millis(1)).await;
    opens_after(&layer).await;
    recovered().await;
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(opens_after(&layer).await, usually);
}

#[tokio::test(start_paused = true)]
async fn superseded_probe_does_not_change_the_slow_threshold() {
    let layer = CircuitBreakerLayer::new(CircuitBreakerConfig { jitter: 0.0, ..Default::default() }).unwrap();
    let handle = layer.handle();
    let quick = Difficult::new(Readiness::AtOnce, Answer::After(Duration::from_millis(20)));
    for _ in 0..500 {
        layer.layer(quick.clone()).oneshot(7).await.unwrap();
    }
    let usually = opens_after(&layer).await;
    advance(SECOND).await;
    let mut late = Driven::new(layer.layer(Difficult::new(Readiness::AtOnce, Answer::After(60 * SECOND))).call(7));
    assert!(late.poll().is_pending());
    assert_eq!(handle.state(), State::HalfOpen);
    // The probe hangs and other calls fail, which starts another break.
    advance(10 * SECOND).await;
    for _ in 0..3 {
        let failing = Difficult::new(Readiness::AtOnce, Answer::Fails);
        let _ = layer.layer(failing).oneshot(7).await;
    }
    assert_eq!(handle.state(), State::Open);
    // Its answer comes while the next probe is in flight.
    advance(49 * SECOND).await;
    let mut probe = Driven::new(layer.layer(Difficult::new(Readiness::AtOnce, Answer::After(2 * SECOND))).call(7));
    assert!(probe.poll().is_pending());
    assert_eq!(handle.state(), State::HalfOpen);
    late.finish().await.unwrap();
    drop(probe);
    while handle.state() != State::Closed {
        let _ = layer.layer(quick.clone()).oneshot(7).await;
        advance(SECOND / 10).await;
    }
    assert_eq!(opens_after(&layer).await, usually);
}
