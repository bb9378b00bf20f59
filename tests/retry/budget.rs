//! What retries cost, and which budget pays.

use std::future::pending;
use std::pin::Pin;
use std::task::{Context, Poll};

use seawall::deadline::{DeadlineConfig, DeadlineLayer};
use seawall::retry::{Budget, BudgetConfig, Stop, report};
use seawall::verdict::{self, Verdict};
use tokio::time::{Sleep, sleep, timeout};
use tower::{Layer, ServiceExt};

use super::*;

/// A reserve of this many retries that hardly refills, and no deposits by calls.
fn reserve(burst: u32) -> BudgetConfig {
    BudgetConfig { ratio: 0.0, reserve_per_second: 0.001, reserve_burst: burst, ..BudgetConfig::default() }
}

/// failsafe-go returns "budget exceeded" instead of the failure, and checks the budget after the sleep.
#[tokio::test(start_paused = true)]
async fn exhausted_budget_returns_the_failure_at_once() {
    let log = Log::default();
    let layer = layer(RetryConfig { budget: reserve(1), ..every_second() });
    let start = Instant::now();
    let (answer, told) = report(layer.layer(failing(&log)).oneshot(())).await;
    assert_eq!(answer.unwrap_err().to_string(), "failure 2");
    assert_eq!(told.map(|told| told.stopped), Some(Stop::Budget));
    assert_eq!(start.elapsed(), SECOND, "only the wait that was paid for");
    let (answer, told) = report(layer.layer(failing(&log)).oneshot(())).await;
    assert_eq!(answer.unwrap_err().to_string(), "failure 1");
    assert_eq!(told.map(|told| (told.stopped, told.elapsed)), Some((Stop::Budget, Duration::ZERO)));
}

/// A budget without a reserve, of which a tenth of the calls may be retried.
fn tenth() -> RetryConfig {
    let budget = BudgetConfig { ratio: 0.1, reserve_per_second: 0.0, ..BudgetConfig::default() };
    RetryConfig { backoff: Backoff::constant(millis(1)), budget, ..RetryConfig::default() }
}

/// Other libraries deposit a whole token per success: 45 % of errors become 82 % more load.
#[tokio::test(start_paused = true)]
async fn retries_stay_within_the_ratio() {
    for failing_in_twenty in [1, 9, 20] {
        let log = Log::default();
        let attempts = log.clone();
        let service = layer(RetryConfig {
            budget: BudgetConfig { ratio: 0.2, reserve_per_second: 0.0, ..BudgetConfig::default() },
            ..tenth()
        })
        .layer(service_fn(move |n: u32| {
            attempts.note();
            let fails = n % 20 < failing_in_twenty && context::attempt() == 1;
            async move { if fails { Err(BoxError::from("down")) } else { Ok(()) } }
        }));
        for n in 0..2000 {
            let _ = service.clone().oneshot(n).await;
        }
        let retries = log.attempts().len() - 2000;
        assert!(retries <= 400, "{retries} retries, {failing_in_twenty} of 20 fail");
        if failing_in_twenty > 1 {
            assert!(retries >= 390, "{retries} retries are fewer than the budget allows");
        }
    }
}

/// One shard of ten is down. The budget could pay for a retry of each of its calls, and none would help.
#[tokio::test(start_paused = true)]
async fn retries_that_never_help_become_rare() {
    let log = Log::default();
    let attempts = log.clone();
    let layer = layer(tenth());
    let service = layer.layer(service_fn(move |n: u32| {
        attempts.note();
        async move { if n % 10 == 0 && n < 20_000 { Err(BoxError::from("down")) } else { Ok(()) } }
    }));
    let mut stops = Vec::new();
    for n in 0..20_000 {
        let (_, report) = report(service.clone().oneshot(n)).await;
        stops.extend(report.map(|report| report.stopped).filter(|stop| *stop != Stop::Succeeded));
    }
    let retries = log.attempts().len() - 20_000;
    assert!((150..=230).contains(&retries), "{retries} retries of 2000 failed calls");
    assert!(stops[1000..].iter().all(|stop| *stop == Stop::NotHelping));
    let share = layer.budget().granted_share();
    assert!((share - 0.05).abs() < 1e-9, "{share}");
    assert!(layer.budget().balance() > 10, "what was not granted was not spent");
}

/// The outage is over, and now every second attempt fails.
#[tokio::test(start_paused = true)]
async fn retries_that_help_again_are_all_granted_again() {
    let log = Log::default();
    let attempts = log.clone();
    let service = layer(tenth()).layer(service_fn(move |n: u32| {
        attempts.note();
        let fails = n % 10 == 0 && (n < 20_000 || context::attempt() == 1);
        async move { if fails { Err(BoxError::from("down")) } else { Ok(()) } }
    }));
    let mut failures = Vec::new();
    for n in 0..21_000 {
        let answer = service.clone().oneshot(n).await;
        if n >= 20_000 && answer.is_err() {
            failures.push(n);
        }
    }
    assert!(failures.len() <= 21, "{failures:?}");
    assert!(failures.iter().all(|n| *n <= 20_210), "{failures:?}");
}

/// Its caller gave up: that says nothing. A retry that ran into the deadline has not helped.
#[tokio::test(start_paused = true)]
async fn retries_that_were_given_up_say_nothing() {
    for (is_cut, share) in [(false, 1.0), (true, 0.05)] {
        let budget = Budget::new(BudgetConfig { ratio: 1.0, ..BudgetConfig::default() }).unwrap();
        let retry = layer(RetryConfig { max_attempts: 2, ..tenth() }).with_budget(budget.clone());
        let service = DeadlineLayer::new(DeadlineConfig::from(millis(100))).unwrap().layer(retry.layer(service_fn(
            |(): ()| async {
                if context::attempt() == 1 { Err(BoxError::from("down")) } else { pending::<Result<(), _>>().await }
            },
        )));
        for _ in 0..2500 {
            let patience = if is_cut { SECOND } else { millis(50) };
            let _ = timeout(patience, service.clone().oneshot(())).await;
        }
        assert!((budget.granted_share() - share).abs() < 1e-9, "{}", budget.granted_share());
    }
}

/// `404`, say: the caller has an answer now.
#[tokio::test(start_paused = true)]
async fn retry_whose_answer_blames_the_request_has_helped() {
    for (second, share) in [("not found", 1.0), ("broken", 0.05)] {
        let layer = layer(tenth()).with_classifier(verdict::from_fn(|result: Result<&(), &BoxError>| match result {
            Ok(()) => Verdict::Success,
            Err(error) if error.to_string() == "not found" => Verdict::CallerFault,
            Err(error) if error.to_string() == "broken" => Verdict::Failed,
            Err(_) => Verdict::Transient,
        }));
        let service = layer.layer(service_fn(move |()| async move {
            Err::<(), _>(BoxError::from(if context::attempt() == 1 { "down" } else { second }))
        }));
        for _ in 0..20_000 {
            let _ = service.clone().oneshot(()).await;
        }
        let found = layer.budget().granted_share();
        assert!((found - share).abs() < 1e-9, "{second}: {found}");
    }
}

#[tokio::test(start_paused = true)]
async fn services_of_a_layer_and_layers_can_share_a_budget() {
    let log = Log::default();
    let retry = RetryConfig { budget: reserve(2), max_attempts: 2, ..every_second() };
    let one = layer(retry.clone());
    let _ = one.layer(failing(&log)).oneshot(()).await;
    let _ = one.clone().layer(failing(&log)).clone().oneshot(()).await;
    assert_eq!((one.budget().balance(), log.attempts().len()), (0, 4));
    let _ = one.layer(failing(&log)).oneshot(()).await;
    assert_eq!(log.attempts().len(), 5);

    let shared = Budget::new(reserve(2)).unwrap();
    let (reads, writes) = (layer(retry.clone()).with_budget(shared.clone()), layer(retry).with_budget(shared.clone()));
    let _ = reads.layer(failing(&log)).oneshot(()).await;
    let _ = writes.layer(failing(&log)).oneshot(()).await;
    assert_eq!(shared.balance(), 0);
}

#[tokio::test(start_paused = true)]
async fn each_key_has_its_own_budget() {
    let layer =
        layer(RetryConfig { budget: reserve(1), max_attempts: 2, ..every_second() }).keyed_by(|host: &u8| *host);
    let service = layer.layer(service_fn(|_: u8| async { Err::<(), BoxError>("down".into()) }));
    let mut attempts = Vec::new();
    for host in [1, 1, 2, 2, 3] {
        let (_, report) = report(service.clone().oneshot(host)).await;
        attempts.push(report.unwrap().attempts);
    }
    assert_eq!(attempts, [2, 1, 2, 1, 2]);
    assert_eq!(layer.budget().balance(), 1, "the budget of requests without a key");
}

/// twitter/finagle#956: one call through two filters deposited twice.
#[tokio::test(start_paused = true)]
async fn retry_of_an_outer_layer_deposits_nothing() {
    let ratio = BudgetConfig { ratio: 1.0, reserve_per_second: 0.0, ..BudgetConfig::default() };
    let inner = layer(RetryConfig { max_attempts: 1, budget: ratio, ..every_second() });
    let log = Log::default();
    let _ = layer(every_second()).layer(inner.layer(failing(&log))).oneshot(()).await;
    assert_eq!(log.attempts(), [1, 1, 1]);
    assert_eq!(inner.budget().balance(), 1);
}

#[tokio::test(start_paused = true)]
async fn retry_is_refunded_until_it_is_sent() {
    /// Ready for the first attempt. A further attempt has to wait for its readiness.
    struct SlowToReady(Pin<Box<Sleep>>);

    impl Clone for SlowToReady {
        fn clone(&self) -> Self {
            Self(Box::pin(sleep(2 * SECOND)))
        }
    }

    impl Service<()> for SlowToReady {
        type Response = u32;
        type Error = BoxError;
        type Future = Pin<Box<dyn Future<Output = Result<u32, BoxError>> + Send>>;

        fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
            if context::attempt() == 1 { Poll::Ready(Ok(())) } else { self.0.as_mut().poll(cx).map(Ok) }
        }

        fn call(&mut self, (): ()) -> Self::Future {
            let first = context::attempt() == 1;
            Box::pin(async move { if first { Err("down".into()) } else { pending().await } })
        }
    }

    // The first attempt fails at once, the backoff lasts until 1 s, readiness until 3 s, and then the retry is sent.
    for (dropped_after, balance) in [(500, 5), (2500, 5), (3500, 4)] {
        let layer = layer(RetryConfig { budget: reserve(5), ..every_second() });
        let mut call = Box::pin(layer.layer(SlowToReady(Box::pin(sleep(SECOND)))).oneshot(()));
        assert!(timeout(millis(dropped_after), call.as_mut()).await.is_err());
        drop(call);
        assert_eq!(layer.budget().balance(), balance, "dropped after {dropped_after} ms");
    }
}

#[tokio::test(start_paused = true)]
async fn retry_is_paid_for_before_the_backoff() {
    let layer = layer(RetryConfig { budget: reserve(3), ..every_second() });
    let log = Log::default();
    let mut calls: Vec<_> = (0..5).map(|_| Box::pin(report(layer.layer(failing(&log)).oneshot(())))).collect();
    for call in &mut calls {
        let _ = timeout(Duration::ZERO, call.as_mut()).await;
    }
    assert_eq!(layer.budget().balance(), 0, "three are in their backoff, two have returned");
    drop(calls);
    assert_eq!(layer.budget().balance(), 3);
}
