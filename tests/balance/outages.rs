//! Outages of several endpoints, and what brings back those that were out.

use seawall::balance::BalanceHandle;
use seawall::circuit_breaker::State;
use seawall::hedge::{HedgeConfig, HedgeDelay, HedgeLayer};
use seawall::registry::{BalanceCondition, Condition, Registry};
use tower::Layer;

use super::*;

fn condition(registry: &Registry) -> BalanceCondition {
    match registry.snapshot().of("payments").next().unwrap().condition.clone() {
        Condition::Balance(condition) => condition,
        other => panic!("{other:?}"),
    }
}

/// Only ejections protect the callers: no breaker, and so little capacity that the choice cannot avoid an endpoint.
fn only_ejections() -> BalanceConfig {
    let mut config = BalanceConfig { max_concurrent: 4, ..BalanceConfig::default() };
    config.circuit_breaker.enabled = false;
    config.ejection.interval = 2 * SECOND;
    config.ejection.base_time = 600 * SECOND;
    config.ejection.max_time = 600 * SECOND;
    config
}

/// Half of the endpoints fail all of their calls. They are the more usual ones, and no reason to keep them.
#[tokio::test(start_paused = true)]
async fn half_of_the_endpoints_that_always_fail_are_ejected() {
    seawall::seed(1);
    let servers = Servers::answering(6, 10 * MS);
    (0..3).for_each(|server| servers.set(server, Behaviour::Fails(10 * MS)));
    let registry = Registry::new();
    let layer = servers.layer(only_ejections()).named_in(&registry, "payments").unwrap();
    let service = servers.service(&layer);
    load(service.clone(), 2200, 3 * SECOND).await;
    let ejected: Vec<_> = condition(&registry).listed.iter().map(|endpoint| endpoint.ejected).collect();
    assert_eq!(ejected, [true, true, true, false, false, false], "{:?}", servers.calls());
    let results = load(service, 300, SECOND).await;
    assert!(results.iter().all(|(.., result)| result.is_ok()));
}

/// A reload that switches ejections off brings back at once what they have taken out.
#[tokio::test(start_paused = true)]
async fn ejections_end_when_they_are_switched_off() {
    seawall::seed(2);
    let servers = Servers::answering(6, 10 * MS);
    servers.set(0, Behaviour::Fails(10 * MS));
    let registry = Registry::new();
    let layer = servers.layer(only_ejections()).named_in(&registry, "payments").unwrap();
    let service = servers.service(&layer);
    load(service.clone(), 2200, 3 * SECOND).await;
    assert_eq!(condition(&registry).ejected, 1);
    servers.set(0, Behaviour::Answers(10 * MS));
    let mut config = layer.config();
    config.ejection.enabled = false;
    layer.reload(&config).unwrap();
    assert_eq!(condition(&registry).ejected, 0);
    // The choice tries it again once what it knows of its failures is stale.
    let before = servers.calls()[0];
    load(service, 300, 20 * SECOND).await;
    assert!(servers.calls()[0] > before + 500, "{:?}", servers.calls());
}

fn in_tiers(handle: &BalanceHandle, servers: &Servers, first: usize) {
    let tiers = servers.endpoints().into_iter().enumerate();
    handle.set_endpoints(tiers.map(|(n, endpoint)| endpoint.with_tier(u8::from(n >= first)))).unwrap();
}

/// All endpoints of the first tier fail at one moment. Without retries this costs the calls that their breakers need as evidence, and
/// probes; the standbys carry the rest.
#[tokio::test(start_paused = true)]
async fn tier_that_fails_at_once_costs_few_calls() {
    seawall::seed(1);
    let servers = Servers::answering(6, 5 * MS);
    let layer = servers.layer(BalanceConfig::default());
    let service = servers.service(&layer);
    in_tiers(&layer.handle(), &servers, 3);
    let outage = async {
        sleep(2 * SECOND).await;
        (0..3).for_each(|server| servers.set(server, Behaviour::Fails(MS)));
    };
    let (results, ()) = tokio::join!(load(service, 1000, 12 * SECOND), outage);
    let failed = |from: Duration| results.iter().filter(|(begun, _, r)| *begun >= from && r.is_err()).count();
    assert!(failed(Duration::ZERO) <= 400, "{} of 12000 calls", failed(Duration::ZERO));
    assert!(failed(4 * SECOND) <= 150, "{} of 8000 calls are probes", failed(4 * SECOND));
}

/// The first tier was down, and comes back cold. The standbys are there, and hand its calls back slowly.
#[tokio::test(start_paused = true)]
async fn tier_that_comes_back_gets_its_calls_slowly() {
    seawall::seed(1);
    let servers = Servers::answering(4, 10 * MS);
    let registry = Registry::new();
    let layer = servers.layer(BalanceConfig::default()).named_in(&registry, "payments").unwrap();
    let service = servers.service(&layer);
    in_tiers(&layer.handle(), &servers, 2);
    load(service.clone(), 300, SECOND).await;
    assert_eq!(servers.calls()[2..], [0, 0], "a start is no return");
    (0..2).for_each(|server| servers.set(server, Behaviour::Fails(MS)));
    load(service.clone(), 300, 3 * SECOND).await;
    (0..2).for_each(|server| servers.set(server, Behaviour::Answers(10 * MS)));
    while condition(&registry).listed.iter().any(|endpoint| endpoint.breaker != State::Closed) {
        load(service.clone(), 100, SECOND / 10).await;
    }
    let standbys = |calls: Vec<usize>| calls[2] + calls[3];
    let before = standbys(servers.calls());
    load(service.clone(), 300, SECOND).await;
    let calls = standbys(servers.calls()) - before;
    assert!(calls > 100, "{calls} of 300 calls of the first second");
    load(service.clone(), 300, 15 * SECOND).await;
    let before = standbys(servers.calls());
    load(service, 300, SECOND).await;
    assert_eq!(standbys(servers.calls()), before, "warm again");
}

/// A hedge would cancel each probe of an endpoint that is slower than it, and a cancelled probe proves nothing. So probes are not hedged: while
/// the breaker is half-open, the endpoint counts as unhealthy, and standbys carry its share.
#[tokio::test(start_paused = true)]
async fn endpoint_whose_probes_lose_against_hedges_comes_back() {
    seawall::seed(1);
    let servers = Servers::answering(3, 8 * MS);
    let registry = Registry::new();
    let layer = servers.layer(breakers::opens_at_once()).named_in(&registry, "payments").unwrap();
    let config = HedgeConfig { delay: HedgeDelay::Fixed(10 * MS), ..HedgeConfig::default() };
    let service = HedgeLayer::new(config).unwrap().layer(servers.service(&layer));
    servers.set(0, Behaviour::Fails(MS));
    load(service.clone(), 100, SECOND).await;
    assert_eq!(condition(&registry).listed[0].breaker, State::Open);
    // Without hedges it takes a minute.
    servers.set(0, Behaviour::Answers(30 * MS));
    load(service, 100, 300 * SECOND).await;
    assert_eq!(condition(&registry).listed[0].breaker, State::Closed, "{:?}", servers.calls());
}
