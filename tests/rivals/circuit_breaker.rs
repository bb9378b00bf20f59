use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer, State, Window};
use seawall::error::{Reason, rejection};
use tokio::time::{advance, timeout};
use tower::{BoxError, Layer, ServiceExt, service_fn};

use crate::{MILLISECOND, SECOND};

/// What the callee does with a call.
#[derive(Clone, Copy, Debug)]
enum Will {
    Answer,
    Fail,
    Hang,
}

struct Breaker {
    layer: CircuitBreakerLayer,
    /// How many calls have reached the callee.
    reached: Arc<AtomicUsize>,
}

impl Breaker {
    fn new(config: CircuitBreakerConfig) -> Self {
        Self { layer: CircuitBreakerLayer::new(config).unwrap(), reached: Arc::default() }
    }

    async fn call(&self, will: Will) -> Result<(), BoxError> {
        let callee = service_fn(move |()| {
            self.reached.fetch_add(1, Ordering::SeqCst);
            async move {
                match will {
                    Will::Answer => Ok(()),
                    Will::Fail => Err(BoxError::from("out of order")),
                    Will::Hang => pending().await,
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

    /// Closed => Open
    async fn open(&self) {
        while self.state() == State::Closed {
            let _ = self.call(Will::Fail).await;
        }
        assert_eq!(self.state(), State::Open);
    }

    /// Closed => Open, and the break is over: the next call is a probe.
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
async fn a_window_of_calls_slides_however_many_good_days_there_were() {
    let window = Window::Calls(100);
    let breaker = Breaker::new(CircuitBreakerConfig { window, consecutive_failures: None, ..Default::default() });
    for _ in 0..100_000 {
        breaker.call(Will::Answer).await.unwrap();
    }
    let before = breaker.reached();
    breaker.open().await;
    assert_eq!(breaker.reached() - before, 90, "nine in ten of the last hundred");
}

#[tokio::test(start_paused = true)]
async fn a_window_of_time_forgets_what_is_older_than_it() {
    let breaker = Breaker::new(CircuitBreakerConfig { consecutive_failures: None, ..Default::default() });
    for _ in 0..9 {
        let _ = breaker.call(Will::Fail).await;
    }
    // A tenth failure would open it; after a silence it is the first again.
    advance(3600 * SECOND).await;
    let _ = breaker.call(Will::Fail).await;
    assert_eq!((breaker.state(), breaker.layer.handle().snapshot().failures), (State::Closed, 1));
}

#[tokio::test(start_paused = true)]
async fn a_callee_that_hangs_until_its_callers_give_up_opens_it() {
    let breaker = Breaker::new(CircuitBreakerConfig::default());
    for _ in 0..200 {
        let _ = timeout(2 * SECOND, breaker.call(Will::Hang)).await;
    }
    assert!(breaker.reached() < 100, "{}", breaker.reached());
    assert_ne!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_callee_that_hangs_is_probed_one_by_one_and_not_by_everyone() {
    let breaker = Breaker::new(CircuitBreakerConfig::default());
    breaker.open_for_a_while().await;
    let before = breaker.reached();
    let everyone = (0..50).map(|_| timeout(100 * MILLISECOND, breaker.call(Will::Hang)));
    let answers = futures::future::join_all(everyone).await;
    assert_eq!(breaker.reached() - before, 1);
    assert_eq!(answers.iter().flatten().filter(|answer| is_refused(answer)).count(), 49);
}

#[tokio::test(start_paused = true)]
async fn calls_that_are_far_apart_close_it_again() {
    let breaker = Breaker::new(CircuitBreakerConfig::default());
    breaker.open_for_a_while().await;
    let mut probes = 0;
    while breaker.state() != State::Closed {
        advance(3600 * SECOND).await;
        breaker.call(Will::Answer).await.unwrap();
        probes += 1;
        assert!(probes <= 1 + 2 + 4 + 8);
    }
}

#[test]
fn a_half_open_state_that_lets_nobody_pass_cannot_be_configured() {
    let config = CircuitBreakerConfig { half_open_rounds: 0, ..Default::default() };
    assert_eq!(CircuitBreakerLayer::new(config).unwrap_err().faults()[0].path(), "half_open_rounds");
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_is_cancelled_neither_closes_it_nor_keeps_its_place() {
    let breaker = Breaker::new(CircuitBreakerConfig { half_open_rounds: 1, ..Default::default() });
    breaker.open_for_a_while().await;
    assert!(timeout(10 * MILLISECOND, breaker.call(Will::Hang)).await.is_err(), "it was a probe");
    assert_eq!(breaker.state(), State::HalfOpen);
    breaker.call(Will::Answer).await.unwrap();
    assert_eq!(breaker.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_never_returns_does_not_block_it() {
    let breaker = Breaker::new(CircuitBreakerConfig::default());
    breaker.open_for_a_while().await;
    let hung = breaker.call(Will::Hang);
    tokio::pin!(hung);
    assert!(timeout(MILLISECOND, &mut hung).await.is_err());
    let mut seconds = 0;
    while is_refused(&breaker.call(Will::Answer).await) {
        advance(SECOND).await;
        seconds += 1;
        assert!(seconds <= 5, "it is blocked");
    }
    assert!(futures::poll!(hung).is_pending(), "and it still has not returned");
}

#[tokio::test(start_paused = true)]
async fn a_probe_that_a_layer_further_in_refuses_gives_its_place_back() {
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
async fn a_callee_that_is_back_is_not_flooded_and_has_its_load_again_within_a_second() {
    let breaker = Breaker::new(CircuitBreakerConfig::default());
    breaker.open_for_a_while().await;
    let before = breaker.reached();
    let everyone = (0..50).map(|_| breaker.call(Will::Answer));
    futures::future::join_all(everyone).await;
    // Answers that come at once let more pass at once.
    assert_eq!(breaker.state(), State::Closed);
    assert!(breaker.reached() > before);
}
