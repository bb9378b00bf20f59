//! Which attempts are made, and what the caller gets after the last one.

use std::future::{pending, ready};

use seawall::deadline::DeadlineLayer;
use seawall::error::{Reason, rejection};
use seawall::retry::{CloneRequest, Kept, Replay, Report, Stop, report};
use seawall::verdict::{self, Verdict};
use tokio::time::{sleep, sleep_until};
use tower::{Layer, ServiceBuilder, ServiceExt};

use super::*;

#[tokio::test(start_paused = true)]
async fn attempts_are_numbered_and_the_last_error_returned() {
    let log = Log::default();
    let error = layer(every_second()).layer(failing(&log)).oneshot(()).await.unwrap_err();
    assert_eq!(error.to_string(), "failure 3");
    assert_eq!(log.attempts(), [1, 2, 3]);
    assert_eq!(log.waits(), [SECOND, SECOND]);
}

#[tokio::test(start_paused = true)]
async fn success_ends_the_call() {
    let log = Log::default();
    let service = callee(&log, |attempt| async move { if attempt < 2 { Err("stumbled".into()) } else { Ok(7) } });
    let (answer, report) = report(layer(every_second()).layer(service).oneshot(())).await;
    let report = report.unwrap();
    assert_eq!(answer.unwrap(), 7);
    assert_eq!((report.attempts, report.stopped, report.elapsed), (2, Stop::Succeeded, SECOND));
    assert_eq!(report.verdicts, [Verdict::Transient, Verdict::Success]);
}

/// From failsafe-go: a retry of two outside a timeout of 50 ms; two attempts block for 100 ms, the third is quick.
#[tokio::test(start_paused = true)]
async fn slow_attempts_are_cut_and_retried() {
    let log = Log::default();
    let service = callee(&log, |attempt| async move {
        if attempt < 3 {
            sleep(millis(100)).await;
        }
        Ok(attempt)
    });
    let config = RetryConfig { attempt_timeout: Some(millis(50)), ..every_second() };
    let (answer, report) = report(layer(config).layer(service).oneshot(())).await;
    let report = report.unwrap();
    assert_eq!(answer.unwrap(), 3);
    assert_eq!(report.verdicts, [Verdict::TimedOut, Verdict::TimedOut, Verdict::Success]);
    assert_eq!(log.waits(), [millis(1050), millis(1050)]);
}

#[tokio::test(start_paused = true)]
async fn only_retryable_verdicts_are_retried() {
    let retried = [Verdict::Transient, Verdict::TimedOut, Verdict::Overloaded { retry_after: None }];
    let final_ones = [Verdict::Success, Verdict::CallerFault, Verdict::Abandoned, Verdict::Ignored];
    for verdict in retried.into_iter().chain(final_ones) {
        let log = Log::default();
        let classifier = verdict::from_fn(move |_: Result<&u32, &BoxError>| verdict);
        let service = layer(every_second()).with_classifier(classifier).layer(callee(&log, |n| async move { Ok(n) }));
        let expected = if retried.contains(&verdict) { 3 } else { 1 };
        assert_eq!(
            service.oneshot(()).await.unwrap(),
            expected,
            "{verdict:?}: the last response, whatever its verdict"
        );
        assert_eq!(log.attempts().len(), expected as usize);
    }
}

/// A lost request may have been executed, and it may be what crashed the dependency.
#[tokio::test(start_paused = true)]
async fn lost_request_is_retried_once_and_only_if_idempotent() {
    for (replay, attempts, stopped) in
        [(CloneRequest::new(), 1, Stop::NotRepeatable), (CloneRequest::idempotent(), 2, Stop::Verdict)]
    {
        let log = Log::default();
        let classifier = verdict::from_fn(|_: Result<&u32, &BoxError>| Verdict::Lost);
        let layer = layer(RetryConfig { max_attempts: 5, ..every_second() });
        let service = layer.with_classifier(classifier).with_replay(replay).layer(failing(&log));
        let (answer, report) = report(service.oneshot(())).await;
        assert_eq!(answer.unwrap_err().to_string(), format!("failure {attempts}"));
        assert_eq!(report.map(|report| (report.attempts, report.stopped)), Some((attempts, stopped)));
    }
}

#[tokio::test(start_paused = true)]
async fn cut_never_replaces_the_failure_of_the_callee() {
    let hanging = |log: &Log| {
        callee(
            log,
            |attempt| async move { if attempt == 1 { Err("the real failure".into()) } else { pending().await } },
        )
    };
    let log = Log::default();
    let config = RetryConfig { attempt_timeout: Some(millis(50)), max_attempts: 2, ..every_second() };
    let (answer, told) = report(layer(config).layer(hanging(&log)).oneshot(())).await;
    assert_eq!(answer.unwrap_err().to_string(), "the real failure");
    let told = told.unwrap();
    assert_eq!((told.verdicts, told.stopped), (vec![Verdict::Transient, Verdict::TimedOut], Stop::Attempts));

    // The same if the deadline cuts, even if an outer layer would cut too.
    let service = ServiceBuilder::new()
        .layer(DeadlineLayer::new(3 * SECOND).unwrap())
        .layer(layer(every_second()))
        .service(hanging(&log));
    let start = Instant::now();
    let (answer, told) = report(service.oneshot(())).await;
    assert_eq!(answer.unwrap_err().to_string(), "the real failure");
    assert_eq!(told.map(|told| told.stopped), Some(Stop::Deadline));
    assert_eq!(start.elapsed(), 3 * SECOND);
}

/// As in Envoy: the dependency is sent the timeout of the attempt.
#[tokio::test(start_paused = true)]
async fn attempt_timeout_is_the_deadline_of_inner_layers() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let note = Arc::clone(&seen);
    let config = RetryConfig { attempt_timeout: Some(2 * SECOND), max_attempts: 2, ..every_second() };
    let service = ServiceBuilder::new().layer(DeadlineLayer::new(4 * SECOND).unwrap()).layer(layer(config)).service(
        service_fn(move |()| {
            let (note, at_call) = (Arc::clone(&note), context::time_left());
            async move {
                note.lock().unwrap().extend([at_call, context::time_left()]);
                pending::<Result<(), BoxError>>().await
            }
        }),
    );
    let error = service.oneshot(()).await.unwrap_err();
    assert_eq!(rejection(&error).map(|rejected| rejected.reason()), Some(Reason::AttemptTimeout));
    assert_eq!(*seen.lock().unwrap(), [2, 2, 1, 1].map(|seconds| Some(seconds * SECOND)));
}

#[tokio::test(start_paused = true)]
async fn cut_is_returned_if_there_was_no_failure() {
    let config = RetryConfig { attempt_timeout: Some(millis(50)), ..every_second() };
    let hanging = service_fn(|()| pending::<Result<(), BoxError>>());
    let error = layer(config).layer(hanging).oneshot(()).await.unwrap_err();
    let rejected = rejection(&error).unwrap();
    assert_eq!((rejected.layer(), rejected.reason()), ("retry", Reason::AttemptTimeout));
}

/// tower-http checks its timer first.
#[tokio::test(start_paused = true)]
async fn response_at_the_timeout_is_returned() {
    let log = Log::default();
    let service = callee(&log, |attempt| async move {
        sleep(millis(50)).await;
        Ok(attempt)
    });
    let config = RetryConfig { attempt_timeout: Some(millis(50)), ..every_second() };
    assert_eq!(layer(config).layer(service).oneshot(()).await.unwrap(), 1);
}

/// A request of which only this many copies can be made; the type that is sent differs from the type that comes in.
#[derive(Clone)]
struct Copies(u32);

struct CopiesLeft(u32);

impl Replay<u32> for Copies {
    type Attempt = ();
    type Kept = CopiesLeft;

    fn first(&self, _: u32) -> ((), CopiesLeft) {
        assert_eq!(context::attempt(), 1);
        ((), CopiesLeft(self.0))
    }
}

impl Kept for CopiesLeft {
    type Attempt = ();

    fn repeatable(&self, _: Verdict) -> bool {
        true
    }

    fn next(&mut self) -> Option<()> {
        assert!(context::attempt() > 1);
        self.0 = self.0.checked_sub(1)?;
        Some(())
    }
}

#[tokio::test(start_paused = true)]
async fn failed_copy_of_the_request_is_refunded() {
    let log = Log::default();
    let layer = layer(every_second()).with_replay(Copies(1));
    let (answer, report) = report(layer.layer(failing(&log)).oneshot(7)).await;
    assert_eq!(answer.unwrap_err().to_string(), "failure 2");
    assert_eq!(report.map(|report| (report.attempts, report.stopped)), Some((2, Stop::NotRepeatable)));
    assert_eq!(layer.budget().balance(), 9, "one retry was made");
}

/// Notes which of its methods are called.
#[derive(Clone, Default)]
struct Noting(Arc<Mutex<Vec<&'static str>>>);

impl Replay<()> for Noting {
    type Attempt = ();
    type Kept = Self;

    fn first(&self, (): ()) -> ((), Self) {
        ((), self.clone())
    }
}

impl Kept for Noting {
    type Attempt = ();

    fn repeatable(&self, _: Verdict) -> bool {
        self.0.lock().unwrap().push("repeatable");
        true
    }

    fn give_up(&mut self) {
        self.0.lock().unwrap().push("give up");
    }

    fn next(&mut self) -> Option<()> {
        self.0.lock().unwrap().push("next");
        Some(())
    }
}

#[tokio::test(start_paused = true)]
async fn attempt_is_given_up_only_before_another_attempt() {
    let (log, noting) = (Log::default(), Noting::default());
    let config = RetryConfig { max_attempts: 2, ..every_second() };
    let call = layer(config).with_replay(noting.clone()).layer(failing(&log)).oneshot(());
    assert!(tokio::time::timeout(SECOND / 2, call).await.is_err());
    assert_eq!(noting.0.lock().unwrap()[..], ["repeatable", "give up"]);

    let (log, noting) = (Log::default(), Noting::default());
    let config = RetryConfig { max_attempts: 2, ..every_second() };
    layer(config).with_replay(noting.clone()).layer(failing(&log)).oneshot(()).await.unwrap_err();
    assert_eq!(noting.0.lock().unwrap()[..], ["repeatable", "give up", "next"]);
}

/// Calls `service` with a deadline that has passed.
async fn too_late<S>(service: S) -> (Result<u32, BoxError>, Option<Report>)
where
    S: Service<(), Response = u32, Error = BoxError, Future: Send> + Clone + Send + 'static,
{
    let outer = service_fn(move |()| {
        let (service, start) = (service.clone(), Instant::now());
        let late = context::carry(async move {
            sleep_until(start + 2 * SECOND).await;
            report(service.oneshot(())).await
        });
        ready(Ok::<_, BoxError>(late))
    });
    DeadlineLayer::new(SECOND).unwrap().layer(outer).oneshot(()).await.unwrap().await
}

#[tokio::test(start_paused = true)]
async fn call_without_time_left_is_not_sent() {
    let log = Log::default();
    let (answer, report) = too_late(layer(every_second()).layer(failing(&log))).await;
    assert_eq!(rejection(&answer.unwrap_err()).map(|rejected| rejected.reason()), Some(Reason::DeadlineExpired));
    assert_eq!((report.unwrap().attempts, log.attempts().len()), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn inner_refusal_is_not_retried_and_replaces_no_failure() {
    let (refused, _) = too_late(layer(every_second()).layer(failing(&Log::default()))).await;
    let refusal = rejection(&refused.unwrap_err()).unwrap().clone();
    for (refused_attempt, expected) in [(1, refusal.to_string()), (2, "failure 1".to_owned())] {
        let (log, refusal) = (Log::default(), refusal.clone());
        let service = callee(&log, move |attempt| {
            let refused = attempt == refused_attempt;
            ready(Err(if refused { refusal.clone().into() } else { format!("failure {attempt}").into() }))
        });
        // The same with a classifier that gives all errors one verdict.
        let transient = verdict::from_fn(|_: Result<&u32, &BoxError>| Verdict::Transient);
        let (answer, report) =
            report(layer(every_second()).with_classifier(transient).layer(service).oneshot(())).await;
        assert_eq!(answer.unwrap_err().to_string(), expected);
        assert_eq!(report.map(|report| (report.attempts, report.stopped)), Some((refused_attempt, Stop::Verdict)));
    }
}

#[test]
fn every_fault_of_a_config_is_reported_at_once() {
    let config = RetryConfig {
        enabled: true,
        max_attempts: 0,
        backoff: Backoff { cap: millis(1), ..Backoff::default() },
        budget: seawall::retry::BudgetConfig {
            ratio: f64::NAN,
            ttl: Duration::ZERO,
            reserve_per_second: -1.0,
            reserve_burst: 0,
        },
        attempt_timeout: Some(Duration::ZERO),
        max_retry_after: Duration::MAX,
        max_hold: Duration::ZERO,
        attempt_spans: false,
        max_keys: 0,
    };
    let error = RetryLayer::new(config).unwrap_err();
    let paths: Vec<_> = error.faults().iter().map(|fault| fault.path()).collect();
    let expected = [
        "max_attempts",
        "backoff.cap",
        "budget.ratio",
        "budget.ttl",
        "budget.reserve_per_second",
        "budget.reserve_burst",
        "attempt_timeout",
        "max_retry_after",
        "max_hold",
        "max_keys",
    ];
    assert_eq!(paths, expected);
}

#[tokio::test(start_paused = true)]
async fn attempt_timeout_error_reports_the_attempt_time() {
    let log = Log::default();
    let service = callee(&log, |_| pending());
    let config = RetryConfig { attempt_timeout: Some(millis(50)), max_attempts: 2, ..every_second() };
    let error = layer(config).layer(service).oneshot(()).await.unwrap_err();
    let rejected = rejection(&error).unwrap();
    assert_eq!((rejected.reason(), log.attempts()), (Reason::AttemptTimeout, vec![1, 2]));
    assert_eq!((rejected.numbers().given(), rejected.numbers().elapsed()), (Some(millis(50)), Some(millis(50))));
}

#[tokio::test(start_paused = true)]
async fn max_hold_error_reports_its_time() {
    let service = callee(&Log::default(), |_| pending());
    let config = RetryConfig { max_hold: 3 * SECOND, attempt_timeout: None, ..every_second() };
    let error = layer(config).layer(service).oneshot(()).await.unwrap_err();
    let rejected = rejection(&error).unwrap();
    assert_eq!(rejected.reason(), Reason::HoldExceeded);
    assert_eq!(rejected.numbers().given(), Some(3 * SECOND));
}
