//! What retries cost, and which budget pays.

use std::future::pending;
use std::pin::Pin;
use std::task::{Context, Poll};

use seawall::retry::{Budget, BudgetConfig, Stop, report};
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

/// Other libraries deposit a whole token per success: 45 % of errors become 82 % more load.
#[tokio::test(start_paused = true)]
async fn retries_stay_within_the_ratio() {
    for failing_in_twenty in [1, 9, 20] {
        let log = Log::default();
        let attempts = log.clone();
        let service = layer(RetryConfig {
            backoff: Backoff::constant(millis(1)),
            budget: BudgetConfig { ratio: 0.2, reserve_per_second: 0.0, ..BudgetConfig::default() },
            ..RetryConfig::default()
        })
        .layer(service_fn(move |n: u32| {
            attempts.note();
            async move { if n % 20 < failing_in_twenty { Err(BoxError::from("down")) } else { Ok(()) } }
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
