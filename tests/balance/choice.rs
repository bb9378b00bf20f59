//! Which endpoint gets calls.

use seawall::rate_limit::{RateLimitConfig, RateLimitLayer};
use seawall::registry::{Condition, Registry};
use seawall::verdict::{self, Verdict};
use tower::Layer;

use super::*;

fn share_of_successes(results: &[(Duration, Duration, Result<usize, BoxError>)]) -> f64 {
    let after: Vec<_> = results.iter().filter(|(begun, ..)| *begun >= SECOND).collect();
    after.iter().filter(|(.., result)| result.is_ok()).count() as f64 / after.len() as f64
}

/// Ten endpoints at 2000 calls a second, of which one fails after half a millisecond. Random choice: 0.90.
#[tokio::test(start_paused = true)]
async fn fast_failing_endpoint_attracts_no_traffic() {
    seawall::seed(1);
    let servers = Servers::answering(10, 10 * MS);
    servers.set(3, Behaviour::Fails(MS / 2));
    let results = load(servers.service(&servers.layer(BalanceConfig::default())), 2000, 3 * SECOND).await;
    let share = share_of_successes(&results);
    assert!(share >= 0.98, "{share}, {:?}", servers.calls());
}

/// The same without a breaker's help: it fails half of its calls, which opens no breaker.
#[tokio::test(start_paused = true)]
async fn endpoint_that_fails_half_of_its_calls_gets_few() {
    seawall::seed(1);
    let servers = Servers::answering(10, 10 * MS);
    let flapping = servers.clone();
    tokio::spawn(async move {
        for behaviour in [Behaviour::Fails(MS / 2), Behaviour::Answers(10 * MS)].into_iter().cycle() {
            flapping.set(3, behaviour);
            sleep(MS).await;
        }
    });
    let results = load(servers.service(&servers.layer(BalanceConfig::default())), 2000, 3 * SECOND).await;
    let (share, calls) = (share_of_successes(&results), servers.calls());
    assert!(share >= 0.98 && calls[3] < calls[0] / 4, "{share}, {calls:?}");
}

/// One of ten takes 20 times as long: the p99 is within 1.5 times that of the nine good ones.
#[tokio::test(start_paused = true)]
async fn slow_endpoint_does_not_raise_the_p99() {
    seawall::seed(2);
    let servers = Servers::answering(10, 10 * MS);
    servers.set(7, Behaviour::Answers(200 * MS));
    let results = load(servers.service(&servers.layer(BalanceConfig::default())), 2000, 4 * SECOND).await;
    let mut took: Vec<_> = results.iter().filter(|(begun, ..)| *begun >= SECOND).map(|(_, took, _)| *took).collect();
    took.sort_unstable();
    let p99 = took[took.len() * 99 / 100];
    assert!(p99 <= 15 * MS, "{p99:?}, {:?}", servers.calls());
}

#[tokio::test(start_paused = true)]
async fn calls_follow_the_weights() {
    seawall::seed(3);
    let servers = Servers::answering(3, MS);
    let layer = servers.layer(BalanceConfig::default());
    let weighed =
        servers.endpoints().into_iter().zip([1.0, 2.0, 5.0]).map(|(endpoint, weight)| endpoint.with_weight(weight));
    layer.handle().set_endpoints(weighed).unwrap();
    let service = servers.service(&layer);
    for _ in 0..8000 {
        call(&service).await.unwrap();
    }
    for (calls, expected) in servers.calls().into_iter().zip([1000, 2000, 5000]) {
        assert!(calls.abs_diff(expected) < 200, "{:?}", servers.calls());
    }
}

#[tokio::test(start_paused = true)]
async fn standby_gets_calls_only_when_the_first_tier_is_full_or_down() {
    seawall::seed(5);
    let servers = Servers::answering(3, 10 * MS);
    let config = BalanceConfig { max_concurrent: 2, ..Default::default() };
    let layer = servers.layer(config);
    let tiers = servers.endpoints().into_iter().zip([0, 0, 1]).map(|(endpoint, tier)| endpoint.with_tier(tier));
    layer.handle().set_endpoints(tiers).unwrap();
    let service = servers.service(&layer);
    for _ in 0..100 {
        call(&service).await.unwrap();
    }
    assert_eq!(servers.calls()[2], 0, "there are free permits");
    let calls: Vec<_> = (0..6).map(|_| tokio::spawn(service.clone().oneshot(0))).collect();
    settle().await;
    assert_eq!(servers.running(), [2, 2, 2], "the overflow");
    for call in calls {
        call.await.unwrap().unwrap();
    }
    [0, 1].into_iter().for_each(|server| servers.set(server, Behaviour::Fails(MS)));
    for _ in 0..100 {
        let _ = call(&service).await;
    }
    assert_eq!(call(&service).await.unwrap(), 2, "both breakers of the first tier are open");
}

/// The client of an endpoint refuses at once, by a limit of its own. It is idle, and no better for that.
#[tokio::test(start_paused = true)]
async fn endpoint_whose_client_refuses_attracts_no_traffic() {
    seawall::seed(1);
    let servers = Servers::answering(4, 100 * MS);
    let clients = servers.clone();
    let service = servers.layer(BalanceConfig::default()).service(move |endpoint| {
        let permits = if endpoint.address() == "0" { 1 } else { 100_000 };
        let limit = RateLimitConfig { permits, per: SECOND, max_wait: Duration::ZERO, ..RateLimitConfig::default() };
        RateLimitLayer::new(limit).unwrap().layer(clients.client(endpoint))
    });
    let results = load(service, 200, 20 * SECOND).await;
    let refused = results.iter().filter(|(begun, _, result)| *begun > SECOND && result.is_err()).count();
    assert!(refused < 200, "{refused} of 3800 calls");
}

/// A classifier that takes an answer for the caller's own mistake, which proves nothing. All such calls go to one endpoint by chance.
#[tokio::test(start_paused = true)]
async fn endpoint_whose_answers_prove_nothing_loses_no_traffic() {
    fn classify(result: Result<&usize, &BoxError>) -> Verdict {
        match result {
            Ok(0) => Verdict::Ignored,
            Ok(_) => Verdict::Success,
            Err(_) => Verdict::Ignored,
        }
    }
    for behaviour in [Behaviour::Answers(10 * MS), Behaviour::Fails(10 * MS)] {
        seawall::seed(1);
        let servers = Servers::answering(4, 10 * MS);
        servers.set(0, behaviour);
        let layer = BalanceLayer::new(BalanceConfig::default()).unwrap().with_classifier(verdict::from_fn(classify));
        let layer = layer.with_endpoints(servers.endpoints()).unwrap();
        let clients = servers.clone();
        let results = load(layer.service(move |endpoint| clients.client(endpoint)), 200, 20 * SECOND).await;
        let share = servers.calls()[0] as f64 / results.len() as f64;
        assert!((0.2..0.3).contains(&share), "{behaviour:?}: {share} of the calls");
    }
}

/// Failures of an outage that is long over eject nobody.
#[tokio::test(start_paused = true)]
async fn counts_from_before_a_pause_of_the_traffic_are_forgotten() {
    seawall::seed(1);
    let servers = Servers::answering(6, 10 * MS);
    let registry = Registry::new();
    let mut config = BalanceConfig { max_concurrent: 4, ..BalanceConfig::default() };
    config.circuit_breaker.enabled = false;
    let service = servers.service(&servers.layer(config).named_in(&registry, "search").unwrap());
    load(service.clone(), 10, SECOND).await;
    servers.set(0, Behaviour::Fails(10 * MS));
    load(service.clone(), 2200, 3 * SECOND).await;
    servers.set(0, Behaviour::Answers(10 * MS));
    sleep(3600 * SECOND).await;
    load(service.clone(), 10, SECOND).await;
    let Condition::Balance(condition) = registry.snapshot().of("search").next().unwrap().condition.clone() else {
        panic!("it is a balancer")
    };
    assert_eq!(condition.ejected, 0);
}
