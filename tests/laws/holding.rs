//! A failed attempt releases everything it held before the backoff.

use std::time::Duration;

use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
use seawall::retry::{Backoff, BudgetConfig, Jitter, RetryConfig, RetryLayer};
use tokio::time::{Instant, sleep};
use tower::{ServiceBuilder, ServiceExt};

use crate::inner::{Answer, Difficult, Readiness};

const WORK: Duration = Duration::from_millis(20);
const BACKOFF: Duration = Duration::from_secs(1);

fn retry() -> RetryLayer {
    RetryLayer::new(RetryConfig {
        backoff: Backoff { jitter: Jitter::None, ..Backoff::constant(BACKOFF) },
        budget: BudgetConfig { ratio: 1.0, reserve_burst: 1000, ..BudgetConfig::default() },
        ..RetryConfig::default()
    })
    .unwrap()
}

#[tokio::test(start_paused = true)]
async fn attempts_release_permits_before_the_backoff() {
    let bulkhead = BulkheadLayer::new(BulkheadConfig { max_concurrent: 64, ..BulkheadConfig::default() }).unwrap();
    let handle = bulkhead.handle();
    // All first attempts fail, and all second attempts succeed.
    let callee =
        Difficult::scripted(
            Readiness::AtOnce,
            |call| {
                if call < 64 { Answer::FailsAfter(WORK) } else { Answer::After(WORK) }
            },
        );
    let census = callee.census();
    let service = ServiceBuilder::new().layer(retry()).layer(bulkhead).service(callee);
    let start = Instant::now();
    let calls: Vec<_> = (0..64).map(|n| tokio::spawn(service.clone().oneshot(n))).collect();

    sleep(WORK / 2).await;
    assert_eq!((handle.in_flight(), census.futures()), (64, 64));
    sleep(WORK).await;
    // All calls are in their backoff. Another call finds a free bulkhead, and is served at once.
    assert_eq!((handle.in_flight(), handle.waiting(), census.futures()), (0, 0, 0));
    let other = Instant::now();
    service.clone().oneshot(7).await.unwrap();
    assert_eq!(other.elapsed(), WORK);

    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(start.elapsed(), WORK + BACKOFF + WORK);
}

#[tokio::test(start_paused = true)]
async fn failing_calls_share_a_single_permit() {
    let config = BulkheadConfig { max_concurrent: 1, max_wait: Duration::from_secs(60), ..BulkheadConfig::default() };
    let bulkhead = BulkheadLayer::new(config).unwrap();
    let callee =
        Difficult::scripted(
            Readiness::Slots,
            |call| if call < 64 { Answer::FailsAfter(WORK) } else { Answer::After(WORK) },
        );
    let service = ServiceBuilder::new().layer(retry()).layer(bulkhead).service(callee);
    let start = Instant::now();
    let calls: Vec<_> = (0..64).map(|n| tokio::spawn(service.clone().oneshot(n))).collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    // If each call kept the permit during its backoff, this would take more than a minute.
    assert!(start.elapsed() < 128 * WORK + 2 * BACKOFF, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn failed_probe_releases_its_slot_before_the_backoff() {
    let config = CircuitBreakerConfig { consecutive_failures: Some(1), jitter: 0.0, ..CircuitBreakerConfig::default() };
    let breaker = CircuitBreakerLayer::new(config).unwrap();
    let callee = Difficult::scripted(Readiness::AtOnce, |call| if call == 0 { Answer::Fails } else { Answer::AtOnce });
    // The breaker's break is as long as the backoff, and the second attempt is its probe.
    let service = ServiceBuilder::new().layer(retry()).layer(breaker).service(callee);
    assert_eq!(service.oneshot(7).await.unwrap(), 7);
}
