//! Endpoints that are drained, isolated or kept as standbys by hand.

use seawall::balance::EndpointMode;
use seawall::error::Reason;
use seawall::registry::{Condition, EndpointCondition, Registry};

use super::refusals::refused;
use super::*;

pub(super) fn listed(registry: &Registry) -> Vec<EndpointCondition> {
    match &registry.snapshot().components[0].condition {
        Condition::Balance(balance) => balance.listed.clone(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(start_paused = true)]
async fn draining_endpoint_gets_no_new_calls_and_ends_those_in_flight() {
    let servers = Servers::answering(2, SECOND);
    let registry = Registry::new();
    let layer = servers.layer(BalanceConfig::default()).named_in(&registry, "orders").unwrap();
    let (handle, service) = (layer.handle(), servers.service(&layer));
    let calls: Vec<_> = (0..10).map(|_| tokio::spawn(service.clone().oneshot(0))).collect();
    settle().await;
    let before = servers.calls();
    assert!(handle.set_mode("0", EndpointMode::Draining));
    assert_eq!((listed(&registry)[0].mode, handle.mode("0")), (EndpointMode::Draining, Some(EndpointMode::Draining)));
    for _ in 0..20 {
        assert_eq!(call(&service).await.unwrap(), 1);
    }
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!((servers.calls()[0], servers.running()[0], listed(&registry)[0].in_flight), (before[0], 0, 0));
    assert!(handle.set_mode("0", EndpointMode::Serving));
    load(service, 20, 3 * SECOND).await;
    assert!(servers.calls()[0] > before[0]);
}

#[tokio::test(start_paused = true)]
async fn last_draining_endpoint_is_used_and_an_isolated_one_is_not() {
    let servers = Servers::answering(2, MS);
    let layer = servers.layer(BalanceConfig::default());
    let (handle, service) = (layer.handle(), servers.service(&layer));
    assert!(handle.set_mode("0", EndpointMode::Isolated));
    assert!(handle.set_mode("1", EndpointMode::Draining));
    for _ in 0..20 {
        assert_eq!(call(&service).await.unwrap(), 1, "draining is better than nothing");
    }
    assert!(handle.set_mode("1", EndpointMode::Isolated));
    assert_eq!(refused(call(&service).await).reason(), Reason::NoEndpoints);
    assert!(!handle.set_mode("2", EndpointMode::Isolated), "there is none");
    assert_eq!(handle.mode("2"), None);
}

/// The standby carries what the others have no permits for, and nothing more.
#[tokio::test(start_paused = true)]
async fn standby_by_hand_carries_the_overflow() {
    let servers = Servers::answering(2, 10 * MS);
    let layer = servers.layer(BalanceConfig { max_concurrent: 2, ..Default::default() });
    let (handle, service) = (layer.handle(), servers.service(&layer));
    assert!(handle.set_mode("1", EndpointMode::Standby));
    for _ in 0..20 {
        assert_eq!(call(&service).await.unwrap(), 0);
    }
    let calls: Vec<_> = (0..3).map(|_| tokio::spawn(service.clone().oneshot(0))).collect();
    settle().await;
    assert_eq!(servers.running(), [2, 1]);
    for call in calls {
        call.await.unwrap().unwrap();
    }
}

#[tokio::test(start_paused = true)]
async fn mode_survives_a_change_of_the_set_and_a_reload() {
    let servers = Servers::answering(3, MS);
    let layer = servers.layer(BalanceConfig::default());
    let (handle, service) = (layer.handle(), servers.service(&layer));
    assert!(handle.set_mode("0", EndpointMode::Isolated));
    handle.set_endpoints(servers.endpoints().into_iter().take(2)).unwrap();
    layer.reload(&BalanceConfig { max_concurrent: 3, ..BalanceConfig::default() }).unwrap();
    for _ in 0..20 {
        assert_eq!(call(&service).await.unwrap(), 1);
    }
}

/// A discovery that flaps is no order of the operator.
#[tokio::test(start_paused = true)]
async fn mode_survives_while_the_state_of_an_endpoint_is_kept() {
    for mode in [EndpointMode::Draining, EndpointMode::Isolated, EndpointMode::Standby] {
        for (away, expected) in [(SECOND, mode), (59 * SECOND, mode), (61 * SECOND, EndpointMode::Serving)] {
            let servers = Servers::answering(2, MS);
            let layer = servers.layer(BalanceConfig::default());
            let (handle, service) = (layer.handle(), servers.service(&layer));
            assert!(handle.set_mode("0", mode));
            handle.set_endpoints([Endpoint::new("1")]).unwrap();
            assert_eq!(handle.mode("0"), None);
            sleep(away).await;
            handle.set_endpoints(servers.endpoints()).unwrap();
            assert_eq!(handle.mode("0"), Some(expected), "{mode} after {away:?}");
            load(service, 200, 10 * SECOND).await;
            assert_eq!(servers.calls()[0] == 0, expected == mode, "{mode} after {away:?}: {:?}", servers.calls());
        }
    }
}

/// A call that waits is refused when its last endpoint is isolated, and runs when one comes back.
#[tokio::test(start_paused = true)]
async fn waiting_calls_follow_the_modes() {
    let servers = Servers::new([Behaviour::Hangs, Behaviour::Answers(MS)]);
    let layer = servers.layer(BalanceConfig { max_concurrent: 1, ..Default::default() });
    let (handle, service) = (layer.handle(), servers.service(&layer));
    assert!(handle.set_mode("1", EndpointMode::Isolated));
    let running = tokio::spawn(service.clone().oneshot(0));
    settle().await;
    let waiting = tokio::spawn(service.clone().oneshot(0));
    settle().await;
    assert_eq!(handle.waiting(), 1);
    assert!(handle.set_mode("1", EndpointMode::Serving));
    assert_eq!(waiting.await.unwrap().unwrap(), 1);
    assert!(handle.set_mode("1", EndpointMode::Isolated));
    let waiting = tokio::spawn(service.clone().oneshot(0));
    settle().await;
    assert!(handle.set_mode("0", EndpointMode::Isolated));
    assert_eq!(refused(waiting.await.unwrap()).reason(), Reason::NoEndpoints);
    assert_eq!((handle.waiting(), handle.in_flight()), (0, 1));
    running.abort();
}

#[tokio::test(start_paused = true)]
async fn registry_changes_the_mode_of_an_endpoint() {
    let servers = Servers::answering(2, MS);
    let registry = Registry::new();
    let layer = servers.layer(BalanceConfig::default()).named_in(&registry, "orders").unwrap();
    registry.set_endpoint_mode("orders", "1", EndpointMode::Isolated).unwrap();
    assert_eq!(layer.handle().mode("1"), Some(EndpointMode::Isolated));
    let error = |name, key| registry.set_endpoint_mode(name, key, EndpointMode::Isolated).unwrap_err();
    assert_eq!(
        error("orders", "2").to_string(),
        r#"no balancer that is named "orders" has an endpoint with the key "2", expected one of "0", "1""#
    );
    assert_eq!(error("orders", "2").keys(), ["0", "1"]);
    assert_eq!(
        error("others", "1").to_string(),
        r#"no balancer that is named "others" has an endpoint with the key "1""#
    );
    layer.handle().set_endpoints((10..90).map(|n| Endpoint::new(n.to_string()))).unwrap();
    assert_eq!(error("orders", "2").keys().len(), 20);
    let text = error("orders", "2").to_string();
    assert!(text.ends_with(r#""28", "29" and 60 others"#), "{text}");
}

/// A drained endpoint can be stopped once no call is in flight there, also after it has left the set.
#[tokio::test(start_paused = true)]
async fn calls_in_flight_are_known_for_each_endpoint() {
    let servers = Servers::answering(2, SECOND);
    let layer = servers.layer(BalanceConfig::default());
    let (handle, service) = (layer.handle(), servers.service(&layer));
    assert!(handle.set_mode("1", EndpointMode::Draining));
    let calls: Vec<_> = (0..3).map(|_| tokio::spawn(service.clone().oneshot(0))).collect();
    settle().await;
    assert_eq!(["0", "1", "2"].map(|key| handle.in_flight_at(key)), [Some(3), Some(0), None]);
    handle.set_endpoints(servers.endpoints().into_iter().skip(1)).unwrap();
    assert_eq!((handle.in_flight(), handle.in_flight_at("0")), (0, Some(3)));
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(handle.in_flight_at("0"), Some(0));
}
