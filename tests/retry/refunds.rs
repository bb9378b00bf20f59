//! A retry that was never sent costs nothing; a retry that was sent costs a token, whatever its outcome.

use std::future::pending;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::SeqCst};
use std::task::{Context, Poll};

use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
use seawall::deadline::DeadlineLayer;
use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
use seawall::rate_limit::{RateLimitConfig, RateLimitLayer};
use seawall::retry::BudgetConfig;
use seawall::verdict::{self, Verdict};
use tokio::time::{sleep, timeout};
use tower::util::BoxCloneSyncServiceLayer;
use tower::{Layer, ServiceBuilder, ServiceExt};

use super::*;

/// One token, in the reserve or deposited by the call itself; nothing else adds to it.
fn budgets() -> [BudgetConfig; 2] {
    let none = BudgetConfig { ratio: 0.0, reserve_per_second: 0.0, ..BudgetConfig::default() };
    [
        BudgetConfig { reserve_per_second: 0.001, reserve_burst: 1, ..none.clone() },
        BudgetConfig { ratio: 1.0, ttl: 60 * SECOND, ..none },
    ]
}

fn twice(budget: BudgetConfig) -> RetryLayer {
    layer(RetryConfig { budget, max_attempts: 2, ..every_second() })
}

/// The first attempt fails and runs `then`; a further attempt is counted and succeeds.
fn fails_once(sent: &Arc<AtomicU32>, then: impl Fn() + Clone + Send + Sync + 'static) -> Callee {
    let sent = Arc::clone(sent);
    BoxCloneSyncService::new(service_fn(move |()| {
        let first = context::attempt() == 1;
        if first {
            then();
        } else {
            sent.fetch_add(1, SeqCst);
        }
        ready(if first { Err("down".into()) } else { Ok(2) })
    }))
}

type Inside = BoxCloneSyncServiceLayer<Callee, (), u32, BoxError>;

/// What runs when the first attempt has failed.
type Then = Arc<dyn Fn() + Send + Sync>;

/// Layers of ours that refuse the second attempt, and what makes them refuse.
fn refusing() -> Vec<(&'static str, Inside, Then)> {
    let nothing = || Arc::new(|| {}) as Then;
    let breaker = CircuitBreakerLayer::new(CircuitBreakerConfig::default()).unwrap();
    let handle = breaker.handle();
    let limit = RateLimitConfig { permits: 1, per: 3600 * SECOND, ..RateLimitConfig::default() };
    let patient = RateLimitConfig { max_wait: SECOND / 10, ..limit.clone() };
    // Held by a call that never ends.
    let taken = |service: Box<dyn Fn() + Send + Sync>| Arc::from(service) as Then;
    let full = BulkheadConfig { max_concurrent: 1, max_waiting: 0, ..BulkheadConfig::default() };
    let full = BulkheadLayer::new(full).unwrap();
    let slow = BulkheadConfig { max_concurrent: 1, max_wait: SECOND / 10, ..BulkheadConfig::default() };
    let slow = BulkheadLayer::new(slow).unwrap();
    let shed = LoadShedConfig { max_in_flight: 1, max_wait: SECOND / 10, ..LoadShedConfig::default() };
    let shed = LoadShedLayer::new(shed).unwrap();
    let hang = || service_fn(|()| pending::<Result<u32, BoxError>>());
    let (of_full, of_slow, of_shed) = (full.layer(hang()), slow.layer(hang()), shed.layer(hang()));
    vec![
        ("open breaker", Inside::new(breaker), taken(Box::new(move || handle.force_open()))),
        ("exhausted rate limit", Inside::new(RateLimitLayer::new(limit).unwrap()), nothing()),
        ("rate limit with a queue", Inside::new(RateLimitLayer::new(patient).unwrap()), nothing()),
        ("full bulkhead", Inside::new(full), taken(Box::new(move || drop(tokio::spawn(of_full.clone().oneshot(())))))),
        ("queue timeout", Inside::new(slow), taken(Box::new(move || drop(tokio::spawn(of_slow.clone().oneshot(())))))),
        ("full shedder", Inside::new(shed), taken(Box::new(move || drop(tokio::spawn(of_shed.clone().oneshot(())))))),
    ]
}

#[tokio::test(start_paused = true)]
async fn retry_refused_further_in_is_refunded() {
    for budget in budgets() {
        for (what, inside, refuse) in refusing() {
            let (layer, sent) = (twice(budget.clone()), Arc::new(AtomicU32::new(0)));
            let service = layer.layer(inside.layer(fails_once(&sent, move || refuse())));
            let error = service.oneshot(()).await.unwrap_err();
            assert_eq!(error.to_string(), "down", "{what}: the failure of the dependency");
            assert_eq!((sent.load(SeqCst), layer.budget().balance()), (0, 1), "{what}: (sent, balance)");
        }
    }
}

/// Becomes unready, or broken, after its first call.
#[derive(Clone)]
struct Closing {
    closed: Arc<AtomicBool>,
    is_broken: bool,
    sent: Arc<AtomicU32>,
}

impl Closing {
    fn new(is_broken: bool) -> Self {
        Self { closed: Arc::default(), is_broken, sent: Arc::default() }
    }
}

impl Service<()> for Closing {
    type Response = u32;
    type Error = BoxError;
    type Future = std::future::Ready<Result<u32, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self.closed.load(SeqCst) {
            true if self.is_broken => Poll::Ready(Err("cannot connect".into())),
            true => Poll::Pending,
            false => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, (): ()) -> Self::Future {
        self.closed.store(true, SeqCst);
        self.sent.fetch_add(1, SeqCst);
        ready(Err("down".into()))
    }
}

#[tokio::test(start_paused = true)]
async fn retry_whose_service_does_not_become_ready_is_refunded() {
    for budget in budgets() {
        // An error, the end of the call's time, and a dropped call.
        for (is_broken, deadline, patience) in [(true, 60, 60), (false, 5, 60), (false, 60, 5)] {
            let (layer, callee) = (twice(budget.clone()), Closing::new(is_broken));
            let deadline = DeadlineLayer::new(deadline * SECOND).unwrap();
            let call = deadline.layer(layer.layer(callee.clone())).oneshot(());
            assert!(timeout(patience * SECOND, call).await.is_err_and(|_| patience == 5) || patience != 5);
            assert_eq!((callee.sent.load(SeqCst), layer.budget().balance()), (1, 1), "{is_broken}, {deadline:?}");
        }
        let config = RetryConfig { budget, max_attempts: 2, attempt_timeout: Some(SECOND), ..every_second() };
        let (layer, callee) = (layer(config), Closing::new(false));
        layer.layer(callee.clone()).oneshot(()).await.unwrap_err();
        assert_eq!((callee.sent.load(SeqCst), layer.budget().balance()), (1, 1), "attempt timeout");
    }
}

#[tokio::test(start_paused = true)]
async fn retry_refused_by_a_full_queue_is_refunded() {
    let layer = layer(RetryConfig {
        budget: BudgetConfig { ratio: 0.0, reserve_per_second: 0.001, ..BudgetConfig::default() },
        max_attempts: 2,
        ..every_second()
    });
    let callee = Closing::new(false);
    let mut service = layer.layer(callee.clone());
    service.ready().await.unwrap();
    callee.closed.store(true, SeqCst);
    let waiting: Vec<_> = (0..1024).map(|_| tokio::spawn(layer.layer(callee.clone()).oneshot(()))).collect();
    tokio::task::yield_now().await;
    assert_eq!(service.call(()).await.unwrap_err().to_string(), "down");
    assert_eq!((callee.sent.load(SeqCst), layer.budget().balance()), (1, 10), "(sent, balance)");
    drop(waiting);
}

#[tokio::test(start_paused = true)]
async fn unsent_retry_is_refunded() {
    for budget in budgets() {
        // As an error, and as a response.
        for is_answer in [false, true] {
            let classifier = verdict::from_fn(|_: Result<&u32, &BoxError>| Verdict::Unsent);
            let layer = layer(RetryConfig { budget: budget.clone(), max_attempts: 5, ..every_second() });
            let layer = layer.with_classifier(classifier);
            let log = Log::default();
            let callee = callee(&log, move |n| ready(if is_answer { Ok(n) } else { Err("refused unread".into()) }));
            let _ = layer.layer(callee).oneshot(()).await;
            assert_eq!((log.attempts().len(), layer.budget().balance()), (5, 1), "one token pays for all attempts");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn retry_dropped_before_it_is_sent_is_refunded() {
    for budget in budgets() {
        // During the backoff, and in the queue of an inner bulkhead, where the retry waits from the first second on.
        for (dropped_after, what) in [(millis(500), "backoff"), (millis(1500), "queue")] {
            let bulkhead =
                BulkheadLayer::new(BulkheadConfig { max_concurrent: 1, ..BulkheadConfig::default() }).unwrap();
            let other = bulkhead.layer(service_fn(|()| pending::<Result<u32, BoxError>>()));
            let (layer, sent) = (twice(budget.clone()), Arc::new(AtomicU32::new(0)));
            let callee = fails_once(&sent, move || drop(tokio::spawn(other.clone().oneshot(()))));
            let call = layer.layer(bulkhead.layer(callee)).oneshot(());
            assert!(timeout(dropped_after, call).await.is_err());
            assert_eq!((sent.load(SeqCst), layer.budget().balance()), (0, 1), "{what}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn sent_retry_is_paid_for_whatever_its_outcome() {
    for budget in budgets() {
        for (what, takes, patience) in [("fails", 0, 60), ("dropped", 30, 5), ("deadline", 30, 60)] {
            let layer = twice(budget.clone());
            let log = Log::default();
            let callee = callee(&log, move |n| async move {
                if n > 1 {
                    sleep(takes * SECOND).await;
                }
                Err("down".into())
            });
            let stack = ServiceBuilder::new()
                .layer(DeadlineLayer::new(10 * SECOND).unwrap())
                .layer(layer.clone())
                .layer(BulkheadLayer::new(BulkheadConfig::default()).unwrap());
            let _ = timeout(patience * SECOND, stack.service(callee).oneshot(())).await;
            assert_eq!((log.attempts(), layer.budget().balance()), (vec![1, 2], 0), "{what}");
        }
    }
}

/// Until it is known whether the retry was sent, no other retry can use its token.
#[tokio::test(start_paused = true)]
async fn token_is_held_while_the_retry_is_in_flight() {
    let [reserve, _] = budgets();
    let layer = twice(reserve);
    let log = Log::default();
    let hanging = callee(&log, |n| async move { if n == 1 { Err("down".into()) } else { pending().await } });
    let mut call = Box::pin(layer.layer(hanging).oneshot(()));
    assert!(timeout(2 * SECOND, call.as_mut()).await.is_err());
    assert_eq!((log.attempts(), layer.budget().balance()), (vec![1, 2], 0));
}
