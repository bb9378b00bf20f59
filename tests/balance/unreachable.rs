//! Endpoints that refuse connections for a moment: the balancer must not be worse than a client without it.

use seawall::deadline::DeadlineLayer;
use seawall::verdict::{self, Verdict};
use tower::Layer;

use super::*;

pub(super) fn refused_is_unsent(result: Result<&usize, &BoxError>) -> Verdict {
    match result {
        Ok(_) => Verdict::Success,
        Err(error) if error.to_string() == "out of order" => Verdict::Unsent,
        Err(error) => verdict::of_error(error),
    }
}

/// A classifier of the tests.
type Classifier = fn(Result<&usize, &BoxError>) -> Verdict;

pub(super) fn service(
    servers: &Servers,
    config: BalanceConfig,
) -> (BalanceLayer<verdict::FromFn<Classifier>>, Balance<Client, verdict::FromFn<Classifier>>) {
    let layer = BalanceLayer::new(config).unwrap();
    let layer = layer.with_classifier(verdict::from_fn(refused_is_unsent as Classifier));
    let layer = layer.with_endpoints(servers.endpoints()).unwrap();
    let clients = servers.clone();
    let service = layer.service(move |endpoint| clients.client(endpoint));
    (layer, service)
}

fn set_all(servers: &Servers, behaviour: Behaviour) {
    (0..servers.0.len()).for_each(|server| servers.set(server, behaviour));
}

/// All calls that begin while connections are refused get the client's own error, as without a balancer, and all later ones an answer.
async fn restart_of_all(number: usize, down: Duration, per_second: u32) {
    let servers = Servers::answering(number, 10 * MS);
    let (_, service) = service(&servers, BalanceConfig::default());
    assert!(load(service.clone(), per_second, 2 * SECOND).await.iter().all(|(_, _, result)| result.is_ok()));
    set_all(&servers, Behaviour::Fails(MS));
    for (_, _, result) in load(service.clone(), per_second, down).await {
        assert_eq!(result.unwrap_err().to_string(), "out of order");
    }
    set_all(&servers, Behaviour::Answers(10 * MS));
    let results = load(service, per_second, 5 * SECOND).await;
    let failed = results.iter().filter(|(_, _, result)| result.is_err()).count();
    assert_eq!(failed, 0, "of {} calls after {down:?}", results.len());
    assert!(servers.calls().iter().all(|calls| *calls > 0));
}

#[tokio::test(start_paused = true)]
async fn only_endpoint_that_refuses_connections_is_used() {
    for down in [200 * MS, SECOND, 3 * SECOND, 60 * SECOND] {
        seawall::seed(1);
        restart_of_all(1, down, 100).await;
    }
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_all_refuse_connections_are_used() {
    for (number, down) in [(2, 500 * MS), (5, 300 * MS), (5, 10 * SECOND)] {
        seawall::seed(1);
        restart_of_all(number, down, 600).await;
    }
}

/// The last tier is left, and refuses connections, too.
#[tokio::test(start_paused = true)]
async fn tiers_that_refuse_connections_are_used() {
    for seed in 1..=4 {
        seawall::seed(seed);
        restart_of_one_of_two_tiers().await;
    }
}

async fn restart_of_one_of_two_tiers() {
    let servers = Servers::answering(4, 10 * MS);
    let (layer, service) = service(&servers, BalanceConfig::default());
    let tiers = servers.endpoints().into_iter().zip([0, 0, 1, 1]).map(|(endpoint, tier)| endpoint.with_tier(tier));
    layer.handle().set_endpoints(tiers).unwrap();
    assert!(load(service.clone(), 200, 2 * SECOND).await.iter().all(|(_, _, result)| result.is_ok()));
    set_all(&servers, Behaviour::Fails(MS));
    for (_, _, result) in load(service.clone(), 200, 2 * SECOND).await {
        assert_eq!(result.unwrap_err().to_string(), "out of order");
    }
    servers.set(2, Behaviour::Answers(10 * MS));
    let results = load(service, 200, 5 * SECOND).await;
    // Only one is back. A call that meets another one first ends as it would without a balancer, until the one that is back has answered.
    let late = results.iter().filter(|(begun, _, result)| *begun > SECOND && result.is_err()).count();
    assert!(late <= 20, "{late} of {} calls", results.len());
}

/// The only endpoint begins to swallow calls while they go there for want of another one. They must not hang one after the other.
#[tokio::test(start_paused = true)]
async fn unreachable_endpoint_that_begins_to_hang_is_refused() {
    seawall::seed(1);
    let servers = Servers::answering(1, 10 * MS);
    let (_, service) = service(&servers, BalanceConfig { max_concurrent: 10, ..Default::default() });
    let service = DeadlineLayer::new(2 * SECOND).unwrap().layer(service);
    load(service.clone(), 50, 2 * SECOND).await;
    servers.set(0, Behaviour::Fails(MS));
    load(service.clone(), 50, SECOND).await;
    servers.set(0, Behaviour::Hangs);
    let before = servers.calls()[0];
    let results = load(service.clone(), 50, 20 * SECOND).await;
    let hung = servers.calls()[0] - before;
    assert!((1..=60).contains(&hung), "{hung} of {} calls hang", results.len());
    servers.set(0, Behaviour::Answers(10 * MS));
    let results = load(service, 50, 60 * SECOND).await;
    assert!(results.iter().filter(|(begun, _, _)| *begun > 40 * SECOND).all(|(_, _, result)| result.is_ok()));
}
