//! How long a retry waits between attempts, and what bounds the wait.

use std::collections::HashSet;
use std::future::pending;
use std::task::{Context, Poll};

use proptest::prelude::*;
use seawall::deadline::DeadlineLayer;
use seawall::error::{Reason, rejection};
use seawall::retry::{Growth, Stop, report};
use seawall::verdict::{self, Verdict};
use tokio::time::sleep;
use tower::{Layer, ServiceBuilder, ServiceExt};

use super::*;

/// tower clones its backoff generator with the policy, so that every request draws the same jitter. Other libraries
/// have no jitter for a base of whole seconds.
#[tokio::test(start_paused = true)]
async fn each_call_draws_its_own_jitter() {
    seawall::seed(1);
    let service = layer(RetryConfig { max_attempts: 2, backoff: Backoff::constant(SECOND), ..RetryConfig::default() });
    let mut waits = HashSet::new();
    for _ in 0..10 {
        let log = Log::default();
        let _ = service.layer(failing(&log)).oneshot(()).await;
        waits.extend(log.waits());
    }
    assert!(waits.len() > 8, "{waits:?}");
    assert!(waits.iter().all(|wait| *wait <= SECOND + millis(1)), "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn same_seed_makes_the_same_waits() {
    let mut rows = Vec::new();
    for _ in 0..2 {
        seawall::seed(42);
        let log = Log::default();
        let config = RetryConfig { max_attempts: 6, ..RetryConfig::default() };
        let _ = layer(config).layer(failing(&log)).oneshot(()).await;
        rows.push(log.waits());
    }
    assert_eq!(rows[0], rows[1]);
    assert_eq!(rows[0].len(), 5);
}

#[tokio::test(start_paused = true)]
async fn waits_grow_to_the_cap() {
    let log = Log::default();
    let backoff =
        Backoff { growth: Growth::Exponential(2.0), base: 2 * SECOND, cap: 30 * SECOND, jitter: Jitter::None };
    let config = RetryConfig { max_attempts: 6, backoff, max_hold: 100 * SECOND, ..RetryConfig::default() };
    let _ = layer(config).layer(failing(&log)).oneshot(()).await;
    assert_eq!(log.waits(), [2, 4, 8, 16, 30].map(Duration::from_secs));
}

/// failsafe-go sleeps until its total timeout of 100 ms cuts a delay of a second. The real failure is more useful, and
/// known at once.
#[tokio::test(start_paused = true)]
async fn wait_beyond_the_deadline_is_not_begun() {
    let log = Log::default();
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(millis(100)).unwrap())
        .layer(layer(every_second()))
        .service(failing(&log));
    let start = Instant::now();
    let (answer, report) = report(service.oneshot(())).await;
    assert_eq!(answer.unwrap_err().to_string(), "failure 1");
    assert_eq!(report.map(|report| (report.attempts, report.stopped)), Some((1, Stop::Deadline)));
    assert_eq!(start.elapsed(), Duration::ZERO);
}

/// A process that stood still may wake after the deadline: no caller waits for an attempt then.
#[tokio::test(start_paused = true)]
async fn wait_that_ends_past_the_deadline_gets_no_attempt() {
    let log = Log::default();
    let layer = layer(RetryConfig { max_hold: 2 * SECOND, ..every_second() });
    let mut call = Box::pin(report(layer.layer(failing(&log)).oneshot(())));
    assert!(futures::poll!(call.as_mut()).is_pending());
    tokio::time::advance(5 * SECOND).await;
    let (answer, told) = call.await;
    assert_eq!(answer.unwrap_err().to_string(), "failure 1");
    assert_eq!(told.map(|told| (told.attempts, told.stopped)), Some((1, Stop::Deadline)));
    assert_eq!((log.attempts(), layer.budget().balance()), (vec![1], 10));
}

fn overloaded(retry_after: Duration) -> impl verdict::Classify<u32, Settled = u32> {
    verdict::from_fn(move |result: Result<&u32, &BoxError>| match result {
        Ok(_) => Verdict::Success,
        Err(_) => Verdict::Overloaded { retry_after: Some(retry_after) },
    })
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_waited_for_with_jitter() {
    seawall::seed(3);
    let config = RetryConfig { backoff: Backoff::constant(SECOND), ..RetryConfig::default() };
    let mut waits = HashSet::new();
    for _ in 0..3 {
        let log = Log::default();
        let service = layer(config.clone()).with_classifier(overloaded(3 * SECOND)).layer(failing(&log));
        let _ = service.oneshot(()).await;
        waits.extend(log.waits());
    }
    assert_eq!(waits.len(), 6);
    assert!(waits.iter().all(|wait| (3 * SECOND..=4 * SECOND + millis(1)).contains(wait)), "{waits:?}");
}

#[tokio::test(start_paused = true)]
async fn too_long_retry_after_gets_no_retry() {
    for (deadline, stopped) in [(60 * SECOND, Stop::RetryAfter), (4 * SECOND, Stop::Deadline)] {
        let log = Log::default();
        let pause = if stopped == Stop::Deadline { 4 * SECOND } else { 6 * SECOND };
        let retry = layer(every_second()).with_classifier(overloaded(pause));
        let service =
            ServiceBuilder::new().layer(DeadlineLayer::new(deadline).unwrap()).layer(retry).service(failing(&log));
        let start = Instant::now();
        let (answer, report) = report(service.oneshot(())).await;
        assert_eq!(answer.unwrap_err().to_string(), "failure 1");
        assert_eq!(report.map(|report| report.stopped), Some(stopped));
        assert_eq!(start.elapsed(), Duration::ZERO);
    }
}

#[tokio::test(start_paused = true)]
async fn call_without_a_deadline_is_cut_at_max_hold() {
    let hanging = service_fn(|()| pending::<Result<(), BoxError>>());
    let start = Instant::now();
    let error =
        layer(RetryConfig { max_hold: 5 * SECOND, ..every_second() }).layer(hanging).oneshot(()).await.unwrap_err();
    assert_eq!(rejection(&error).map(|rejected| rejected.reason()), Some(Reason::HoldExceeded));
    assert_eq!(start.elapsed(), 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn attempt_has_no_more_time_than_the_call() {
    let log = Log::default();
    let config = RetryConfig { attempt_timeout: Some(2 * SECOND), max_hold: 4 * SECOND, ..every_second() };
    let (answer, report) = report(layer(config).layer(callee(&log, |_| pending())).oneshot(())).await;
    assert_eq!(rejection(&answer.unwrap_err()).map(|rejected| rejected.layer()), Some("retry"));
    let report = report.unwrap();
    assert_eq!((report.attempts, report.elapsed), (2, 4 * SECOND));
    assert_eq!(report.verdicts, [Verdict::TimedOut, Verdict::TimedOut]);
}

/// The deadline of a dependency is usually a little earlier than that of its caller. After its timeout answer only a
/// few milliseconds are left, too few for a retry.
#[tokio::test(start_paused = true)]
async fn timeout_is_not_retried_with_too_little_time_left() {
    for (deadline, attempts) in [(1009, 1), (1150, 2)] {
        let log = Log::default();
        let backoff = Backoff { jitter: Jitter::None, ..Backoff::constant(millis(1)) };
        let layer = layer(RetryConfig { backoff, ..RetryConfig::default() })
            .with_classifier(verdict::from_fn(|_: Result<&u32, &BoxError>| Verdict::TimedOut));
        let service = layer.layer(callee(&log, |n| async move {
            sleep(SECOND).await;
            Ok(n)
        }));
        let _ = DeadlineLayer::new(millis(deadline)).unwrap().layer(service).oneshot(()).await;
        assert_eq!(log.attempts().len(), attempts, "{deadline} ms");
    }
}

/// Nothing was sent, and a retry would only make our own queue longer.
#[tokio::test(start_paused = true)]
async fn readiness_timeout_is_not_retried() {
    #[derive(Clone)]
    struct NeverReady;
    impl Service<()> for NeverReady {
        type Response = u32;
        type Error = BoxError;
        type Future = std::future::Ready<Result<u32, BoxError>>;

        fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            Poll::Pending
        }

        fn call(&mut self, (): ()) -> Self::Future {
            panic!("called without being ready")
        }
    }

    let config = RetryConfig { attempt_timeout: Some(millis(50)), ..every_second() };
    let (answer, report) = report(layer(config).layer(NeverReady).oneshot(())).await;
    assert_eq!(rejection(&answer.unwrap_err()).map(|rejected| rejected.reason()), Some(Reason::NotReady));
    let report = report.unwrap();
    assert_eq!((report.attempts, report.stopped, report.elapsed), (1, Stop::Verdict, millis(50)));
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    /// No other Rust library bounds the backoff by the caller's deadline.
    #[test]
    fn calls_end_by_their_deadline_without_useless_waits(
        seed: u64, deadline in 1u64..3000, base in 1u64..1000, took in 0u64..500, attempts in 1u32..8,
        timeout in proptest::option::of(1u64..500),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(async {
            seawall::seed(seed);
            let log = Log::default();
            let config = RetryConfig {
                max_attempts: attempts,
                backoff: Backoff::exponential(millis(base), 2.0),
                attempt_timeout: timeout.map(millis),
                ..RetryConfig::default()
            };
            let failing = callee(&log, move |attempt| async move {
                sleep(millis(took)).await;
                Err(format!("failure {attempt}").into())
            });
            let service = ServiceBuilder::new()
                .layer(DeadlineLayer::new(millis(deadline)).unwrap())
                .layer(layer(config))
                .service(failing);
            let start = Instant::now();
            let (answer, report) = report(service.oneshot(())).await;
            let elapsed = start.elapsed();
            // Timers are at most a millisecond late.
            prop_assert!(elapsed <= millis(deadline + 1), "{:?}", elapsed);
            prop_assert!(answer.is_err());
            let report = report.unwrap();
            if report.stopped != Stop::Dropped {
                prop_assert_eq!(report.verdicts.len() as u32, report.attempts);
                prop_assert!(report.attempts <= attempts);
                // The call ends with its last attempt: no wait was useless.
                let last = log.0.lock().unwrap().last().unwrap().0;
                let longest = timeout.unwrap_or(u64::MAX).min(took);
                prop_assert!(start + elapsed <= last + millis(longest + 2));
            }
            Ok(())
        })?;
    }
}
