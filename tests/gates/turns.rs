//! Whose turn it is when calls wait: no tenant waits for another one's calls, and no priority starves.

use seawall::context::{self, Priority};
use seawall::deadline::DeadlineLayer;
use tower::ServiceExt;

use super::*;

/// A client that makes so many calls a second, one after the other.
#[derive(Clone, Copy)]
struct Caller {
    tenant: Option<&'static str>,
    priority: Priority,
    per_second: u32,
}

impl Caller {
    const fn tenant(tenant: &'static str, per_second: u32) -> Self {
        Self { tenant: Some(tenant), priority: Priority::Normal, per_second }
    }

    const fn priority(priority: Priority, per_second: u32) -> Self {
        Self { tenant: None, priority, per_second }
    }
}

/// For ten seconds. Returns the share of the calls of each caller that were served.
async fn served<const N: usize>(service: &Sleeper, callers: [Caller; N]) -> [f64; N] {
    let service = BoxCloneService::new(DeadlineLayer::new(SECOND).unwrap().layer(service.clone()));
    let callers = callers.map(|caller| {
        let service = service.clone();
        tokio::spawn(async move {
            let mut calls = Vec::new();
            for _ in 0..10 * caller.per_second {
                let call = context::with_priority(caller.priority, service.clone().oneshot(20 * MS));
                calls.push(match caller.tenant {
                    Some(tenant) => tokio::spawn(context::with_tenant(tenant, call)),
                    None => tokio::spawn(call),
                });
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

/// Ten permits serve 500 calls a second.
#[tokio::test(start_paused = true)]
async fn tenant_that_sends_too_much_waits_for_itself() {
    for (layer, service) in gated(10, &sleeper()) {
        let callers = [Caller::tenant("greedy", 1000), Caller::tenant("small", 100), Caller::tenant("tiny", 10)];
        let [greedy, small, tiny] = served(&service, callers).await;
        assert!(small > 0.99 && tiny > 0.99, "{layer}: {small}, {tiny}");
        assert!((0.36..0.42).contains(&greedy), "{layer}: {greedy} of what is left");
    }
}

#[tokio::test(start_paused = true)]
async fn tenants_that_all_send_too_much_get_equal_parts() {
    for (layer, service) in gated(10, &sleeper()) {
        let callers = [Caller::tenant("a", 1000), Caller::tenant("b", 500), Caller::tenant("c", 250)];
        let [a, b, c] = served(&service, callers).await;
        for (tenant, each) in [(a, 0.167), (b, 0.333), (c, 0.667)] {
            assert!((tenant / each - 1.0).abs() < 0.15, "{layer}: {a}, {b}, {c}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn lower_priorities_get_a_small_share_of_what_a_higher_one_could_use_alone() {
    for (layer, service) in gated(10, &sleeper()) {
        let callers = [Caller::priority(Priority::High, 1000), Caller::priority(Priority::Low, 100)];
        let [high, low] = served(&service, callers).await;
        assert!((0.48..0.50).contains(&high), "{layer}: {high}");
        assert!((0.06..0.14).contains(&low), "{layer}: {low}, which is 2 % of 500 calls a second");
    }
}

#[tokio::test(start_paused = true)]
async fn priority_may_be_strict() {
    let bulkhead = BulkheadConfig { max_concurrent: 10, low_priority_share: 0.0, ..Default::default() };
    let strict = BoxCloneService::new(BulkheadLayer::new(bulkhead).unwrap().layer(sleeper()));
    let callers = [Caller::priority(Priority::High, 1000), Caller::priority(Priority::Low, 100)];
    let [_, low] = served(&strict, callers).await;
    assert!(low < 0.02, "{low}");
}
