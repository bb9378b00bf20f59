use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use futures::poll;
use seawall::error::Reason;
use seawall::retry::{Backoff, Budget, BudgetConfig, Jitter, RetryConfig, RetryLayer};
use tokio::time::Instant;
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

use crate::*;

fn every(base: Duration, max_attempts: u32) -> RetryConfig {
    let backoff = Backoff { jitter: Jitter::None, ..Backoff::constant(base) };
    RetryConfig { max_attempts, backoff, ..Default::default() }
}

type Failing = std::future::Ready<Result<u32, BoxError>>;

/// A service that fails, and the count of its calls.
fn failing() -> (Arc<AtomicU32>, tower::util::ServiceFn<impl Fn(u32) -> Failing + Clone>) {
    let attempts = Arc::new(AtomicU32::new(0));
    let counted = attempts.clone();
    let service = service_fn(move |_: u32| {
        counted.fetch_add(1, Ordering::SeqCst);
        ready(Err(BoxError::from("failed")))
    });
    (attempts, service)
}

#[tokio::test(start_paused = true)]
async fn running_call_keeps_its_config() {
    let layer = RetryLayer::new(every(SECOND, 3)).unwrap();
    let (attempts, callee) = failing();
    let service = layer.layer(callee);
    let mut old = Box::pin(service.clone().oneshot(0));
    assert!(poll!(&mut old).is_pending());
    layer.reload(&every(10 * MS, 2)).unwrap();
    let start = Instant::now();
    assert!(old.await.is_err());
    assert_eq!((attempts.swap(0, Ordering::SeqCst), start.elapsed()), (3, 2 * SECOND));
    let start = Instant::now();
    assert!(service.clone().oneshot(0).await.is_err());
    assert_eq!((attempts.load(Ordering::SeqCst), start.elapsed()), (2, 10 * MS));
}

#[tokio::test(start_paused = true)]
async fn later_attempts_have_the_new_bound() {
    let layer = RetryLayer::new(every(SECOND, 1)).unwrap();
    let mut service = layer.layer(silent());
    let old = service.call(0);
    let config = RetryConfig { attempt_timeout: Some(SECOND), max_hold: 10 * SECOND, ..every(SECOND, 1) };
    layer.reload(&config).unwrap();
    let new = service.call(0);
    let start = Instant::now();
    assert_eq!(reason(new.await), Some(Reason::AttemptTimeout));
    assert_eq!(start.elapsed(), SECOND);
    assert_eq!(reason(old.await), Some(Reason::HoldExceeded));
    assert_eq!(start.elapsed(), MINUTE);
}

#[tokio::test(start_paused = true)]
async fn budget_keeps_its_balance() {
    let layer = RetryLayer::new(every(MS, 2)).unwrap();
    let (_, callee) = failing();
    let service = layer.layer(callee);
    for _ in 0..4 {
        assert!(service.clone().oneshot(0).await.is_err());
    }
    let left = layer.budget().balance();
    assert_eq!(left, 6);
    let with = |budget| RetryConfig { budget, ..every(MS, 2) };
    layer.reload(&with(BudgetConfig { reserve_burst: 100, ratio: 1.0, ..Default::default() })).unwrap();
    assert_eq!(layer.budget().balance(), left, "the budget is not refilled");
    service.clone().oneshot(0).await.unwrap_err();
    assert_eq!(layer.budget().balance(), left, "a call deposits a whole retry now, and one is made");
    layer.reload(&with(BudgetConfig { reserve_burst: 2, ..Default::default() })).unwrap();
    assert_eq!(layer.budget().balance(), 2);
}

#[tokio::test(start_paused = true)]
async fn shared_budget_is_not_reloaded() {
    let budget = Budget::new(BudgetConfig::default()).unwrap();
    let layer = RetryLayer::new(every(MS, 2)).unwrap().with_budget(budget.clone());
    let small = BudgetConfig { reserve_burst: 1, ..Default::default() };
    layer.reload(&RetryConfig { budget: small.clone(), ..every(MS, 2) }).unwrap();
    assert_eq!(budget.balance(), 10);
    layer.clone().keyed_by(|n: &u32| *n).reload(&RetryConfig { budget: small.clone(), ..every(MS, 2) }).unwrap();
    assert_eq!(budget.balance(), 10, "nor by a layer made of this one");
    budget.reload(&small).unwrap();
    assert_eq!(layer.budget().balance(), 1);
    let faults = budget.reload(&BudgetConfig { ratio: 2.0, ttl: MINUTE * 2, ..small }).unwrap_err();
    assert_eq!(faults.faults().len(), 2);
}
