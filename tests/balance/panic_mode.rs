//! Panic mode: with too few healthy endpoints in a tier, ejections do not count there, neither for new calls nor for waiting ones.

use seawall::balance::{BalanceHandle, EndpointMode};
use seawall::deadline::DeadlineLayer;
use seawall::registry::{Condition, Registry};
use tokio::task::JoinHandle;
use tower::Layer;

use super::*;

type Pending = JoinHandle<Result<usize, BoxError>>;

/// Six endpoints for four calls each, of which the first is ejected for a long time and works again.
async fn first_of_six_is_ejected() -> (Servers, BalanceHandle, Balance<Client>) {
    seawall::seed(2);
    let servers = Servers::answering(6, 10 * MS);
    let mut config = BalanceConfig { max_concurrent: 4, ..Default::default() };
    config.circuit_breaker.enabled = false;
    config.ejection.interval = 2 * SECOND;
    config.ejection.base_time = 1000 * SECOND;
    config.ejection.max_time = 1000 * SECOND;
    let registry = Registry::new();
    let layer = servers.layer(config).named_in(&registry, "payments").unwrap();
    let service = servers.service(&layer);
    servers.set(0, Behaviour::Fails(10 * MS));
    load(DeadlineLayer::new(50 * MS).unwrap().layer(service.clone()), 2200, 2500 * MS).await;
    let Condition::Balance(condition) = &registry.snapshot().components[0].condition else { panic!("a balancer") };
    assert!(condition.ejected == 1 && condition.listed[0].ejected, "{:?}", servers.calls());
    servers.set(0, Behaviour::Answers(10 * MS));
    (servers, layer.handle(), service)
}

/// Takes all permits of the endpoints that are not ejected, for good.
async fn fill(servers: &Servers, service: &Balance<Client>, endpoints: std::ops::Range<usize>) -> Vec<Pending> {
    endpoints.clone().for_each(|server| servers.set(server, Behaviour::Hangs));
    start(service, 4 * endpoints.len()).await
}

async fn start(service: &Balance<Client>, number: usize) -> Vec<Pending> {
    let calls = (0..number).map(|_| tokio::spawn(service.clone().oneshot(0))).collect();
    settle().await;
    calls
}

#[tokio::test(start_paused = true)]
async fn waiting_calls_get_ejected_endpoints_in_a_panic() {
    let (servers, handle, service) = first_of_six_is_ejected().await;
    for isolated in ["1", "2"] {
        assert!(handle.set_mode(isolated, EndpointMode::Isolated));
    }
    let running = fill(&servers, &service, 3..6).await;
    let waiting = start(&service, 10).await;
    assert_eq!((servers.running(), handle.waiting()), (vec![0, 0, 0, 4, 4, 4], 10), "half of the tier is healthy");
    // It begins while calls wait: two of six are healthy.
    assert!(handle.set_mode("3", EndpointMode::Isolated));
    settle().await;
    assert_eq!((servers.running()[0], handle.waiting()), (4, 6));
    // This one joins the queue.
    let late = start(&service, 1).await;
    for call in waiting.into_iter().chain(late) {
        assert_eq!(call.await.unwrap().unwrap(), 0, "a released permit goes to a waiting call, too");
    }
    // It ends while calls wait.
    servers.set(0, Behaviour::Hangs);
    let more = start(&service, 5).await;
    assert_eq!((servers.running()[0], handle.waiting()), (4, 1));
    assert!(handle.set_mode("3", EndpointMode::Serving));
    let before = servers.calls()[0];
    more.iter().take(4).for_each(|call| call.abort());
    settle().await;
    assert_eq!((servers.running()[0], servers.calls()[0], handle.waiting()), (0, before, 1));
    running.into_iter().chain(more).for_each(|call| call.abort());
    settle().await;
    assert_eq!((handle.in_flight(), handle.waiting()), (0, 0));
}

/// The first tier is down and panics. The second one has enough healthy endpoints, so its ejected one stays without calls.
#[tokio::test(start_paused = true)]
async fn panic_of_another_tier_keeps_ejected_endpoints_idle() {
    let (servers, handle, service) = first_of_six_is_ejected().await;
    let tiers = servers.endpoints().into_iter().zip([1, 1, 1, 1, 1, 0]);
    handle.set_endpoints(tiers.map(|(endpoint, tier)| endpoint.with_tier(tier))).unwrap();
    for isolated in ["1", "5"] {
        assert!(handle.set_mode(isolated, EndpointMode::Isolated));
    }
    let running = fill(&servers, &service, 2..5).await;
    let waiting = start(&service, 3).await;
    assert_eq!((servers.running(), handle.waiting()), (vec![0, 0, 4, 4, 4, 0], 3));
    running.into_iter().chain(waiting).for_each(|call| call.abort());
}
