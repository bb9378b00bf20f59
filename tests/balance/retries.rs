//! A retry goes to an endpoint that the call has not tried.

use seawall::retry::{Backoff, BudgetConfig, RetryConfig, RetryLayer, report};
use tower::Layer;

use super::*;

fn retry(max_attempts: u32) -> RetryLayer {
    // Enough for a third of the calls.
    let budget = BudgetConfig { ratio: 0.5, ..BudgetConfig::default() };
    let config = RetryConfig { max_attempts, backoff: Backoff::constant(MS), budget, ..RetryConfig::default() };
    RetryLayer::new(config).unwrap()
}

/// Half of the endpoints fail, which opens no breaker: each call is tried at most once at each endpoint.
#[tokio::test(start_paused = true)]
async fn retry_goes_to_another_endpoint() {
    seawall::seed(1);
    for _ in 0..50 {
        let servers = Servers::answering(4, MS);
        [0, 1, 2].into_iter().for_each(|server| servers.set(server, Behaviour::Fails(MS)));
        let service = retry(4).layer(servers.service(&servers.layer(BalanceConfig::default())));
        let (result, report) = report(service.oneshot(0)).await;
        let report = report.unwrap();
        let attempts = report.attempts;
        assert_eq!(result.unwrap(), 3);
        let calls = servers.calls();
        assert_eq!(report.endpoints.len(), attempts as usize);
        assert_eq!(report.endpoints.last().map(|key| &**key), Some("3"), "the one that answered");
        let tried = |server: usize| report.endpoints.iter().filter(|key| ***key == *server.to_string()).count();
        assert!((0..4).all(|server| tried(server) == calls[server]), "{:?} {calls:?}", report.endpoints);
        assert!(calls.iter().all(|calls| *calls <= 1), "{calls:?}");
        assert_eq!(calls.iter().sum::<usize>(), attempts as usize);
    }
}

#[tokio::test(start_paused = true)]
async fn retry_goes_back_if_there_is_no_other_endpoint() {
    let servers = Servers::new([Behaviour::Fails(MS)]);
    let service = retry(3).layer(servers.service(&servers.layer(BalanceConfig::default())));
    assert!(service.oneshot(0).await.is_err());
    assert_eq!(servers.calls(), [3]);
}

/// Calls of other tasks, in between, do not change the list of a call.
#[tokio::test(start_paused = true)]
async fn concurrent_calls_have_their_own_lists() {
    seawall::seed(3);
    let servers = Servers::answering(3, 2 * MS);
    servers.set(0, Behaviour::Fails(MS));
    let mut config = BalanceConfig::default();
    config.circuit_breaker.enabled = false;
    let service = retry(2).layer(servers.service(&servers.layer(config)));
    let calls: Vec<_> = (0..60).map(|_| tokio::spawn(service.clone().oneshot(0))).collect();
    for call in calls {
        call.await.unwrap().expect("the second attempt is at a good endpoint");
    }
}

/// A report is requested for as many calls as its future makes, and stays bounded.
#[tokio::test(start_paused = true)]
async fn report_of_endless_calls_lists_few_endpoints() {
    let servers = Servers::answering(1, MS);
    let service = retry(3).layer(servers.service(&servers.layer(BalanceConfig::default())));
    let ((), report) = report(async {
        for _ in 0..100 {
            service.clone().oneshot(0).await.unwrap();
        }
    })
    .await;
    assert_eq!(report.unwrap().endpoints.len(), 64);
}

/// The bad endpoint of the first tier always has free permits. Back there, a retry would fail again, with a standby idle.
#[tokio::test(start_paused = true)]
async fn retry_goes_to_a_standby_before_it_goes_back() {
    let servers = Servers::new([Behaviour::Fails(MS), Behaviour::Answers(SECOND)]);
    let layer = servers.layer(BalanceConfig { max_concurrent: 1, ..Default::default() });
    let tiers = servers.endpoints().into_iter().zip([0, 1]).map(|(endpoint, tier)| endpoint.with_tier(tier));
    layer.handle().set_endpoints(tiers).unwrap();
    let service = retry(2).layer(servers.service(&layer));
    let first = tokio::spawn(service.clone().oneshot(0));
    sleep(10 * MS).await;
    assert_eq!(servers.running(), [0, 1]);
    assert!(service.oneshot(0).await.is_err(), "the standby is full");
    assert_eq!(first.await.unwrap().unwrap(), 1);
    assert_eq!(servers.calls(), [3, 1]);
}
