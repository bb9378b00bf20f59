use seawall::chaos::{ChaosConfig, ChaosFault, ChaosLayer, ChaosRule};

use super::*;

/// All answers are lost for twenty seconds. The drill ends by itself, and so does what it has caused.
#[tokio::test(start_paused = true)]
async fn endpoints_come_back_after_a_drill() {
    seawall::seed(1);
    let servers = Servers::answering(3, 10 * MS);
    let (registry, layer) = servers.named(BalanceConfig::default());
    let rules = vec![ChaosRule::new(ChaosFault::Drop)];
    let config = ChaosConfig { enabled: true, rules, lasts: Some(20 * SECOND), ..ChaosConfig::default() };
    let chaos = ChaosLayer::new(config).unwrap();
    let handle = chaos.handle();
    let own = servers.clone();
    let service = layer.service(move |endpoint| chaos.layer(own.client(endpoint)));
    let results = load(service, 50, 60 * SECOND).await;
    let failed = |from: Duration, to: Duration| {
        let during = results.iter().filter(|(begun, ..)| (from..to).contains(begun));
        during.filter(|(.., result)| result.is_err()).count()
    };
    assert!(failed(Duration::ZERO, 20 * SECOND) > 990, "no answer arrives");
    assert_eq!(failed(50 * SECOND, 60 * SECOND), 0, "{:?}", condition(&registry));
    assert_eq!((handle.is_on(), handle.active()), (false, 0));
}
