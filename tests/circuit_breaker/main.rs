//! The circuit breaker, through its public API and in virtual time.
#![allow(clippy::disallowed_methods, reason = "tests sleep and look at the clock as users do")]

mod balancer;
mod half_open;
mod hanging;
mod recovery;

use std::future::{Future, pending};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::task::noop_waker;
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer, State};
use seawall::deadline::DeadlineLayer;
use seawall::error::{Reason, Rejected, rejection};
use seawall::rate_limit::{RateLimitConfig, RateLimitLayer};
use seawall::retry::{RetryConfig, RetryLayer};
use seawall::verdict::{self, Verdict};
use tokio::time::{Instant, advance, sleep};
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

fn layer(config: CircuitBreakerConfig) -> CircuitBreakerLayer {
    CircuitBreakerLayer::new(CircuitBreakerConfig { jitter: 0.0, ..config }).expect("a valid configuration")
}

/// Three failures of three open it.
fn quick() -> CircuitBreakerLayer {
    layer(CircuitBreakerConfig { minimum_calls: 3, ..Default::default() })
}

/// Answers after this many milliseconds; from a million on, never. An odd number fails.
async fn callee(millis: u64) -> Result<u64, BoxError> {
    match millis {
        1_000_000.. => pending().await,
        0 => Ok(0),
        1 => Err("down".into()),
        millis => {
            sleep(Duration::from_millis(millis)).await;
            if millis % 2 == 0 { Ok(millis) } else { Err("down".into()) }
        }
    }
}

const OK: u64 = 0;
const FAILS: u64 = 1;
const HANGS: u64 = 1_000_000;

async fn call<S: Service<u64, Error = BoxError> + Clone>(
    service: &S,
    millis: u64,
) -> Result<S::Response, Option<Rejected>> {
    service.clone().oneshot(millis).await.map_err(|error| rejection(&error).cloned())
}

fn poll_once<F: Future>(future: std::pin::Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(&noop_waker()))
}

#[tokio::test(start_paused = true)]
async fn breaker_opens_refuses_probes_and_closes() {
    let layer = quick();
    let handle = layer.handle();
    let service = layer.layer(service_fn(callee));
    for _ in 0..3 {
        assert_eq!(call(&service, FAILS).await, Err(None), "the error of the dependency");
    }
    assert_eq!(handle.state(), State::Open);
    advance(300 * MS).await;
    let rejected = call(&service, OK).await.unwrap_err().expect("nothing was sent");
    assert_eq!((rejected.layer(), rejected.reason()), ("circuit_breaker", Reason::CircuitOpen));
    assert_eq!(rejected.retry_after(), Some(700 * MS));
    assert_eq!(rejected.verdict(), Verdict::Ignored);
    advance(700 * MS).await;
    for _ in 0..15 {
        assert_eq!(call(&service, OK).await, Ok(0));
    }
    assert_eq!(handle.state(), State::Closed);
}

/// With answers in 20 ms and a hundred calls a second, all calls pass again a quarter of a second after the break.
#[tokio::test(start_paused = true)]
async fn quick_answers_close_it_within_a_quarter_second() {
    let layer = quick();
    let handle = layer.handle();
    let service = layer.layer(service_fn(callee));
    for _ in 0..3 {
        let _ = call(&service, FAILS).await;
    }
    advance(SECOND).await;
    let start = Instant::now();
    while handle.state() != State::Closed {
        let service = service.clone();
        tokio::spawn(async move { call(&service, 20).await.is_ok() });
        sleep(10 * MS).await;
        assert!(start.elapsed() < SECOND, "{:?}", handle.snapshot());
    }
    assert!(start.elapsed() < 400 * MS, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn refusal_takes_one_poll_and_releases_the_inner_service() {
    let layer = quick();
    layer.handle().force_open();
    let limited = tower::limit::ConcurrencyLimit::new(service_fn(callee), 1);
    let mut other = limited.clone();
    let mut service = layer.layer(limited);
    service.ready().await.unwrap();
    assert!(futures::poll!(other.ready()).is_pending(), "the readied service has the only permit");
    let mut refused = pin!(service.call(OK));
    assert!(futures::poll!(other.ready()).is_ready(), "the refusal releases it");
    let Poll::Ready(Err(error)) = poll_once(refused.as_mut()) else { panic!("the refusal took more than one poll") };
    assert_eq!(
        rejection(&error).map(Rejected::retry_after),
        Some(Some(SECOND)),
        "the end of the break is unknown, so the minimum applies"
    );
    assert!(poll_once(refused).is_pending(), "a poll after completion does not panic");
}

/// In polly and resilience4j a dropped probe closes the circuit, or its slot is lost.
#[tokio::test(start_paused = true)]
async fn dropped_probe_releases_its_slot() {
    let layer = quick();
    let handle = layer.handle();
    let service = layer.layer(service_fn(callee));
    for _ in 0..3 {
        let _ = call(&service, FAILS).await;
    }
    advance(SECOND).await;
    {
        let mut probe = pin!(service.clone().oneshot(HANGS));
        assert!(poll_once(probe.as_mut()).is_pending());
        assert_eq!(handle.snapshot().in_flight, 1);
        assert!(call(&service, OK).await.is_err(), "one probe at a time");
    }
    assert_eq!((handle.state(), handle.snapshot().in_flight), (State::HalfOpen, 0));
    assert_eq!(call(&service, OK).await, Ok(0));
    assert_eq!(handle.state(), State::HalfOpen);
}

#[tokio::test(start_paused = true)]
async fn unpolled_calls_are_not_recorded() {
    let layer = quick();
    let mut service = layer.layer(service_fn(callee));
    for _ in 0..9 {
        let parked = service.ready().await.unwrap().call(OK);
        advance(3600 * SECOND).await;
        drop(parked);
    }
    assert_eq!((layer.handle().state(), layer.handle().snapshot().slow), (State::Closed, 0));
}

/// In tower-resilience, calls cut by an outer timeout are not recorded, and a hung dependency gets every probe.
#[tokio::test(start_paused = true)]
async fn calls_cut_by_an_outer_timeout_open_it() {
    let layer = layer(CircuitBreakerConfig::default());
    let handle = layer.handle();
    let sent = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&sent);
    let service = ServiceBuilder::new().layer(DeadlineLayer::new(100 * MS).unwrap()).layer(layer).service(service_fn(
        move |millis| {
            count.fetch_add(1, Ordering::Relaxed);
            callee(millis)
        },
    ));
    for _ in 0..200 {
        let rejected = call(&service, HANGS).await.unwrap_err().expect("a refusal");
        assert!(matches!(rejected.reason(), Reason::DeadlineExceeded | Reason::CircuitOpen));
    }
    assert_eq!(handle.state(), State::Open);
    assert_eq!(sent.load(Ordering::Relaxed), 10);
    for _ in 0..100 {
        advance(50 * MS).await;
        let _ = call(&service, HANGS).await;
    }
    // Three probes per break, and the fourth break is longer.
    assert!(sent.load(Ordering::Relaxed) <= 10 + 4 * 3, "{sent:?} in five seconds of probing");
}

/// The same without a deadline of ours, and without a single success as a reference.
#[tokio::test(start_paused = true)]
async fn calls_cut_by_a_foreign_timeout_open_it() {
    let layer = layer(CircuitBreakerConfig::default());
    let handle = layer.handle();
    let service = tower::timeout::Timeout::new(layer.layer(service_fn(callee)), SECOND);
    for _ in 0..20 {
        assert!(service.clone().oneshot(HANGS).await.is_err());
    }
    assert_ne!(handle.state(), State::Closed);
}

/// In Sentinel, a probe that an inner layer refuses leaves the breaker half-open for ever.
#[tokio::test(start_paused = true)]
async fn probe_refused_further_in_does_not_wedge_it() {
    let (outer, inner) = (quick(), quick());
    let (handle, gate) = (outer.handle(), inner.handle());
    let service = ServiceBuilder::new().layer(outer).layer(inner).service(service_fn(callee));
    for _ in 0..3 {
        let _ = call(&service, FAILS).await;
    }
    gate.force_open();
    advance(SECOND).await;
    for _ in 0..50 {
        assert!(call(&service, OK).await.is_err());
    }
    assert_eq!(handle.state(), State::HalfOpen, "a refusal further in is no evidence");
    gate.enforce();
    for _ in 0..15 {
        assert_eq!(call(&service, OK).await, Ok(0));
    }
    assert_eq!(handle.state(), State::Closed);
}

#[tokio::test(start_paused = true)]
async fn wait_for_inner_readiness_is_not_recorded() {
    let layer = layer(CircuitBreakerConfig { minimum_calls: 3, slow_after: Some(100 * MS), ..Default::default() });
    let handle = layer.handle();
    let service = layer.layer(tower::limit::ConcurrencyLimit::new(service_fn(callee), 1));
    let calls = (0..50).map(|_| {
        let mut service = service.clone();
        tokio::spawn(async move { service.ready().await?.call(50).await })
    });
    for answer in futures::future::join_all(calls).await {
        assert_eq!(answer.unwrap().unwrap(), 50, "the last call ends after 2.5 s");
    }
    let snapshot = handle.snapshot();
    assert_eq!((snapshot.state, snapshot.slow, snapshot.overdue, snapshot.in_flight), (State::Closed, 0, 0, 0));
}

#[tokio::test(start_paused = true)]
async fn call_without_deadline_ends_at_max_hold_and_counts() {
    let layer = layer(CircuitBreakerConfig { max_hold: 5 * SECOND, ..Default::default() });
    let handle = layer.handle();
    let service = layer.layer(service_fn(callee));
    let start = Instant::now();
    let rejected = call(&service, HANGS).await.unwrap_err().expect("a refusal");
    assert_eq!((rejected.reason(), start.elapsed()), (Reason::HoldExceeded, 5 * SECOND));
    let snapshot = handle.snapshot();
    assert_eq!((snapshot.calls, snapshot.failures, snapshot.slow, snapshot.in_flight), (1, 1, 1, 0));
}

#[tokio::test(start_paused = true)]
async fn services_of_one_layer_value_share_its_state() {
    let layer = quick();
    let (first, second) = (layer.layer(service_fn(callee)), layer.clone().layer(service_fn(callee)));
    for service in [&first, &second, &first] {
        assert_eq!(call(service, FAILS).await, Err(None));
    }
    assert!(call(&second, OK).await.is_err_and(|rejected| rejected.is_some()));
    assert_eq!(call(&quick().layer(service_fn(callee)), OK).await, Ok(0), "another layer value has its own state");
}

#[tokio::test(start_paused = true)]
async fn dead_host_opens_only_its_own_breaker() {
    let layer = quick().keyed_by(|host: &u64| *host);
    let handle = layer.handle();
    let service = layer.layer(service_fn(callee));
    for _ in 0..3 {
        let _ = call(&service, FAILS).await;
        assert_eq!(call(&service, OK).await, Ok(0));
    }
    assert!(call(&service, FAILS).await.is_err_and(|rejected| rejected.is_some()));
    assert_eq!(call(&service, OK).await, Ok(0));
    let mut states: Vec<_> = handle.snapshots().iter().map(|snapshot| snapshot.state.as_str()).collect();
    states.sort_unstable();
    assert_eq!(states, ["closed", "closed", "open"], "the shared state, and two hosts");
    handle.force_open();
    assert!(call(&service, OK).await.is_err());
    assert!(call(&service, 2).await.is_err(), "a new host is refused too");
    handle.enforce();
    assert_eq!(call(&service, FAILS).await, Err(None), "a new state");
}

#[tokio::test(start_paused = true)]
async fn classifier_decides_what_is_a_failure() {
    let classifier = verdict::from_fn(|result: Result<&u64, &BoxError>| match result {
        Ok(7) => Verdict::Failed,
        Ok(_) => Verdict::Success,
        Err(_) => Verdict::CallerFault,
    });
    let config = CircuitBreakerConfig { minimum_calls: 3, failure_rate: 0.5, ..Default::default() };
    let layer = layer(config).with_classifier(classifier);
    let handle = layer.handle();
    let service =
        layer.layer(service_fn(|n| async move { if n == FAILS { Err(BoxError::from("bad input")) } else { Ok(n) } }));
    for _ in 0..10 {
        assert_eq!(call(&service, FAILS).await, Err(None));
    }
    assert_eq!(handle.state(), State::Closed, "an error of the caller proves that the dependency is alive");
    for _ in 0..10 {
        let _ = call(&service, 7).await;
    }
    assert_eq!(handle.state(), State::Open);
}

#[tokio::test(start_paused = true)]
async fn handle_observes_enforces_resets_and_disables() {
    let layer = quick();
    let handle = layer.handle();
    let service = layer.layer(service_fn(callee));
    handle.observe();
    for _ in 0..5 {
        assert_eq!(call(&service, FAILS).await, Err(None));
    }
    assert_eq!(handle.state(), State::Open, "it opens, and refuses nothing");
    handle.enforce();
    assert!(call(&service, OK).await.is_err(), "now it refuses");
    handle.reset();
    assert_eq!(call(&service, OK).await, Ok(0));
    handle.disable();
    for _ in 0..10 {
        assert_eq!(call(&service, FAILS).await, Err(None));
    }
    let snapshot = handle.snapshot();
    assert_eq!((snapshot.state, snapshot.calls), (State::Disabled, 0));
}

/// A call that panics releases its probe, as a dropped call does.
#[tokio::test(start_paused = true)]
async fn panic_further_in_releases_the_probe() {
    let layer = quick();
    let handle = layer.handle();
    let service = layer.layer(service_fn(|millis| async move {
        assert_ne!(millis, 13, "a bug");
        callee(millis).await
    }));
    for _ in 0..3 {
        let _ = call(&service, FAILS).await;
    }
    advance(SECOND).await;
    let panicking = service.clone();
    assert!(tokio::spawn(panicking.oneshot(13)).await.is_err());
    assert_eq!((handle.state(), handle.snapshot().in_flight), (State::HalfOpen, 0));
    assert_eq!(call(&service, OK).await, Ok(0));
}

#[tokio::test(start_paused = true)]
async fn inner_refusals_open_nothing_under_any_classifier() {
    let every_error = verdict::from_fn(|result: Result<&u64, &BoxError>| match result {
        Ok(_) => Verdict::Success,
        Err(_) => Verdict::Transient,
    });
    let breaker = quick().with_classifier(every_error);
    let handle = breaker.handle();
    let one_an_hour = RateLimitConfig { permits: 1, per: Duration::from_secs(3600), ..RateLimitConfig::default() };
    let service = ServiceBuilder::new()
        .layer(breaker)
        .layer(RateLimitLayer::new(one_an_hour).unwrap())
        .service(service_fn(callee));
    let mut refused = 0;
    for _ in 0..100 {
        refused += usize::from(service.clone().oneshot(OK).await.is_err());
    }
    assert_eq!((refused, handle.state()), (99, State::Closed));
}

/// A call that was never sent proves nothing, whichever bound ends its wait.
#[tokio::test(start_paused = true)]
async fn readiness_wait_that_ends_at_max_hold_is_not_recorded() {
    let layer = layer(CircuitBreakerConfig { minimum_calls: 3, max_hold: 5 * SECOND, ..Default::default() });
    let handle = layer.handle();
    let limited = tower::limit::ConcurrencyLimit::new(service_fn(callee), 1);
    let mut holder = limited.clone();
    holder.ready().await.unwrap();
    let service = layer.layer(limited);
    for _ in 0..5 {
        let rejected = call(&service, OK).await.unwrap_err().expect("the call was cut");
        assert_eq!(rejected.reason(), Reason::HoldExceeded);
    }
    assert_eq!((handle.state(), handle.snapshot().calls), (State::Closed, 0));
}

/// A timeout further in is the time that the dependency is given. However short it is, exceeding it is a failure.
#[tokio::test(start_paused = true)]
async fn hang_until_an_inner_deadline_opens_it() {
    let breaker = quick();
    let handle = breaker.handle();
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(10 * SECOND).unwrap())
        .layer(breaker)
        .layer(DeadlineLayer::new(100 * MS).unwrap())
        .service(service_fn(callee));
    for _ in 0..3 {
        let rejected = call(&service, HANGS).await.unwrap_err().expect("the call was cut");
        assert_eq!(rejected.reason(), Reason::DeadlineExceeded);
    }
    assert_eq!(handle.state(), State::Open);
}

/// The attempt timeout is the time that the inner layers have. Otherwise a dependency that hangs from the start would
/// look like one with impatient callers.
#[tokio::test(start_paused = true)]
async fn hang_until_the_attempt_timeout_opens_it() {
    let breaker = quick();
    let handle = breaker.handle();
    let config = RetryConfig { attempt_timeout: Some(300 * MS), max_attempts: 1, ..RetryConfig::default() };
    let service =
        ServiceBuilder::new().layer(RetryLayer::new(config).unwrap()).layer(breaker).service(service_fn(callee));
    for _ in 0..3 {
        let rejected = call(&service, HANGS).await.unwrap_err().expect("the call was cut");
        assert_eq!((rejected.layer(), rejected.reason()), ("retry", Reason::AttemptTimeout));
    }
    assert_eq!(handle.state(), State::Open);
}
