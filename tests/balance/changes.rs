//! The set and the settings change while calls are in flight.

use proptest::prelude::*;
use seawall::circuit_breaker::State;
use seawall::deadline::DeadlineLayer;
use seawall::registry::Registry;
use tower::Layer;

use super::breakers::opens_at_once;
use super::by_hand::listed;
use super::*;

#[tokio::test(start_paused = true)]
async fn calls_at_an_endpoint_that_leaves_end_in_peace() {
    let servers = Servers::answering(2, SECOND);
    let layer = servers.layer(BalanceConfig::default());
    let (handle, service) = (layer.handle(), servers.service(&layer));
    let calls: Vec<_> = (0..20).map(|_| tokio::spawn(service.clone().oneshot(0))).collect();
    settle().await;
    assert!(servers.running()[0] > 0 && handle.in_flight() == 20);
    handle.set_endpoints(servers.endpoints().into_iter().skip(1)).unwrap();
    let before = servers.calls();
    assert_eq!(call(&service).await.unwrap(), 1);
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!((servers.calls()[0], handle.in_flight(), servers.running()), (before[0], 0, vec![0, 0]));
}

#[tokio::test(start_paused = true)]
async fn endpoint_that_stays_keeps_its_state() {
    let servers = Servers::new([Behaviour::Hangs, Behaviour::Hangs, Behaviour::Hangs]);
    let layer = servers.layer(BalanceConfig::default());
    let (handle, service) = (layer.handle(), servers.service(&layer));
    let all = servers.endpoints();
    handle.set_endpoints([all[0].clone()]).unwrap();
    let call = tokio::spawn(service.clone().oneshot(0));
    settle().await;
    handle.set_endpoints([all[2].clone(), all[0].clone().with_weight(3.0), all[1].clone()]).unwrap();
    assert_eq!((handle.in_flight(), handle.endpoints()[1].weight()), (1, 3.0));
    call.abort();
    let _ = call.await;
    assert_eq!(handle.in_flight(), 0, "released in the new set");
}

/// A new endpoint starts with a tenth of its share.
#[tokio::test(start_paused = true)]
async fn new_endpoint_starts_slowly() {
    seawall::seed(1);
    let servers = Servers::answering(4, 10 * MS);
    let layer = servers.layer(BalanceConfig::default());
    let (handle, service) = (layer.handle(), servers.service(&layer));
    handle.set_endpoints(servers.endpoints().into_iter().take(3)).unwrap();
    load(service.clone(), 400, SECOND).await;
    handle.set_endpoints(servers.endpoints()).unwrap();
    load(service.clone(), 400, SECOND).await;
    let first = servers.calls()[3];
    assert!((2..=30).contains(&first), "{first} of 400");
    load(service.clone(), 400, 10 * SECOND).await;
    let before = servers.calls()[3];
    load(service, 400, SECOND).await;
    let share = servers.calls()[3] - before;
    assert!((70..=140).contains(&share), "{share} of 400");
}

#[tokio::test(start_paused = true)]
async fn endpoint_with_another_address_gets_another_client() {
    let servers = Servers::answering(2, MS);
    let layer = BalanceLayer::new(BalanceConfig::default()).unwrap();
    let layer = layer.with_endpoints([Endpoint::new("0").with_key("pod")]).unwrap();
    let service = servers.service(&layer);
    assert_eq!(call(&service).await.unwrap(), 0);
    layer.handle().set_endpoints([Endpoint::new("1").with_key("pod")]).unwrap();
    assert_eq!(call(&service).await.unwrap(), 1);
}

#[tokio::test(start_paused = true)]
async fn reload_applies_to_all_endpoints_and_calls_in_flight_go_on() {
    let servers = Servers::answering(2, SECOND);
    let layer = servers.layer(BalanceConfig::default());
    let service = servers.service(&layer);
    let calls: Vec<_> = (0..8).map(|_| tokio::spawn(service.clone().oneshot(0))).collect();
    settle().await;
    let mut config = layer.config();
    config.max_concurrent = 1;
    layer.reload(&config).unwrap();
    let more: Vec<_> = (0..4).map(|_| tokio::spawn(service.clone().oneshot(0))).collect();
    settle().await;
    assert_eq!(servers.running().iter().sum::<usize>(), 8, "the new limit holds for new calls");
    for call in calls.into_iter().chain(more) {
        call.await.unwrap().unwrap();
    }
    config.max_endpoints = 0;
    assert_eq!(layer.reload(&config).unwrap_err().faults()[0].path(), "max_endpoints");
    assert_eq!(layer.config().max_endpoints, 1024, "nothing has changed");
}

/// One of six is ejected for its failures, and gets calls again after the ejection.
#[tokio::test(start_paused = true)]
async fn outlier_is_ejected_and_restored() {
    outlier_is_ejected(Behaviour::Fails(10 * MS)).await;
}

/// Its calls are cut by the deadline of an outer layer.
#[tokio::test(start_paused = true)]
async fn hanging_endpoint_is_ejected_and_restored() {
    outlier_is_ejected(Behaviour::Hangs).await;
}

async fn outlier_is_ejected(bad: Behaviour) {
    seawall::seed(2);
    let servers = Servers::answering(6, 10 * MS);
    let mut config = BalanceConfig::default();
    // Only the ejection protects the callers: no breaker, and so little capacity that the choice cannot avoid the endpoint.
    config.circuit_breaker.enabled = false;
    config.max_concurrent = 4;
    config.ejection.interval = 2 * SECOND;
    config.ejection.base_time = 5 * SECOND;
    let layer = servers.layer(config);
    let registry = seawall::registry::Registry::new();
    let layer = layer.named_in(&registry, "payments").unwrap();
    let ejected = || match &registry.snapshot().components[0].condition {
        seawall::registry::Condition::Balance(balance) => balance.ejected,
        other => panic!("{other:?}"),
    };
    servers.set(0, bad);
    let service = DeadlineLayer::new(50 * MS).unwrap().layer(servers.service(&layer));
    load(service.clone(), 2200, 2500 * MS).await;
    assert_eq!(ejected(), 1, "{:?}", servers.calls());
    let before = servers.calls()[0];
    servers.set(0, Behaviour::Answers(10 * MS));
    load(service.clone(), 300, 3 * SECOND).await;
    assert_eq!(servers.calls()[0], before, "it gets no calls");
    load(service, 300, 6 * SECOND).await;
    assert_eq!(ejected(), 0);
    assert!(servers.calls()[0] > before);
}

/// A discovery that flaps: the endpoint leaves the set and is back under its key. Its calls still count, and so does its outage.
#[tokio::test(start_paused = true)]
async fn endpoint_that_returns_soon_keeps_its_state() {
    seawall::seed(1);
    let servers = Servers::answering(3, 10 * MS);
    let layer = servers.layer(BalanceConfig { max_concurrent: 4, ..breakers::opens_at_once() });
    let (handle, service) = (layer.handle(), servers.service(&layer));
    let all = servers.endpoints();
    let flap = || {
        handle.set_endpoints([all[1].clone(), all[2].clone()]).unwrap();
        handle.set_endpoints(all.clone()).unwrap();
    };
    servers.set(0, Behaviour::Fails(MS));
    breakers::fail(&service, 1).await;
    flap();
    let before = servers.calls()[0];
    for _ in 0..50 {
        call(&service).await.unwrap();
    }
    assert_eq!(servers.calls()[0], before, "its breaker is open");

    // Half a minute later its break is over. Its calls hang, and it is full.
    servers.set(0, Behaviour::Answers(10 * MS));
    sleep(40 * SECOND).await;
    load(service.clone(), 100, 30 * SECOND).await;
    handle.set_endpoints([all[0].clone()]).unwrap();
    servers.set(0, Behaviour::Hangs);
    let calls: Vec<_> = (0..4).map(|_| tokio::spawn(service.clone().oneshot(0))).collect();
    settle().await;
    assert_eq!(servers.running()[0], 4);
    flap();
    assert_eq!(handle.in_flight(), 4);
    for _ in 0..50 {
        assert_ne!(call(&service).await.unwrap(), 0);
    }
    calls.into_iter().for_each(|call| call.abort());
    settle().await;
    assert_eq!((servers.running()[0], handle.in_flight()), (0, 0));
}

/// An instance that is back after minutes, or one of many that come and go, is a new one.
#[tokio::test(start_paused = true)]
async fn state_of_endpoints_that_left_is_bounded() {
    for (away, others, is_kept) in [(SECOND, 2, true), (70 * SECOND, 0, false), (SECOND, 10, false)] {
        seawall::seed(1);
        let servers = Servers::answering(2, 10 * MS);
        let mut config = BalanceConfig { max_endpoints: 3, ..breakers::opens_at_once() };
        config.circuit_breaker.break_duration = 600 * SECOND;
        config.circuit_breaker.max_break = 600 * SECOND;
        let layer = servers.layer(config);
        let (handle, service) = (layer.handle(), servers.service(&layer));
        let all = servers.endpoints();
        servers.set(0, Behaviour::Fails(MS));
        breakers::fail(&service, 1).await;
        servers.set(0, Behaviour::Answers(10 * MS));
        handle.set_endpoints([all[1].clone()]).unwrap();
        sleep(away).await;
        for n in 0..others {
            handle.set_endpoints([all[1].clone(), Endpoint::new(format!("1{n}"))]).unwrap();
        }
        handle.set_endpoints(all).unwrap();
        let before = servers.calls()[0];
        for _ in 0..100 {
            call(&service).await.unwrap();
        }
        assert_eq!(servers.calls()[0] == before, is_kept, "{away:?}, {others}");
    }
}

/// Whether they leave together or one set after the other, at most as many states are kept as a set may have endpoints: the latest.
#[tokio::test(start_paused = true)]
async fn states_of_endpoints_that_left_at_one_moment_are_bounded() {
    for between in [Duration::ZERO, SECOND] {
        let config = BalanceConfig { max_endpoints: 3, ..BalanceConfig::default() };
        let set = |name: &'static str| (0..3).map(move |n| Endpoint::new(format!("{name}{n}")));
        let handle = BalanceLayer::new(config).unwrap().with_endpoints(set("a")).unwrap().handle();
        for name in ["b", "c", "d"] {
            handle.set_endpoints(set(name)).unwrap();
            sleep(between).await;
        }
        let is_kept = |endpoint: &Endpoint| handle.in_flight_at(endpoint.key()).is_some();
        let kept = ["a", "b", "c", "d"].map(|name| set(name).filter(is_kept).count());
        assert_eq!(kept.iter().sum::<usize>(), 6, "{kept:?}");
        assert!(between.is_zero() || kept == [0, 0, 3, 3], "{kept:?}");
    }
}

/// What is known of each endpoint, by its key: its breaker, its cost and its calls in flight.
type Known = std::collections::BTreeMap<String, (State, Option<Duration>, u64)>;

fn known(registry: &Registry) -> Known {
    let known = listed(registry).into_iter();
    known.map(|endpoint| (endpoint.key, (endpoint.breaker, endpoint.cost, endpoint.in_flight))).collect()
}

/// Two of six servers fail, so that their breakers open, two hang, and two answer.
async fn changes_keep_the_state(sets: Vec<Vec<(usize, u8, u16)>>) -> Result<(), TestCaseError> {
    let servers = Servers::answering(6, 10 * MS);
    let registry = Registry::new();
    let layer = servers.layer(BalanceConfig { max_concurrent: 4, ..opens_at_once() });
    let layer = layer.named_in(&registry, "orders").unwrap();
    let (handle, service) = (layer.handle(), servers.service(&layer));
    load(service.clone(), 100, SECOND).await;
    [0, 1].into_iter().for_each(|server| servers.set(server, Behaviour::Fails(MS)));
    breakers::fail(&service, 2).await;
    [2, 3].into_iter().for_each(|server| servers.set(server, Behaviour::Hangs));
    let calls: Vec<_> = (0..12).map(|_| tokio::spawn(service.clone().oneshot(0))).collect();
    sleep(50 * MS).await;
    let mut ever = known(&registry);
    prop_assert!(ever["0"].0 == State::Open && ever["1"].0 == State::Open && ever["2"].2 > 0 && ever["4"].1.is_some());
    for set in sets {
        let endpoint = |(server, tier, weight): (usize, u8, u16)| {
            Endpoint::new(server.to_string()).with_tier(tier).with_weight(f64::from(weight))
        };
        handle.set_endpoints(set.into_iter().map(endpoint)).unwrap();
        let now = known(&registry);
        for (key, state) in &now {
            prop_assert_eq!(state, &ever[key], "{}", key);
        }
        ever.extend(now);
    }
    calls.into_iter().for_each(|call| call.abort());
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Endpoints leave, come back, and change their tier, weight and position. No time passes in between.
    #[test]
    fn arbitrary_changes_keep_the_state_of_endpoints(
        sets in prop::collection::vec(
            prop::sample::subsequence((0..6usize).collect::<Vec<_>>(), 1..=6).prop_shuffle().prop_flat_map(|servers| {
                servers.into_iter().map(|server| (Just(server), 0..3u8, 1..9u16)).collect::<Vec<_>>()
            }),
            1..12,
        ),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
        runtime.block_on(changes_keep_the_state(sets))?;
    }
}
