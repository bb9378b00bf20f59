use super::*;

/// The share of calls without a quorum, of so many that come at once. The three endpoints are well, and run 1200 calls a second.
async fn without_quorum(per_second: u32, at_once: u32) -> (f64, Option<String>) {
    seawall::seed(1);
    let servers = Servers::new([8, 10, 12].map(|latency| Behaviour::Answers(latency * MS)));
    let layer = servers.layer(BalanceConfig { max_concurrent: 4, ..BalanceConfig::default() });
    let config = QuorumConfig { endpoints: 2, agree: 2, ..QuorumConfig::default() };
    let quorum = QuorumLayer::new(config).unwrap().with_agreement(seawall::quorum::from_fn(|_: &usize| ()));
    let service = quorum.layer(servers.service(&layer));
    let (start, mut calls) = (Instant::now(), Vec::new());
    for n in 0..per_second * 5 / at_once {
        sleep_until(start + SECOND * at_once * n / per_second).await;
        calls.extend((0..at_once).map(|_| tokio::spawn(service.clone().oneshot(0))));
    }
    let (all, mut failed) = (calls.len(), Vec::new());
    for call in calls {
        failed.extend(call.await.unwrap().err());
    }
    let share = failed.len() as f64 / all as f64;
    (share, failed.first().map(ToString::to_string))
}

/// More calls come at once than there are permits, so that votes wait, and the endpoints are not equally fast. Two votes of one call must
/// not take the same endpoint while there are others.
#[tokio::test(start_paused = true)]
async fn votes_that_wait_go_to_different_endpoints() {
    let shares = [
        without_quorum(100, 1).await,
        without_quorum(560, 4).await,
        without_quorum(200, 10).await,
        without_quorum(400, 20).await,
        without_quorum(560, 40).await,
    ];
    assert!(shares.iter().all(|(share, _)| *share < 0.01), "{shares:?} of the calls have no quorum");
}

/// Two endpoints are in the first tier, and three have to agree. A vote of an endpoint that leaves meanwhile counts.
#[tokio::test(start_paused = true)]
async fn votes_come_from_a_standby_and_from_an_endpoint_that_leaves() {
    let servers = Servers::answering(3, 100 * MS);
    let layer = servers.layer(BalanceConfig::default());
    let tiers = servers.endpoints().into_iter().zip([0, 0, 1]).map(|(endpoint, tier)| endpoint.with_tier(tier));
    layer.handle().set_endpoints(tiers).unwrap();
    let config = QuorumConfig { endpoints: 3, agree: 3, ..QuorumConfig::default() };
    let quorum = QuorumLayer::new(config).unwrap().with_agreement(seawall::quorum::from_fn(|_: &usize| ()));
    let call = tokio::spawn(quorum.layer(servers.service(&layer)).oneshot(0));
    settle().await;
    assert_eq!(servers.running(), [1, 1, 1]);
    layer.handle().set_endpoints([Servers::endpoint(1)]).unwrap();
    assert!(call.await.unwrap().is_ok());
}
