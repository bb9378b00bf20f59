//! Fallbacks of any service.

use std::error::Error;
use std::future::{Future, pending};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use seawall::balance::{BalanceConfig, BalanceLayer, Endpoint};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
use seawall::context;
use seawall::deadline::DeadlineLayer;
use seawall::error::{Reason, rejection};
use seawall::fallback::{self, Failure, FallbackConfig, FallbackFailed, FallbackLayer};
use seawall::quarantine::{QuarantineConfig, QuarantineLayer};
use seawall::retry::CloneRequest;
use seawall::verdict::{self, Verdict};
use tokio::time::Instant;
use tower::{BoxError, Layer, Service, ServiceBuilder, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);

#[derive(Debug, thiserror::Error)]
#[error("{0} is down")]
struct Down(&'static str);

fn down() -> impl Service<u32, Response = u32, Error = Down, Future: Future + Send> + Clone {
    service_fn(|_: u32| async { Err(Down("the primary")) })
}

fn config() -> FallbackConfig {
    FallbackConfig::default()
}

#[tokio::test(start_paused = true)]
async fn value_answers_a_failed_call() {
    let layer = FallbackLayer::new(config(), fallback::value(42)).unwrap();
    assert_eq!(layer.layer(down()).oneshot(7).await.unwrap(), 42);
    let healthy = service_fn(|n: u32| async move { Ok::<_, Down>(n) });
    assert_eq!(layer.layer(healthy).oneshot(7).await.unwrap(), 7);
}

#[tokio::test(start_paused = true)]
async fn service_answers_with_the_same_request() {
    let standby = service_fn(|n: u32| async move { Ok::<_, BoxError>(n + 1) });
    let layer = FallbackLayer::new(config(), fallback::service(standby)).unwrap();
    assert_eq!(layer.layer(down()).oneshot(7).await.unwrap(), 8);
}

#[tokio::test(start_paused = true)]
async fn closure_sees_the_failure_and_may_decline() {
    let only_rejections = |failure: &Failure<u32>| failure.rejected().map(|_| 42);
    let layer = FallbackLayer::new(config(), fallback::from_fn(only_rejections)).unwrap();
    let error = layer.layer(down()).oneshot(7).await.unwrap_err();
    assert!(error.is::<Down>(), "the inner error is returned unchanged: {error}");

    let breaker = CircuitBreakerConfig { consecutive_failures: Some(1), ..CircuitBreakerConfig::default() };
    let mut service =
        ServiceBuilder::new().layer(layer).layer(CircuitBreakerLayer::new(breaker).unwrap()).service(down());
    assert!(service.ready().await.unwrap().call(7).await.is_err());
    assert_eq!(service.ready().await.unwrap().call(7).await.unwrap(), 42, "the open circuit is answered");
}

/// A request that crashed two instances must not crash those of the fallback.
#[tokio::test(start_paused = true)]
async fn quarantined_request_is_not_sent_to_a_second_service() {
    let lost = verdict::from_fn(|result: Result<&u32, &BoxError>| match result {
        Ok(_) => Verdict::Success,
        Err(error) => match verdict::of_error(error) {
            Verdict::Ignored => Verdict::Ignored,
            _ => Verdict::Lost,
        },
    });
    let balance = BalanceLayer::new(BalanceConfig::default()).unwrap().with_classifier(lost);
    let balance = balance.with_endpoints(["a", "b", "c"].map(Endpoint::new)).unwrap();
    let quarantine = QuarantineLayer::new(QuarantineConfig::default(), |request: &u32| *request).unwrap();
    let handle = quarantine.handle();
    let inner = quarantine.with_classifier(lost).layer(balance.service(|_| down()));
    while handle.quarantined() == 0 {
        assert!(inner.clone().oneshot(7).await.is_err());
    }
    let sent = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&sent);
    let standby = service_fn(move |n: u32| {
        seen.fetch_add(1, Ordering::SeqCst);
        async move { Ok::<_, BoxError>(n + 1) }
    });
    let other = FallbackLayer::new(config(), fallback::service(standby).with_replay(CloneRequest::idempotent()));
    let error = other.unwrap().layer(inner.clone()).oneshot(7).await.unwrap_err();
    assert_eq!(rejection(&error).expect("a refusal").reason(), Reason::Quarantined);
    assert_eq!(sent.load(Ordering::SeqCst), 0);
    let value = FallbackLayer::new(config(), fallback::value(42)).unwrap();
    assert_eq!(value.layer(inner.clone()).oneshot(7).await.unwrap(), 42);
    let closure = fallback::from_fn(|failure: &Failure<u32>| failure.rejected().map(|_| 43));
    assert_eq!(FallbackLayer::new(config(), closure).unwrap().layer(inner).oneshot(7).await.unwrap(), 43);
}

/// The classifier decides: what is the caller's own fault is never answered.
#[tokio::test(start_paused = true)]
async fn only_system_failures_are_answered() {
    let cases = [
        (Verdict::Transient, true),
        (Verdict::Overloaded { retry_after: None }, true),
        (Verdict::DoNotRetry, true),
        (Verdict::TimedOut, true),
        (Verdict::Unsent, true),
        (Verdict::Lost, true),
        (Verdict::Failed, true),
        (Verdict::CallerFault, false),
        (Verdict::Unprocessed, false),
        (Verdict::Ignored, false),
        (Verdict::Abandoned, false),
    ];
    for (verdict, is_answered) in cases {
        let classifier = verdict::from_fn(move |result: Result<&u32, &BoxError>| match result {
            Ok(0) | Err(_) => verdict,
            Ok(_) => Verdict::Success,
        });
        let layer = FallbackLayer::new(config(), fallback::value(42)).unwrap().with_classifier(classifier);
        let answer = layer.layer(down()).oneshot(7).await;
        assert_eq!(answer.is_ok(), is_answered, "{verdict:?}");
        assert!(answer.err().is_none_or(|error| error.is::<Down>()), "{verdict:?}");
        // A response can be a failure, too.
        let zero = service_fn(|_: u32| async { Ok::<_, Down>(0) });
        let expected = if is_answered { 42 } else { 0 };
        assert_eq!(layer.layer(zero).oneshot(7).await.unwrap(), expected, "{verdict:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn error_of_a_failed_fallback_names_both() {
    let standby = service_fn(|_: u32| async { Err::<u32, _>(Down("the standby")) });
    let layer = FallbackLayer::new(config(), fallback::service(standby)).unwrap();
    let error = layer.layer(down()).oneshot(7).await.unwrap_err();
    assert_eq!(error.to_string(), "the primary is down; the fallback failed, too: the standby is down");
    let both = error.downcast_ref::<FallbackFailed>().unwrap();
    assert!(both.inner().is::<Down>() && both.fallback().is::<Down>());
    assert_eq!(both.source().unwrap().to_string(), "the primary is down");
}

#[tokio::test(start_paused = true)]
async fn refusal_is_found_in_the_error_of_a_failed_fallback() {
    let standby = service_fn(|_: u32| async { Err::<u32, _>(Down("the standby")) });
    let service = ServiceBuilder::new()
        .layer(FallbackLayer::new(config(), fallback::service(standby)).unwrap())
        .layer(DeadlineLayer::new(SECOND).unwrap())
        .service(service_fn(|_: u32| pending::<Result<u32, BoxError>>()));
    let error = service.oneshot(7).await.unwrap_err();
    assert_eq!(rejection(&error).map(|rejected| rejected.reason()), Some(Reason::DeadlineExceeded));
}

#[tokio::test(start_paused = true)]
async fn fallback_has_the_time_that_is_left() {
    let standby = service_fn(|_: u32| async {
        Ok::<_, BoxError>(context::time_left().map_or(0, |left| left.as_millis() as u32))
    });
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(3 * SECOND).unwrap())
        .layer(FallbackLayer::new(config(), fallback::service(standby)).unwrap())
        .layer(DeadlineLayer::new(SECOND).unwrap())
        .service(service_fn(|_: u32| pending::<Result<u32, BoxError>>()));
    let left = service.oneshot(7).await.unwrap();
    assert!((1900..=2000).contains(&left), "{left} ms");
}

#[tokio::test(start_paused = true)]
async fn nothing_is_answered_after_the_deadline() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&asked);
    let answer = fallback::from_fn(move |_: &Failure<u32>| {
        counts.fetch_add(1, Ordering::SeqCst);
        Some(42)
    });
    let layer = FallbackLayer::new(config(), answer).unwrap();
    let (fail, failed) = tokio::sync::oneshot::channel::<()>();
    let failed = Arc::new(std::sync::Mutex::new(Some(failed)));
    let late = service_fn(move |_: u32| {
        let failed = failed.lock().unwrap().take().unwrap();
        async move {
            let _ = failed.await;
            Err::<u32, _>(Down("the primary"))
        }
    });
    let service = ServiceBuilder::new().layer(DeadlineLayer::new(SECOND).unwrap()).layer(layer).service(late);
    let mut call = tokio_test::task::spawn(service.oneshot(7));
    assert!(call.poll().is_pending());
    // Both come before the next poll. The inner result is seen first.
    tokio::time::advance(2 * SECOND).await;
    drop(fail);
    let std::task::Poll::Ready(Err(error)) = call.poll() else { panic!("the call is over") };
    assert!(error.is::<Down>(), "{error}");
    assert_eq!(asked.load(Ordering::SeqCst), 0);
}

#[tokio::test(start_paused = true)]
async fn hanging_fallback_ends_at_the_bound_with_the_inner_error() {
    let hangs = service_fn(|_: u32| pending::<Result<u32, BoxError>>());
    let bound = FallbackConfig { max_hold: SECOND, ..config() };
    let layer = FallbackLayer::new(bound, fallback::service(hangs)).unwrap();
    let start = Instant::now();
    let error = layer.layer(down()).oneshot(7).await.unwrap_err();
    assert!(error.is::<Down>(), "an error is never replaced by a cut: {error}");
    assert_eq!(start.elapsed(), SECOND);
}

#[tokio::test(start_paused = true)]
async fn request_that_may_have_been_executed_is_not_sent_again() {
    let lost = verdict::from_fn(|result: Result<&u32, &BoxError>| match result {
        Ok(_) => Verdict::Success,
        Err(_) => Verdict::Lost,
    });
    let standby = service_fn(|n: u32| async move { Ok::<_, BoxError>(n) });
    let once = FallbackLayer::new(config(), fallback::service(standby)).unwrap().with_classifier(lost);
    assert!(once.layer(down()).oneshot(7).await.unwrap_err().is::<Down>());
    let idempotent = fallback::service(standby).with_replay(CloneRequest::idempotent());
    let twice = FallbackLayer::new(config(), idempotent).unwrap().with_classifier(lost);
    assert_eq!(twice.layer(down()).oneshot(7).await.unwrap(), 7);
}

/// A value and a closure need no copy of the request.
#[tokio::test(start_paused = true)]
async fn request_without_clone_has_a_value_as_fallback() {
    struct Unique;
    let fails = service_fn(|_: Unique| async { Err::<u32, _>(Down("the primary")) });
    let layer = FallbackLayer::new(config(), fallback::value(42)).unwrap();
    assert_eq!(layer.layer(fails).oneshot(Unique).await.unwrap(), 42);
}

#[tokio::test(start_paused = true)]
async fn reload_switches_the_fallback_off_and_on() {
    let layer = FallbackLayer::new(config(), fallback::value(42)).unwrap();
    let service = layer.layer(down());
    assert!(layer.reload(&FallbackConfig { max_hold: Duration::ZERO, ..config() }).is_err());
    for enabled in [false, true, false] {
        layer.reload(&FallbackConfig { enabled, ..config() }).unwrap();
        assert_eq!(service.clone().oneshot(7).await.is_ok(), enabled);
    }
}

#[tokio::test(start_paused = true)]
async fn closure_marks_a_response_of_any_type() {
    #[derive(Debug)]
    struct Price {
        cents: u32,
        instead_of: Option<Box<Failure<Price>>>,
    }
    let layer = FallbackLayer::new(config(), fallback::value(42))
        .unwrap()
        .marked_by(|cents, failure| Price { cents, instead_of: Some(Box::new(failure)) });
    let fails = service_fn(|(): ()| async { Err::<Price, _>(Down("the shop")) });
    let price = layer.layer(fails).oneshot(()).await.unwrap();
    let failure = price.instead_of.unwrap();
    assert_eq!((price.cents, failure.cause(), failure.verdict()), (42, "transient", Verdict::Transient));
    assert!(failure.error().unwrap().is::<Down>() && failure.response().is_none());
}
