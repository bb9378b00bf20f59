use super::*;

fn in_tiers(servers: &Servers, tiers: &[u8]) -> Vec<Endpoint> {
    servers.endpoints().into_iter().zip(tiers).map(|(endpoint, tier)| endpoint.with_tier(*tier)).collect()
}

/// The discovery swaps the tiers of all endpoints, and back, while a call is in flight.
#[tokio::test(start_paused = true)]
async fn endpoints_that_change_their_tier_keep_their_state() {
    let servers = Servers::answering(4, 10 * MS);
    let layer = servers.layer(BalanceConfig { slow_start: no_slow_start(), ..Default::default() });
    let (handle, service) = (layer.handle(), servers.service(&layer));
    handle.set_endpoints(in_tiers(&servers, &[0, 0, 1, 1])).unwrap();
    (0..2).for_each(|server| servers.set(server, Behaviour::Answers(10 * SECOND)));
    let long = start(&service, 1).await.pop().unwrap();
    (0..2).for_each(|server| servers.set(server, Behaviour::Answers(10 * MS)));
    let at = servers.running().iter().position(|running| *running == 1).unwrap();
    for tiers in [[1, 1, 0, 0], [0, 0, 1, 1], [3, 3, 2, 2], [0, 1, 0, 1]] {
        handle.set_endpoints(in_tiers(&servers, &tiers)).unwrap();
        assert_eq!(handle.endpoints().len(), 4);
        assert_eq!(handle.in_flight_at(&at.to_string()), Some(1), "{tiers:?}");
        let calls = servers.during(load(service.clone(), 100, SECOND)).await;
        let first = *tiers.iter().min().unwrap();
        let in_first = calls.iter().zip(tiers).filter(|(_, tier)| *tier == first).map(|(calls, _)| calls);
        assert_eq!(in_first.sum::<usize>(), 100, "{tiers:?}: {calls:?}");
    }
    assert_eq!(long.await.unwrap().unwrap(), at);
    assert_eq!(handle.in_flight(), 0);
}

/// A whole tier leaves the set, and comes back.
#[tokio::test(start_paused = true)]
async fn tier_that_leaves_the_set_gets_no_calls_until_it_is_back() {
    let servers = Servers::answering(4, 10 * MS);
    let layer = servers.layer(BalanceConfig { slow_start: no_slow_start(), ..Default::default() });
    let (handle, service) = (layer.handle(), servers.service(&layer));
    let all = in_tiers(&servers, &[0, 0, 1, 1]);
    for away in [SECOND, 100 * SECOND] {
        handle.set_endpoints(all.clone()).unwrap();
        let calls = servers.during(load(service.clone(), 100, SECOND)).await;
        assert_eq!((calls[0] + calls[1], calls[2] + calls[3]), (100, 0), "before {away:?}");
        handle.set_endpoints(all[2..].to_vec()).unwrap();
        sleep(away).await;
        let calls = servers.during(load(service.clone(), 100, SECOND)).await;
        assert_eq!((calls[0] + calls[1], calls[2] + calls[3]), (0, 100), "for {away:?}");
        handle.set_endpoints(all.clone()).unwrap();
        let calls = servers.during(load(service.clone(), 100, SECOND)).await;
        assert_eq!((calls[0] + calls[1], calls[2] + calls[3]), (100, 0), "after {away:?}");
    }
}

/// An update of nothing but weights, while calls are in flight.
#[tokio::test(start_paused = true)]
async fn new_weights_hold_at_once() {
    seawall::seed(1);
    let servers = Servers::answering(3, 10 * MS);
    let layer = servers.layer(BalanceConfig::default());
    let (handle, service) = (layer.handle(), servers.service(&layer));
    load(service.clone(), 300, 2 * SECOND).await;
    servers.set(1, Behaviour::Answers(60 * SECOND));
    let mut long = Vec::new();
    while servers.running()[1] == 0 {
        long.extend(start(&service, 1).await);
    }
    servers.set(1, Behaviour::Answers(10 * MS));
    for (weights, least, most) in
        [([8.0, 1.0, 1.0], 0.65, 0.95), ([1e-3, 1.0, 1.0], 0.0, 0.05), ([1e6, 1e6, 1e6], 0.2, 0.5)]
    {
        let set = servers.endpoints().into_iter().zip(weights).map(|(endpoint, weight)| endpoint.with_weight(weight));
        handle.set_endpoints(set).unwrap();
        assert_eq!(handle.in_flight_at("1"), Some(1), "{weights:?}");
        let calls = servers.during(load(service.clone(), 300, 2 * SECOND)).await;
        let share = calls[0] as f64 / 600.0;
        assert!((least..=most).contains(&share), "{weights:?}: {calls:?}");
    }
    long.iter().for_each(|call| call.abort());
}

/// Standbys are all there is, and later one that drains as well.
#[tokio::test(start_paused = true)]
async fn endpoints_that_are_all_standbys_serve() {
    let servers = Servers::answering(3, 10 * MS);
    let layer = servers.layer(BalanceConfig { slow_start: no_slow_start(), ..Default::default() });
    let (handle, service) = (layer.handle(), servers.service(&layer));
    for server in ["0", "1", "2"] {
        assert!(handle.set_mode(server, EndpointMode::Standby));
    }
    let calls = servers.during(load(service.clone(), 300, SECOND)).await;
    assert!(calls.iter().all(|calls| *calls > 50), "{calls:?}");
    assert!(handle.set_mode("0", EndpointMode::Draining));
    let calls = servers.during(load(service.clone(), 300, SECOND)).await;
    assert_eq!((calls[0], calls[1] + calls[2]), (0, 300));
    assert!(handle.set_mode("1", EndpointMode::Serving));
    // Half of the first tier drains: the standby takes what is more than 140 % of the other half.
    let calls = servers.during(load(service, 300, SECOND)).await;
    assert!(calls[0] == 0 && (180..240).contains(&calls[1]), "{calls:?}");
}

/// Weights far below 1, and a slow start that multiplies them once more.
#[tokio::test(start_paused = true)]
async fn slow_start_with_small_weights_ends() {
    seawall::seed(1);
    for weight in [1e-6, 1e-3, 1.0, 1e6] {
        let servers = Servers::answering(5, 10 * MS);
        let layer = servers.layer(BalanceConfig::default());
        let (handle, service) = (layer.handle(), servers.service(&layer));
        let all: Vec<_> = servers.endpoints().into_iter().map(|endpoint| endpoint.with_weight(weight)).collect();
        handle.set_endpoints(all[1..].to_vec()).unwrap();
        load(service.clone(), 300, 2 * SECOND).await;
        handle.set_endpoints(all).unwrap();
        let warming = servers.during(load(service.clone(), 300, 5 * SECOND)).await;
        assert!((15..=250).contains(&warming[0]), "{weight}: {warming:?}");
        sleep(6 * SECOND).await;
        let warm = servers.during(load(service, 300, 3 * SECOND)).await;
        assert!((120..=260).contains(&warm[0]), "{weight}: {warm:?}");
    }
}

/// A set that flaps and modes that change, under more load than there are permits. The bound of each endpoint holds, and nothing is left.
#[tokio::test(start_paused = true)]
async fn bounds_hold_while_endpoints_come_and_go_under_overload() {
    seawall::seed(1);
    let servers = Servers::answering(3, 25 * MS);
    let config = BalanceConfig { max_concurrent: 4, slow_start: no_slow_start(), ..Default::default() };
    let layer = servers.layer(config);
    let (handle, service) = (layer.handle(), servers.service(&layer));
    let changes = async {
        for n in 0..300 {
            sleep(13 * MS).await;
            let mode = if n % 3 == 0 { EndpointMode::Isolated } else { EndpointMode::Serving };
            let _ = handle.set_mode("0", mode);
            let without = usize::from(n % 5 == 0);
            handle.set_endpoints(servers.endpoints().into_iter().take(3 - without)).unwrap();
        }
        let _ = handle.set_mode("0", EndpointMode::Serving);
    };
    let calls = load(DeadlineLayer::new(200 * MS).unwrap().layer(service.clone()), 900, 4 * SECOND);
    let ((), results) = tokio::join!(changes, calls);
    assert!(servers.most_running().iter().all(|most| *most == 4), "{:?}", servers.most_running());
    assert!(results.iter().filter(|(.., result)| result.is_ok()).count() > 800);
    settle().await;
    assert_eq!((handle.in_flight(), handle.waiting(), servers.running()), (0, 0, vec![0; 3]));
    let calls = start(&service, 12).await;
    assert_eq!((servers.running(), handle.waiting()), (vec![4; 3], 0), "all permits are there");
    for call in calls {
        call.await.unwrap().unwrap();
    }
}
