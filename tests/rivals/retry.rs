use std::collections::BTreeSet;
use std::future::{Ready, pending, ready};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use seawall::context;
use seawall::deadline::DeadlineLayer;
use seawall::retry::{Backoff, BudgetConfig, Jitter, RetryConfig, RetryLayer};
use tokio::time::{Instant, advance, sleep};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

use crate::{MILLISECOND, SECOND};

fn exactly(wait: Duration) -> Backoff {
    Backoff { jitter: Jitter::None, ..Backoff::constant(wait) }
}

/// Only the deposits of calls, without a reserve.
fn no_reserve(ratio: f64) -> BudgetConfig {
    BudgetConfig { ratio, reserve_per_second: 0.0, ..BudgetConfig::default() }
}

/// A service whose nth attempt fails if `fails(n)`, and the count of its attempts.
fn callee(
    fails: impl Fn(usize) -> bool + Clone,
) -> (impl Service<(), Response = (), Error = BoxError, Future = Ready<Result<(), BoxError>>> + Clone, Arc<AtomicUsize>)
{
    let attempts = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&attempts);
    let callee = service_fn(move |()| {
        let attempt = counted.fetch_add(1, Ordering::SeqCst);
        ready(if fails(attempt) { Err("out of order".into()) } else { Ok(()) })
    });
    (callee, attempts)
}

#[tokio::test(start_paused = true)]
async fn second_attempt_has_only_the_time_left() {
    let callee = service_fn(|()| async {
        if context::attempt() == 1 {
            sleep(300 * MILLISECOND).await;
            return Err::<_, BoxError>("slow and broken".into());
        }
        Ok(context::time_left())
    });
    let config = RetryConfig { backoff: exactly(200 * MILLISECOND), ..RetryConfig::default() };
    let service = RetryLayer::new(config).unwrap().layer(callee);
    let left = DeadlineLayer::new(SECOND).unwrap().layer(service).oneshot(()).await;
    assert_eq!(left.unwrap(), Some(500 * MILLISECOND));
}

#[tokio::test(start_paused = true)]
async fn no_backoff_beyond_the_deadline() {
    let callee = service_fn(|()| async {
        sleep(950 * MILLISECOND).await;
        Err::<(), BoxError>("out of order".into())
    });
    let config = RetryConfig { backoff: exactly(100 * MILLISECOND), ..RetryConfig::default() };
    let layer = RetryLayer::new(config).unwrap();
    let start = Instant::now();
    let error = DeadlineLayer::new(SECOND).unwrap().layer(layer.layer(callee)).oneshot(()).await.unwrap_err();
    assert_eq!((error.to_string().as_str(), start.elapsed()), ("out of order", 950 * MILLISECOND));
    assert_eq!(layer.budget().balance(), 10, "the budget is not charged");
}

#[tokio::test(start_paused = true)]
async fn hanging_attempt_is_cut_and_retried() {
    let callee = service_fn(|()| async {
        match context::attempt() {
            1 => pending().await,
            attempt => Ok::<_, BoxError>(attempt),
        }
    });
    let attempt_timeout = Some(100 * MILLISECOND);
    let config = RetryConfig { attempt_timeout, backoff: exactly(MILLISECOND), ..RetryConfig::default() };
    let start = Instant::now();
    let answer = RetryLayer::new(config).unwrap().layer(callee).oneshot(()).await;
    assert_eq!((answer.unwrap(), start.elapsed()), (2, 101 * MILLISECOND));
}

#[tokio::test(start_paused = true)]
async fn retries_of_half_failing_calls_add_a_tenth_of_load() {
    seawall::seed(1);
    const CALLS: usize = 10_000;
    let (callee, attempts) = callee(|attempt| attempt % 20 < 9);
    let config = RetryConfig { backoff: exactly(MILLISECOND), max_attempts: 10, ..RetryConfig::default() };
    let service = RetryLayer::new(config).unwrap().layer(callee);
    let start = Instant::now();
    for _ in 0..CALLS {
        let _ = service.clone().oneshot(()).await;
        advance(9 * MILLISECOND).await;
    }
    let retries = attempts.load(Ordering::SeqCst) - CALLS;
    let reserve = 10 + start.elapsed().as_secs() as usize / 10;
    assert!(retries <= CALLS / 10 + reserve, "{retries}");
    assert!(retries >= CALLS / 12, "{retries}");
}

#[tokio::test(start_paused = true)]
async fn budget_ratio_of_six_tenths_is_exact() {
    const CALLS: usize = 10_000;
    // One attempt in five succeeds, so that retries help, and far more are wanted than the budget pays for.
    let (callee, attempts) = callee(|attempt| attempt % 5 != 0);
    let config = RetryConfig {
        max_attempts: 10,
        backoff: exactly(MILLISECOND),
        budget: no_reserve(0.6),
        ..RetryConfig::default()
    };
    let service = RetryLayer::new(config).unwrap().layer(callee);
    for _ in 0..CALLS {
        let _ = service.clone().oneshot(()).await;
    }
    // The token of the last call is left if its first attempt succeeds.
    let retries = attempts.load(Ordering::SeqCst) - CALLS;
    assert!((CALLS * 6 / 10 - 1..=CALLS * 6 / 10).contains(&retries), "{retries}");
}

#[tokio::test(start_paused = true)]
async fn long_silence_neither_fills_nor_blocks_the_budget() {
    let (callee, attempts) = callee(|attempt| attempt >= 1000);
    let config = RetryConfig { backoff: exactly(MILLISECOND), budget: no_reserve(0.2), ..RetryConfig::default() };
    let service = RetryLayer::new(config).unwrap().layer(callee);
    for _ in 0..1000 {
        service.clone().oneshot(()).await.unwrap();
    }
    let mut quickest = Duration::MAX;
    for _ in 0..4 {
        advance(30 * 24 * 3600 * SECOND).await;
        #[allow(clippy::disallowed_methods, reason = "what is measured is what it costs, not what it waits")]
        let start = std::time::Instant::now();
        assert!(service.clone().oneshot(()).await.is_err());
        quickest = quickest.min(start.elapsed());
    }
    assert!(quickest < 10 * MILLISECOND, "{quickest:?}");
    assert_eq!(attempts.load(Ordering::SeqCst), 1004, "deposits of a month ago have expired");
}

#[test]
fn concurrent_retries_stay_within_the_budget() {
    const CALLS: usize = 200;
    const THREADS: usize = 4;
    let budget = BudgetConfig { ratio: 0.0, reserve_per_second: 0.001, reserve_burst: 100, ..BudgetConfig::default() };
    let (callee, attempts) = callee(|_| true);
    let config = RetryConfig { backoff: exactly(MILLISECOND), budget, ..RetryConfig::default() };
    let service = RetryLayer::new(config).unwrap().layer(callee);
    thread::scope(|scope| {
        for _ in 0..THREADS {
            let service = service.clone();
            scope.spawn(move || {
                let paused = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
                paused.unwrap().block_on(async move {
                    for _ in 0..CALLS {
                        let _ = service.clone().oneshot(()).await;
                    }
                });
            });
        }
    });
    assert_eq!(attempts.load(Ordering::SeqCst), THREADS * CALLS + 100);
}

#[tokio::test(start_paused = true)]
async fn calls_that_failed_together_retry_spread_out() {
    for base in [50 * MILLISECOND, SECOND] {
        let config = RetryConfig {
            max_attempts: 2,
            backoff: Backoff { base, ..Backoff::default() },
            budget: BudgetConfig { reserve_burst: 100, ..BudgetConfig::default() },
            ..RetryConfig::default()
        };
        let service = RetryLayer::new(config).unwrap().layer(callee(|_| true).0);
        let mut waits = BTreeSet::new();
        for _ in 0..100 {
            let start = Instant::now();
            let _ = service.clone().oneshot(()).await;
            waits.insert(start.elapsed());
        }
        // Tokio's timers have a resolution of a millisecond, so a few retries fall together.
        assert!(waits.len() > 30, "{base:?}: {waits:?}");
        assert!(waits.iter().any(|wait| *wait < base / 4) && waits.iter().any(|wait| *wait > base / 2));
    }
}

#[tokio::test(start_paused = true)]
async fn jitter_is_on_by_default() {
    assert_eq!(RetryConfig::default().backoff.jitter, Jitter::Full);
    for backoff in [Backoff::constant(SECOND), Backoff::linear(SECOND), Backoff::exponential(SECOND, 2.0)] {
        assert_eq!(backoff.jitter, Jitter::Full);
    }
}

#[tokio::test(start_paused = true)]
async fn exhausted_budget_returns_the_error_at_once() {
    let (callee, attempts) = callee(|_| true);
    let config = RetryConfig { backoff: exactly(SECOND), budget: no_reserve(0.2), ..RetryConfig::default() };
    let service = RetryLayer::new(config).unwrap().layer(callee);
    let start = Instant::now();
    let error = service.oneshot(()).await.unwrap_err();
    assert_eq!((error.to_string().as_str(), start.elapsed()), ("out of order", Duration::ZERO));
    assert_eq!(attempts.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn layer_applied_per_route_shares_one_budget() {
    let sent = Arc::new(AtomicU32::new(0));
    let budget = BudgetConfig { ratio: 0.0, reserve_burst: 5, ..BudgetConfig::default() };
    let config = RetryConfig { max_attempts: 2, backoff: exactly(MILLISECOND), budget, ..RetryConfig::default() };
    let layer = RetryLayer::new(config).unwrap();
    for _route in 0..10 {
        let sent = Arc::clone(&sent);
        let route = layer.layer(service_fn(move |()| {
            sent.fetch_add(1, Ordering::SeqCst);
            ready(Err::<(), BoxError>("out of order".into()))
        }));
        assert!(route.oneshot(()).await.is_err());
    }
    assert_eq!(sent.load(Ordering::SeqCst), 15);
}
