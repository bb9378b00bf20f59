//! Whose turn it is when calls wait: no priority starves.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use seawall::context::{self, Priority};
use seawall::deadline::DeadlineLayer;
use tower::ServiceExt;

use super::*;

/// A client that makes so many calls a second, one after the other.
#[derive(Clone, Copy)]
struct Caller {
    priority: Priority,
    per_second: u32,
}

impl Caller {
    const fn priority(priority: Priority, per_second: u32) -> Self {
        Self { priority, per_second }
    }
}

/// For ten seconds. Returns the share of the calls of each caller that were served.
async fn served_of<const N: usize>(service: &Sleeper, callers: [Caller; N]) -> [f64; N] {
    let service = BoxCloneService::new(DeadlineLayer::new(SECOND).unwrap().layer(service.clone()));
    let callers = callers.map(|caller| {
        let service = service.clone();
        tokio::spawn(async move {
            let mut calls = Vec::new();
            for _ in 0..10 * caller.per_second {
                let call = context::with_priority(caller.priority, service.clone().oneshot(20 * MS));
                calls.push(tokio::spawn(call));
                sleep(SECOND / caller.per_second).await;
            }
            let (mut served, all) = (0, calls.len());
            for call in calls {
                served += u32::from(call.await.unwrap().is_ok());
            }
            f64::from(served) / all as f64
        })
    });
    let mut shares = [0.0; N];
    for (share, caller) in shares.iter_mut().zip(callers) {
        *share = caller.await.unwrap();
    }
    shares
}

#[tokio::test(start_paused = true)]
async fn lower_priorities_get_a_small_share_of_what_a_higher_one_could_use_alone() {
    for (layer, service) in gated(10, &sleeper()) {
        let callers = [Caller::priority(Priority::High, 1000), Caller::priority(Priority::Low, 100)];
        let [high, low] = served_of(&service, callers).await;
        assert!((0.48..0.50).contains(&high), "{layer}: {high}");
        assert!((0.06..0.14).contains(&low), "{layer}: {low}, which is 2 % of 500 calls a second");
    }
}

#[tokio::test(start_paused = true)]
async fn priority_may_be_strict() {
    let bulkhead = BulkheadConfig { max_concurrent: 10, low_priority_share: 0.0, ..Default::default() };
    let strict = BoxCloneService::new(BulkheadLayer::new(bulkhead).unwrap().layer(sleeper()));
    let callers = [Caller::priority(Priority::High, 1000), Caller::priority(Priority::Low, 100)];
    let [_, low] = served_of(&strict, callers).await;
    assert!(low < 0.02, "{low}");
}

/// Ten workers of low priority, each of which makes its next call when the last one has ended, without a deadline.
#[tokio::test(start_paused = true)]
async fn calls_of_low_priority_that_wait_get_their_share_too() {
    for (layer, service) in gated(10, &sleeper()) {
        let served = Arc::new(AtomicU32::new(0));
        for _ in 0..10 {
            let (service, served) = (service.clone(), Arc::clone(&served));
            tokio::spawn(context::with_priority(Priority::Low, async move {
                loop {
                    match service.clone().oneshot(20 * MS).await {
                        Ok(()) => drop(served.fetch_add(1, Ordering::Relaxed)),
                        Err(_) => sleep(100 * MS).await,
                    }
                }
            }));
        }
        let callers = [Caller { priority: Priority::High, per_second: 1000 }];
        let _ = served_of(&service, callers).await;
        let low = served.load(Ordering::Relaxed);
        assert!((70..150).contains(&low), "{layer}: {low} of 5000, of which 2 % are 100");
    }
}
