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

/// One of six endpoints fails, again and again, and its breaker lets calls probe it. With the others full, each such call could take all
/// votes: two of three are to be at other endpoints.
#[tokio::test(start_paused = true)]
async fn votes_of_a_call_are_not_all_probes_of_one_endpoint() {
    seawall::seed(1);
    let latencies = [5, 10, 15, 25, 40, 20];
    let servers = Servers::new(latencies.map(|latency| Behaviour::Answers(latency * MS)));
    let mut config = BalanceConfig { max_concurrent: 2, ..BalanceConfig::default() };
    config.ejection.enabled = false;
    let layer = servers.layer(config);
    let quorum = QuorumLayer::new(QuorumConfig::default()).unwrap();
    let quorum = quorum.with_agreement(seawall::quorum::from_fn(|_: &usize| ()));
    let service = DeadlineLayer::new(2 * SECOND).unwrap().layer(quorum.layer(servers.service(&layer)));
    let begun = Instant::now();
    let callers: Vec<_> = (0..40)
        .map(|_| {
            let service = service.clone();
            tokio::spawn(async move {
                let (mut made, mut failed) = (0, Vec::new());
                while begun.elapsed() < 25 * SECOND {
                    made += 1;
                    failed.extend(service.clone().oneshot(0).await.err().map(|error| error.to_string()));
                    sleep(MS).await;
                }
                (made, failed)
            })
        })
        .collect();
    // Before the first answers nobody knows how long a wait is.
    sleep(SECOND).await;
    for _ in 0..8 {
        servers.set(5, Behaviour::Fails(Duration::ZERO));
        sleep(SECOND).await;
        servers.set(5, Behaviour::Answers(20 * MS));
        sleep(2 * SECOND).await;
    }
    let (mut made, mut failed) = (0, Vec::new());
    for caller in callers {
        let (more, errors) = caller.await.unwrap();
        made += more;
        failed.extend(errors);
    }
    assert!(made > 3000, "{made}");
    assert!(failed.is_empty(), "{} of {made}: {:?}", failed.len(), failed.first());
}

/// Callers of single calls share a full balancer with callers of quorums. Their calls are not passed over by votes.
#[tokio::test(start_paused = true)]
async fn single_calls_are_served_beside_waiting_votes() {
    seawall::seed(1);
    let servers = Servers::answering(3, 10 * MS);
    let layer = servers.layer(BalanceConfig { max_concurrent: 2, ..BalanceConfig::default() });
    let quorum = QuorumLayer::new(QuorumConfig::default()).unwrap();
    let quorum = quorum.with_agreement(seawall::quorum::from_fn(|_: &usize| ()));
    let single = DeadlineLayer::new(2 * SECOND).unwrap().layer(servers.service(&layer));
    let voting = DeadlineLayer::new(2 * SECOND).unwrap().layer(quorum.layer(servers.service(&layer)));
    async fn call_again<S>(service: S, until: Instant) -> (usize, usize)
    where
        S: Service<u32, Response = usize, Error = BoxError> + Clone,
    {
        let (mut good, mut failed) = (0, 0);
        while Instant::now() < until {
            let is_good = service.clone().oneshot(0).await.is_ok();
            (good, failed) = (good + usize::from(is_good), failed + usize::from(!is_good));
            sleep(MS).await;
        }
        (good, failed)
    }
    let until = Instant::now() + 10 * SECOND;
    let singles: Vec<_> = (0..12).map(|_| tokio::spawn(call_again(single.clone(), until))).collect();
    let votings: Vec<_> = (0..24).map(|_| tokio::spawn(call_again(voting.clone(), until))).collect();
    let (mut single, mut voting) = ((0, 0), (0, 0));
    for call in singles {
        let (good, failed) = call.await.unwrap();
        single = (single.0 + good, single.1 + failed);
    }
    for call in votings {
        let (good, failed) = call.await.unwrap();
        voting = (voting.0 + good, voting.1 + failed);
    }
    // 6,000 calls are served in that time. In the order of their arrival, 12 of 84 would be single ones.
    assert!(single.0 > 700 && voting.0 > 700, "single {single:?}, voting {voting:?}");
}
