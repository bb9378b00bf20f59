//! Behaviour that other libraries document with their tests: Finagle's `BackupRequestFilter` (FI), failsafe-go and Failsafe (FS),
//! Polly (PO), and gRPC's proposal A6.

use std::future::{pending, ready};

use seawall::deadline::DeadlineLayer;
use seawall::error::{Reason, rejection};
use seawall::retry::{Stop, report};
use seawall::verdict::{self, Verdict};
use tokio::time::sleep;
use tower::{Layer, ServiceBuilder, ServiceExt};

use super::*;

/// FS: a timeout of 100 ms outside a hedge of 10 ms, where every attempt blocks.
#[tokio::test(start_paused = true)]
async fn timeout_outside_cancels_all_attempts() {
    let log = Log::default();
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(millis(100)).unwrap())
        .layer(layer(HedgeConfig { max_attempts: 3, ..fixed() }))
        .service(callee(&log, |_| async {
            sleep(SECOND).await;
            Ok(1)
        }));
    let start = Instant::now();
    let error = service.oneshot(()).await.unwrap_err();
    assert_eq!(rejection(&error).map(|rejected| rejected.reason()), Some(Reason::DeadlineExceeded));
    assert!(start.elapsed() <= millis(102), "{:?}", start.elapsed());
    assert_eq!((log.attempts(), log.cancelled()), (vec![1, 2, 3], 3));
    assert!(log.times()[2] <= millis(23), "{:?}", log.times());
}

/// FI: the original answers before the delay.
#[tokio::test(start_paused = true)]
async fn quick_answer_has_one_attempt() {
    let log = Log::default();
    let answer = layer(fixed()).layer(taking(&log, &[5])).oneshot(()).await;
    assert_eq!((answer.unwrap(), log.attempts()), (1, vec![1]));
}

/// PO: a delay of zero starts all attempts at once.
#[tokio::test(start_paused = true)]
async fn zero_delay_starts_all_attempts_at_once() {
    let log = Log::default();
    let config = HedgeConfig { delay: HedgeDelay::Fixed(Duration::ZERO), max_attempts: 3, ..HedgeConfig::default() };
    let service = layer(config).layer(taking(&log, &[50, 40, 30]));
    assert_eq!(service.oneshot(()).await.unwrap(), 3);
    assert_eq!((log.attempts(), log.times(), log.cancelled()), (vec![1, 2, 3], vec![Duration::ZERO; 3], 2));
}

/// PO: an infinite delay starts the next attempt only after the one before.
#[tokio::test(start_paused = true)]
async fn hedge_on_failure_waits_for_the_attempt_before() {
    let log = Log::default();
    let config = HedgeConfig { delay: HedgeDelay::OnFailure, max_attempts: 3, ..HedgeConfig::default() };
    let service = layer(config).layer(callee(&log, |attempt| async move {
        sleep(SECOND).await;
        if attempt < 3 { Err("down".into()) } else { Ok(attempt) }
    }));
    assert_eq!(service.oneshot(()).await.unwrap(), 3);
    assert_eq!(log.times(), [Duration::ZERO, SECOND, 2 * SECOND]);
}

/// PO: if all attempts fail, the last result is returned.
#[tokio::test(start_paused = true)]
async fn last_failure_is_returned() {
    for delay in [HedgeDelay::Fixed(Duration::ZERO), HedgeDelay::Fixed(DELAY), HedgeDelay::OnFailure] {
        let log = Log::default();
        let service = layer(HedgeConfig { delay, max_attempts: 3, ..HedgeConfig::default() });
        let service = service.layer(callee(&log, |attempt| async move {
            sleep(millis(50 * u64::from(attempt))).await;
            Err(format!("failure {attempt}").into())
        }));
        let (answer, told) = report(service.oneshot(())).await;
        assert_eq!(answer.unwrap_err().to_string(), "failure 3", "{delay:?}");
        let told = told.expect("a report");
        assert_eq!((told.attempts, told.stopped, told.verdicts), (3, Stop::Attempts, vec![Verdict::Transient; 3]));
    }
}

/// The verdict that the error of an attempt names.
fn told() -> impl Fn(Result<&u32, &BoxError>) -> Verdict + Clone {
    |result| match result.map_err(ToString::to_string) {
        Ok(_) => Verdict::Success,
        Err(error) => match error.as_str() {
            "invalid" => Verdict::Failed,
            "do not retry" => Verdict::DoNotRetry,
            "in 300 ms" => Verdict::Overloaded { retry_after: Some(millis(300)) },
            "in an hour" => Verdict::Overloaded { retry_after: Some(3600 * SECOND) },
            _ => Verdict::Transient,
        },
    }
}

/// The attempts' times, the result, and why no further one was made.
async fn failing_with(config: HedgeConfig, error: &'static str) -> (Vec<Duration>, Result<u32, String>, Stop) {
    let log = Log::default();
    let layer = layer(config).with_classifier(verdict::from_fn(told()));
    let service = layer.layer(callee(&log, move |attempt| async move {
        if attempt == 1 {
            sleep(millis(2)).await;
            return Err(error.into());
        }
        Ok(attempt)
    }));
    let (answer, told) = report(service.oneshot(())).await;
    (log.times(), answer.map_err(|error| error.to_string()), told.expect("a report").stopped)
}

/// gRPC A6.
#[tokio::test(start_paused = true)]
async fn fatal_failure_ends_and_other_failure_starts_the_next_at_once() {
    let zero = Duration::ZERO;
    let (times, answer, stopped) = failing_with(fixed(), "invalid").await;
    assert_eq!((times, answer, stopped), (vec![zero], Err("invalid".to_owned()), Stop::Verdict));
    let (times, answer, stopped) = failing_with(fixed(), "unavailable").await;
    assert_eq!((times, answer, stopped), (vec![zero, millis(2)], Ok(2), Stop::Succeeded));
}

/// gRPC A6.
#[tokio::test(start_paused = true)]
async fn pushback_stops_or_delays_the_next() {
    let zero = Duration::ZERO;
    let (times, answer, stopped) = failing_with(fixed(), "do not retry").await;
    assert_eq!((times, answer, stopped), (vec![zero], Err("do not retry".to_owned()), Stop::Verdict));
    let (times, answer, _) = failing_with(fixed(), "in 300 ms").await;
    assert_eq!(answer, Ok(2));
    assert!((302..=304).contains(&times[1].as_millis()), "{times:?}");
    let (times, answer, stopped) = failing_with(fixed(), "in an hour").await;
    assert_eq!((times, answer, stopped), (vec![zero], Err("in an hour".to_owned()), Stop::RetryAfter));
}

/// gRPC A6: a fatal status ends the attempts in flight, and a pushback does not.
#[tokio::test(start_paused = true)]
async fn attempts_in_flight_end_with_a_fatal_failure_only() {
    for (error, ends) in [("invalid", true), ("do not retry", false), ("unavailable", false)] {
        let log = Log::default();
        let layer = layer(fixed()).with_classifier(verdict::from_fn(told()));
        let service = layer.layer(callee(&log, move |attempt| async move {
            match attempt {
                1 => sleep(millis(100)).await,
                _ => return Err(error.into()),
            }
            Ok(attempt)
        }));
        let answer = service.oneshot(()).await.map_err(|error| error.to_string());
        assert_eq!(answer, if ends { Err(error.to_owned()) } else { Ok(1) });
        assert_eq!((log.attempts(), log.cancelled()), (vec![1, 2], usize::from(ends)), "{error}");
    }
}

/// FI: the budget changes at run time, and none means no hedges.
#[tokio::test(start_paused = true)]
async fn reloaded_budget_counts_at_once() {
    let layer = layer(fixed());
    let attempts = async || {
        let log = Log::default();
        let answer = layer.layer(taking(&log, &[50])).oneshot(()).await;
        assert_eq!(answer.unwrap(), 1);
        log.attempts().len()
    };
    assert_eq!(attempts().await, 2);
    let none = BudgetConfig { ratio: 0.0, reserve_per_second: 0.0, ..BudgetConfig::default() };
    layer.reload(&HedgeConfig { budget: none, ..fixed() }).unwrap();
    assert_eq!(attempts().await, 1);
    let invalid = HedgeConfig { budget: BudgetConfig { ratio: 1.5, ..BudgetConfig::default() }, ..fixed() };
    assert!(layer.reload(&invalid).is_err());
    assert_eq!(attempts().await, 1, "nothing has changed");
    let all = BudgetConfig { ratio: 1.0, ..BudgetConfig::default() };
    layer.reload(&HedgeConfig { budget: all, ..fixed() }).unwrap();
    assert_eq!(attempts().await, 2);
}

/// A request that must not be sent twice is not hedged, however slow it is.
#[tokio::test(start_paused = true)]
async fn endless_call_ends_at_its_own_bound() {
    let log = Log::default();
    let layer = layer(HedgeConfig { max_hold: SECOND, ..fixed() });
    let error = layer.layer(callee(&log, |_| pending())).oneshot(()).await.unwrap_err();
    assert_eq!(rejection(&error).map(|rejected| rejected.reason()), Some(Reason::HoldExceeded));
    assert_eq!((log.attempts().len(), log.cancelled()), (2, 2));
    let log = Log::default();
    let service = layer.layer(callee(&log, |attempt| {
        let answers: std::pin::Pin<Box<dyn Future<Output = _> + Send>> = match attempt {
            1 => Box::pin(ready(Err("down".into()))),
            _ => Box::pin(pending()),
        };
        answers
    }));
    assert_eq!(service.oneshot(()).await.unwrap_err().to_string(), "down", "the dependency's own failure");
}
