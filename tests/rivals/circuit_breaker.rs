use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer, State, Window};
use seawall::error::{Reason, rejection};
use tokio::time::{advance, timeout};
use tower::{BoxError, Layer, ServiceExt, service_fn};

use crate::{MILLISECOND, SECOND};

/// How the dependency answers a call.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    Answer,
    Fail,
    Hang,
}

struct Breaker {
    layer: CircuitBreakerLayer,
    /// The number of calls that have reached the dependency.
    reached: Arc<AtomicUsize>,
}

impl Breaker {
    fn new(config: CircuitBreakerConfig) -> Self {
        Self { layer: CircuitBreakerLayer::new(config).unwrap(), reached: Arc::default() }
    }

    async fn call(&self, will: Outcome) -> Result<(), BoxError> {
        let callee = service_fn(move |()| {
            self.reached.fetch_add(1, Ordering::SeqCst);
            async move {
                match will {
                    Outcome::Answer => Ok(()),
                    Outcome::Fail => Err(BoxError::from("out of order")),
                    Outcome::Hang => pending().await,
                }
            }
        });
        self.layer.layer(callee).oneshot(()).await
    }

    fn state(&self) -> State {
        self.layer.handle().state()
    }

    fn reached(&self) -> usize {
        self.reached.load(Ordering::SeqCst)
    }

    /// Moves the breaker from closed to open.
    async fn open(&self) {
        while self.state() == State::Closed {
            let _ = self.call(Outcome::Fail).await;
        }
        assert_eq!(self.state(), State::Open);
    }

    /// Moves the breaker from closed to open and lets the break pass: the next call is a probe.
    async fn open_for_a_while(&self) {
        self.open().await;
        advance(SECOND).await;
    }
}

fn is_refused(answer: &Result<(), BoxError>) -> bool {
    let rejected = answer.as_ref().err().and_then(rejection);
    rejected.is_some_and(|rejected| rejected.reason() == Reason::CircuitOpen)
}

#[tokio::test(start_paused = true)]
async fn call_window_forgets_old_successes() {
    let window = Window::Calls(100);
    let breaker = Breaker::new(CircuitBreakerConfig { window, consecutive_failures: None, ..Default::default() });
    for _ in 0..100_000 {
        breaker.call(Outcome::Answer).await.unwrap();
    }
    let before = breaker.reached();
    breaker.open().await;
    assert_eq!(breaker.reached() - before, 90, "nine in ten of the last hundred calls");
}

#[tokio::test(start_paused = true)]
async fn time_window_forgets_older_calls() {
    let breaker = Breaker::new(CircuitBreakerConfig { consecutive_failures: None, ..Default::default() });
    for _ in 0..9 {
        let _ = breaker.call(Outcome::Fail).await;
    }
    // A tenth failure would open it; after a silence it is the first failure again.
    advance(3600 * SECOND).await;
    let _ = breaker.call(Outcome::Fail).await;
    assert_eq!((breaker.state(), breaker.layer.handle().snapshot().failures), (State::Closed, 1));
}

#[tokio::test(start_paused = true)]
async fn abandoned_hanging_calls_open_it() {
    let breaker = Breaker::new(CircuitBreakerConfig::default());
    for _ in 0..200 {
        let _ = timeout(2 * SECOND, breaker.call(Outcome::Hang)).await;
    }
    assert!(breaker.reached() < 100, "{}", breaker.reached());
    assert_ne!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn hanging_dependency_gets_one_probe_at_a_time() {
    let breaker = Breaker::new(CircuitBreakerConfig::default());
    breaker.open_for_a_while().await;
    let before = breaker.reached();
    let everyone = (0..50).map(|_| timeout(100 * MILLISECOND, breaker.call(Outcome::Hang)));
    let answers = futures::future::join_all(everyone).await;
    assert_eq!(breaker.reached() - before, 1);
    assert_eq!(answers.iter().flatten().filter(|answer| is_refused(answer)).count(), 49);
}

#[tokio::test(start_paused = true)]
async fn sparse_calls_close_it() {
    let breaker = Breaker::new(CircuitBreakerConfig::default());
    breaker.open_for_a_while().await;
    let mut probes = 0;
    while breaker.state() != State::Closed {
        advance(3600 * SECOND).await;
        breaker.call(Outcome::Answer).await.unwrap();
        probes += 1;
        assert!(probes <= 1 + 2 + 4 + 8);
    }
}

#[test]
fn half_open_without_probes_cannot_be_configured() {
    let config = CircuitBreakerConfig { half_open_rounds: 0, ..Default::default() };
    assert_eq!(CircuitBreakerLayer::new(config).unwrap_err().faults()[0].path(), "half_open_rounds");
}

#[tokio::test(start_paused = true)]
async fn cancelled_probe_does_not_close_it_and_frees_its_slot() {
    let breaker = Breaker::new(CircuitBreakerConfig { half_open_rounds: 1, ..Default::default() });
    breaker.open_for_a_while().await;
    assert!(timeout(10 * MILLISECOND, breaker.call(Outcome::Hang)).await.is_err(), "the probe was sent");
    assert_eq!(breaker.state(), State::HalfOpen);
    breaker.call(Outcome::Answer).await.unwrap();
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn hanging_probe_does_not_block_it() {
    let breaker = Breaker::new(CircuitBreakerConfig::default());
    breaker.open_for_a_while().await;
    let hung = breaker.call(Outcome::Hang);
    tokio::pin!(hung);
    assert!(timeout(MILLISECOND, &mut hung).await.is_err());
    let mut seconds = 0;
    while is_refused(&breaker.call(Outcome::Answer).await) {
        advance(SECOND).await;
        seconds += 1;
        assert!(seconds <= 5, "the breaker is blocked");
    }
    assert!(futures::poll!(hung).is_pending(), "the probe still hangs");
}

#[tokio::test(start_paused = true)]
async fn probe_refused_by_an_inner_layer_frees_its_slot() {
    let inner = CircuitBreakerLayer::new(CircuitBreakerConfig::default()).unwrap();
    let outer = CircuitBreakerLayer::new(CircuitBreakerConfig::default()).unwrap();
    let callee = |answer: Result<(), &'static str>| service_fn(move |()| async move { answer });
    while outer.handle().state() == State::Closed {
        let _ = outer.layer(callee(Err("out of order"))).oneshot(()).await;
    }
    advance(SECOND).await;
    inner.handle().force_open();
    for _ in 0..3 {
        let answer = outer.layer(inner.layer(callee(Ok(())))).oneshot(()).await;
        assert!(is_refused(&answer), "{answer:?}");
        assert_eq!(outer.handle().state(), State::HalfOpen);
    }
    inner.handle().enforce();
    outer.layer(inner.layer(callee(Ok(())))).oneshot(()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn recovered_dependency_is_not_flooded_and_soon_has_full_load() {
    let breaker = Breaker::new(CircuitBreakerConfig::default());
    breaker.open_for_a_while().await;
    let before = breaker.reached();
    let everyone = (0..50).map(|_| breaker.call(Outcome::Answer));
    futures::future::join_all(everyone).await;
    // Immediate answers admit more calls at once.
    assert_eq!(breaker.state(), State::Closed);
    assert!(breaker.reached() > before);
}
