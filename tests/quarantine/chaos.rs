//! Poisoned requests while connections break for other reasons: faults that are injected between the balancer and the endpoints.

use seawall::chaos::{ChaosConfig, ChaosFault, ChaosLayer, ChaosRule};

use super::*;

const PATHS: &[Path] = &["a", "b", "c", "d", "e", "f"];
const POISONS: [Path; 4] = ["poison 1", "poison 2", "poison 3", "poison 4"];

/// Five endpoints at 600 calls a second, of which a share is lost on the way. Every ten seconds a poisoned request appears, which its
/// caller sends six times, a second apart. Returns how many instances were killed and how many requests of other paths were refused.
async fn killed(replay: CloneRequest, lost: f64, seed: u64) -> (usize, usize) {
    seawall::seed(seed);
    let servers = Servers::new(5, 10 * MS);
    let chaos = ChaosConfig {
        enabled: true,
        rules: vec![ChaosRule { share: lost, ..ChaosRule::new(ChaosFault::Drop) }],
        max_active: 1000,
        ..ChaosConfig::default()
    };
    let chaos = ChaosLayer::new(chaos).unwrap();
    let mut config = BalanceConfig::default();
    config.circuit_breaker.enabled = false;
    config.ejection.enabled = false;
    let endpoints = (0..5).map(|server: usize| Endpoint::new(server.to_string()));
    let balance = BalanceLayer::new(config).unwrap().with_classifier(judge()).with_endpoints(endpoints).unwrap();
    let clients = servers.clone();
    let balance = balance.service(move |endpoint| {
        chaos.layer(Client { servers: clients.clone(), number: endpoint.address().parse().unwrap() })
    });
    let service = retry(replay).layer(layer(QuarantineConfig::default()).layer(balance));
    let others = tokio::spawn(traffic(service.clone(), PATHS, 10 * MS, 40 * SECOND));
    for poison in POISONS {
        sleep(2 * SECOND).await;
        for _ in 0..6 {
            assert!(service.clone().oneshot(poison).await.is_err());
            sleep(SECOND).await;
        }
        sleep(2 * SECOND).await;
    }
    let refused = others.await.unwrap().values().map(|[_, refused, _]| refused).sum();
    (servers.crashes().1, refused)
}

#[tokio::test(start_paused = true)]
async fn poison_beside_lost_connections_kills_two() {
    for (replay, lost) in
        [(CloneRequest::idempotent(), 0.0), (CloneRequest::idempotent(), 0.06), (CloneRequest::new(), 0.06)]
    {
        let (crashes, refused) = killed(replay, lost, 1).await;
        // A call that is in flight beside a suspect that kills may share the blame.
        let most = 2 * POISONS.len() + if lost > 0.0 { 2 } else { 0 };
        assert!(crashes <= most, "{crashes} kills by {} requests, {lost} lost", POISONS.len());
        assert!(refused <= 60, "{refused} of 24,000 refused by mistake");
    }
}
