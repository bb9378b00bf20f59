//! Which endpoints are ejected, and what becomes of the calls there.

use seawall::deadline::DeadlineLayer;
use seawall::registry::Registry;
use seawall::retry::{BudgetConfig, RetryConfig, RetryLayer};
use tower::Layer;

use super::by_hand::listed;
use super::*;

/// Endpoints are compared once in a second, and only ejection keeps calls from a bad one, for good.
fn only_ejection(max_concurrent: u32) -> BalanceConfig {
    let mut config = BalanceConfig { max_concurrent, ..BalanceConfig::default() };
    config.circuit_breaker.enabled = false;
    config.ejection.interval = SECOND;
    config.ejection.base_time = 1000 * SECOND;
    config.ejection.max_time = 1000 * SECOND;
    config
}

fn named(servers: &Servers, config: BalanceConfig) -> (Registry, BalanceLayer) {
    let registry = Registry::new();
    let layer = servers.layer(config).named_in(&registry, "orders").unwrap();
    (registry, layer)
}

fn ejected(registry: &Registry) -> Vec<usize> {
    let out = listed(registry).into_iter().filter(|endpoint| endpoint.ejected);
    out.map(|endpoint| endpoint.key.parse().unwrap()).collect()
}

/// The most endpoints among these that were ejected at one moment, while `calls` were made.
async fn most_ejected<T>(
    registry: &Registry,
    among: std::ops::Range<usize>,
    calls: impl Future<Output = T>,
) -> (usize, T) {
    let mut most = 0;
    let mut calls = std::pin::pin!(calls);
    loop {
        tokio::select! {
            results = &mut calls => return (most, results),
            () = sleep(10 * MS) => {
                most = most.max(ejected(registry).into_iter().filter(|endpoint| among.contains(endpoint)).count());
            }
        }
    }
}

fn in_two_tiers(servers: &Servers, first: usize) -> Vec<Endpoint> {
    let endpoints = servers.endpoints().into_iter().enumerate();
    endpoints.map(|(i, endpoint)| endpoint.with_tier(u8::from(i >= first))).collect()
}

/// All of the first tier fail. The standbys are no reason to eject more than half of it.
#[tokio::test(start_paused = true)]
async fn standbys_do_not_count_in_the_share_of_the_first_tier() {
    for (first, expected) in [(6, 3), (3, 0)] {
        let servers = Servers::answering(2 * first, 10 * MS);
        (0..first).for_each(|server| servers.set(server, Behaviour::Fails(10 * MS)));
        let (registry, layer) = named(&servers, only_ejection(64));
        layer.handle().set_endpoints(in_two_tiers(&servers, first)).unwrap();
        let calls = load(servers.service(&layer), 200 * first as u32, 5 * SECOND);
        let (most, _) = most_ejected(&registry, 0..first, calls).await;
        assert_eq!((most, ejected(&registry).len()), (expected, expected), "of {first}");
    }
}

/// The overflow goes to a remote tier, where all calls take longer.
#[tokio::test(start_paused = true)]
async fn remote_standby_is_not_ejected_for_its_distance() {
    let servers = Servers::answering(6, 10 * MS);
    (3..6).for_each(|server| servers.set(server, Behaviour::Answers(200 * MS)));
    let (registry, layer) = named(&servers, only_ejection(10));
    layer.handle().set_endpoints(in_two_tiers(&servers, 3)).unwrap();
    let calls = load(servers.service(&layer), 3140, 4 * SECOND);
    let (most, _) = most_ejected(&registry, 0..6, calls).await;
    let calls = servers.calls();
    assert!(calls[3..].iter().all(|calls| *calls > 100), "enough to be judged: {calls:?}");
    assert_eq!(most, 0, "{calls:?}");
}

/// An endpoint becomes a standby by hand, and the tier that it leaves is too small for an ejection.
#[tokio::test(start_paused = true)]
async fn last_endpoint_of_a_tier_is_brought_back() {
    let servers = Servers::answering(5, 10 * MS);
    servers.set(0, Behaviour::Fails(10 * MS));
    let (registry, layer) = named(&servers, only_ejection(4));
    let (handle, service) = (layer.handle(), servers.service(&layer));
    load(DeadlineLayer::new(50 * MS).unwrap().layer(service), 1900, 2500 * MS).await;
    assert_eq!(ejected(&registry), [0]);
    for standby in 1..4 {
        assert!(handle.set_mode(&standby.to_string(), seawall::balance::EndpointMode::Standby));
        assert_eq!(ejected(&registry), [0], "{standby}");
    }
    assert!(handle.set_mode("4", seawall::balance::EndpointMode::Standby));
    assert_eq!(ejected(&registry), [0; 0], "it is alone");
}

/// Calls take most of the permits, so that the bad endpoint gets some although it is the worst choice.
#[tokio::test(start_paused = true)]
async fn calls_at_an_ejected_endpoint_are_delivered() {
    let servers = Servers::answering(6, 10 * MS);
    servers.set(0, Behaviour::Answers(60 * SECOND));
    let (registry, layer) = named(&servers, only_ejection(4));
    let service = servers.service(&layer);
    let mut long = Vec::new();
    while servers.running()[0] < 2 {
        long.push(tokio::spawn(service.clone().oneshot(0)));
        settle().await;
    }
    servers.set(0, Behaviour::Fails(10 * MS));
    load(DeadlineLayer::new(50 * MS).unwrap().layer(service), 2200, 2500 * MS).await;
    assert_eq!((ejected(&registry), servers.running()[0]), (vec![0], 2), "{:?}", servers.calls());
    assert_eq!(layer.handle().in_flight_at("0"), Some(2));
    let mut answers = Vec::new();
    for call in long {
        answers.push(call.await.unwrap().unwrap());
    }
    assert_eq!(answers.iter().filter(|answer| **answer == 0).count(), 2);
    assert_eq!((ejected(&registry), servers.running()[0]), (vec![0], 0));
}

/// It answers all calls, and takes ten times as long as the others.
#[tokio::test(start_paused = true)]
async fn slow_endpoint_is_ejected() {
    let servers = Servers::answering(5, 10 * MS);
    servers.set(3, Behaviour::Answers(100 * MS));
    let (registry, layer) = named(&servers, only_ejection(4));
    let service = servers.service(&layer);
    let results = load(service.clone(), 1630, 4 * SECOND).await;
    assert!(results.iter().all(|(.., result)| result.is_ok()), "no call fails");
    assert_eq!(ejected(&registry), [3], "{:?}", servers.calls());
    let before = servers.calls()[3];
    load(service, 500, SECOND).await;
    assert_eq!(servers.calls()[3], before);
}

/// Ten endpoints at 2000 calls a second, of which each fails three calls in ten: what differs is chance.
#[tokio::test(start_paused = true)]
async fn set_that_fails_alike_keeps_its_endpoints_and_its_retry_budget() {
    let servers = Servers::new([Behaviour::FailsAtTimes(5 * MS, 0.3); 10]);
    let mut config = BalanceConfig::default();
    config.ejection.interval = SECOND;
    let (registry, layer) = named(&servers, config);
    let budget = BudgetConfig::default();
    let retry = RetryLayer::new(RetryConfig { budget: budget.clone(), ..RetryConfig::default() }).unwrap();
    let (calls, time) = (20_000, 10 * SECOND);
    let calls_made = load(retry.layer(servers.service(&layer)), 2000, time);
    let (most, results) = most_ejected(&registry, 0..10, calls_made).await;
    assert_eq!(results.len(), calls);
    assert!(most <= 5, "{most} of 10 are ejected");
    let attempts = servers.calls();
    let reserve = f64::from(budget.reserve_burst) + budget.reserve_per_second * time.as_secs_f64();
    let all: usize = attempts.iter().sum();
    assert!(all > calls, "there are retries");
    assert!(all as f64 <= 1.1 * calls as f64 + reserve, "{all} attempts of {calls} calls");
    assert!(attempts.iter().filter(|calls| **calls > all / 20).count() >= 5, "{attempts:?}");
}

/// Load leaves no choice: the bad one of four endpoints fails sooner than the others answer, so that it has free permits when they have none.
#[tokio::test(start_paused = true)]
async fn one_of_four_that_fails_most_calls_is_ejected_under_load() {
    seawall::seed(1);
    let servers = Servers::answering(4, 50 * MS);
    servers.set(0, Behaviour::FailsAtTimes(5 * MS, 0.7));
    let registry = seawall::registry::Registry::new();
    let mut config = BalanceConfig { max_concurrent: 4, ..BalanceConfig::default() };
    config.circuit_breaker.enabled = false;
    let layer = servers.layer(config).named_in(&registry, "payments").unwrap();
    let service = servers.service(&layer);
    load(service.clone(), 300, 11 * SECOND).await;
    assert_eq!(ejected(&registry), [0], "{:?}", servers.calls());
    let failed = load(service, 200, 5 * SECOND).await.iter().filter(|(.., result)| result.is_err()).count();
    assert!(failed <= 10, "{failed} of 1000 calls failed");
}
