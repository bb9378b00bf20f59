//! Active checks: they may bring an endpoint back, and change nothing else.

use std::sync::Mutex;

use futures::FutureExt;
use futures::channel::oneshot;
use seawall::balance::{BalanceHandle, CheckConfig, EndpointMode};
use seawall::circuit_breaker::State;
use seawall::deadline::DeadlineLayer;
use seawall::registry::Registry;
use tower::Layer;

use super::breakers::{fail, opens_at_once};
use super::by_hand::listed;
use super::*;

/// How the checks of an endpoint end.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Check {
    Passes,
    Fails,
    Hangs,
    Panics,
}

/// The checks of all endpoints, by the address.
#[derive(Clone)]
struct Checks(Arc<Vec<Mutex<(Check, usize)>>>);

impl Checks {
    fn new(checks: impl IntoIterator<Item = Check>) -> Self {
        Self(Arc::new(checks.into_iter().map(|check| Mutex::new((check, 0))).collect()))
    }

    fn set(&self, number: usize, check: Check) {
        self.0[number].lock().unwrap().0 = check;
    }

    fn counts(&self) -> Vec<usize> {
        self.0.iter().map(|check| check.lock().unwrap().1).collect()
    }

    fn start(&self, handle: &BalanceHandle) {
        let checks = self.clone();
        let check = move |endpoint: &Endpoint| {
            let mut counted = checks.0[endpoint.address().parse::<usize>().unwrap()].lock().unwrap();
            counted.1 += 1;
            let check = counted.0;
            async move {
                match check {
                    Check::Passes => Ok(()),
                    Check::Fails => Err("not yet".into()),
                    Check::Hangs => std::future::pending().await,
                    Check::Panics => panic!("a faulty check"),
                }
            }
        };
        handle.check(every_second(), check).unwrap();
    }
}

fn every_second() -> CheckConfig {
    CheckConfig { interval: SECOND, jitter: 0.0, timeout: 500 * MS }
}

/// A balancer of these servers, of which the first ones are open for 30 s.
async fn with_open(servers: &Servers, open: usize) -> (Registry, BalanceHandle, Balance<Client>) {
    seawall::seed(1);
    (0..open).for_each(|server| servers.set(server, Behaviour::Fails(MS)));
    let registry = Registry::new();
    let layer = servers.layer(opens_at_once()).named_in(&registry, "payments").unwrap();
    let service = servers.service(&layer);
    fail(&service, open).await;
    // A snapshot lists a hundred.
    assert_eq!(open_in(&registry), (0..open.min(100)).collect::<Vec<_>>());
    (registry, layer.handle(), service)
}

/// The positions of the endpoints with open breakers.
fn open_in(registry: &Registry) -> Vec<usize> {
    let breakers = listed(registry).into_iter().map(|endpoint| endpoint.breaker).enumerate();
    breakers.filter(|(_, breaker)| *breaker == State::Open).map(|(i, _)| i).collect()
}

#[tokio::test(start_paused = true)]
async fn open_endpoint_is_back_within_an_interval_after_it_recovers() {
    let servers = Servers::answering(2, MS);
    let (registry, handle, service) = with_open(&servers, 1).await;
    let checks = Checks::new([Check::Fails; 2]);
    checks.start(&handle);
    sleep(10 * SECOND + 500 * MS).await;
    assert_eq!((open_in(&registry), checks.counts()), (vec![0], vec![10, 0]));
    servers.set(0, Behaviour::Answers(MS));
    checks.set(0, Check::Passes);
    sleep(SECOND + MS).await;
    assert_eq!(listed(&registry)[0].breaker, State::HalfOpen);
    for _ in 0..100 {
        call(&service).await.unwrap();
    }
    assert_eq!(listed(&registry)[0].breaker, State::Closed);
    sleep(100 * SECOND).await;
    assert_eq!(checks.counts(), [11, 0], "it serves");
}

/// An endpoint that has just gone out would have no rest.
#[tokio::test(start_paused = true)]
async fn first_check_follows_after_an_interval() {
    let servers = Servers::answering(2, MS);
    let (registry, handle, service) = with_open(&servers, 0).await;
    let checks = Checks::new([Check::Passes; 2]);
    checks.start(&handle);
    sleep(950 * MS).await;
    servers.set(0, Behaviour::Fails(MS));
    fail(&service, 1).await;
    sleep(SECOND).await;
    assert_eq!((open_in(&registry), checks.counts()), (vec![0], vec![0, 0]));
    sleep(SECOND).await;
    assert_eq!((open_in(&registry), checks.counts()), (vec![], vec![1, 0]));
}

/// One of six endpoints is ejected for 1000 s, and answers again.
#[tokio::test(start_paused = true)]
async fn ejected_endpoint_is_restored_with_a_slow_start() {
    seawall::seed(2);
    let servers = Servers::answering(6, 10 * MS);
    let mut config = BalanceConfig { max_concurrent: 4, ..Default::default() };
    config.circuit_breaker.enabled = false;
    config.ejection.interval = 2 * SECOND;
    (config.ejection.base_time, config.ejection.max_time) = (1000 * SECOND, 1000 * SECOND);
    let registry = Registry::new();
    let layer = servers.layer(config).named_in(&registry, "payments").unwrap();
    let service = servers.service(&layer);
    servers.set(0, Behaviour::Fails(10 * MS));
    load(DeadlineLayer::new(50 * MS).unwrap().layer(service.clone()), 2200, 2500 * MS).await;
    assert!(listed(&registry)[0].ejected, "{:?}", servers.calls());
    let checks = Checks::new([Check::Fails; 6]);
    checks.start(&layer.handle());
    sleep(5 * SECOND + 500 * MS).await;
    assert_eq!((listed(&registry)[0].ejected, checks.counts()), (true, vec![5, 0, 0, 0, 0, 0]));
    servers.set(0, Behaviour::Answers(10 * MS));
    checks.set(0, Check::Passes);
    sleep(SECOND + MS).await;
    assert!(!listed(&registry)[0].ejected);
    let share = async || {
        let before = servers.calls()[0];
        load(service.clone(), 600, 2 * SECOND).await;
        servers.calls()[0] - before
    };
    let (cold, warm) = (share().await, {
        sleep(10 * SECOND).await;
        share().await
    });
    assert!(cold > 5 && cold < 100 && warm > 150, "{cold} and {warm} of 1200");
}

#[tokio::test(start_paused = true)]
async fn serving_endpoints_get_no_checks() {
    let servers = Servers::new([Behaviour::Answers(MS), Behaviour::Answers(50 * MS), Behaviour::Answers(MS)]);
    let (registry, handle, service) = with_open(&servers, 0).await;
    let checks = Checks::new([Check::Fails; 3]);
    checks.start(&handle);
    assert!(load(service, 100, 60 * SECOND).await.iter().all(|(.., result)| result.is_ok()));
    assert_eq!(checks.counts(), [0; 3]);
    assert!(listed(&registry).iter().all(|endpoint| !endpoint.ejected && endpoint.breaker == State::Closed));
}

#[tokio::test(start_paused = true)]
async fn failed_checks_change_nothing_and_delay_no_others() {
    let servers = Servers::answering(5, MS);
    let (registry, handle, service) = with_open(&servers, 4).await;
    let checks = Checks::new([Check::Fails, Check::Hangs, Check::Panics, Check::Passes, Check::Fails]);
    checks.start(&handle);
    let before = servers.calls();
    sleep(SECOND + MS).await;
    assert_eq!((open_in(&registry), checks.counts()), (vec![0, 1, 2], vec![1, 1, 1, 1, 0]));
    servers.set(3, Behaviour::Answers(MS));
    assert!(load(service, 100, 20 * SECOND).await.iter().all(|(.., result)| result.is_ok()));
    assert_eq!((open_in(&registry), &servers.calls()[..3]), (vec![0, 1, 2], &before[..3]));
    let counts = checks.counts();
    assert!(counts[..3].iter().all(|count| (19..=22).contains(count)) && counts[3..] == [1, 0], "{counts:?}");
}

/// The check asks for less than calls do: it passes, and they fail.
#[tokio::test(start_paused = true)]
async fn check_that_is_wrong_brings_the_endpoint_back_ever_less_often() {
    seawall::seed(1);
    let mut config = opens_at_once();
    (config.circuit_breaker.break_duration, config.circuit_breaker.max_break) = (1000 * SECOND, 1000 * SECOND);
    let servers = Servers::answering(2, MS);
    servers.set(0, Behaviour::Fails(MS));
    let layer = servers.layer(config);
    let service = servers.service(&layer);
    Checks::new([Check::Passes; 2]).start(&layer.handle());
    load(service.clone(), 100, 300 * SECOND).await;
    // It is back after 1, 2, 4, … checks: eight times in 300 s, for three probes each.
    assert!((15..=30).contains(&servers.calls()[0]), "{:?}", servers.calls());
    // Once it serves, it has a clean record.
    servers.set(0, Behaviour::Answers(MS));
    sleep(260 * SECOND).await;
    load(service.clone(), 100, 100 * SECOND).await;
    let before = servers.calls()[0];
    servers.set(0, Behaviour::Fails(MS));
    load(service.clone(), 100, SECOND).await;
    servers.set(0, Behaviour::Answers(MS));
    sleep(2 * SECOND).await;
    load(service, 100, SECOND).await;
    assert!(servers.calls()[0] > before + 20, "one check is enough again");
}

/// A check is answered only after the endpoint has another address, or has left.
#[tokio::test(start_paused = true)]
async fn check_of_a_replaced_endpoint_has_no_effect() {
    let (moved, left) = (Endpoint::new("0").with_key("moved"), Endpoint::new("1"));
    let servers = Servers::answering(3, MS);
    let (registry, handle, service) = with_open(&servers, 0).await;
    (0..2).for_each(|server| servers.set(server, Behaviour::Fails(MS)));
    handle.set_endpoints([moved.clone(), left.clone(), Endpoint::new("2")]).unwrap();
    fail(&service, 2).await;
    assert_eq!(open_in(&registry), [0, 1]);
    let pending: Arc<Mutex<Vec<oneshot::Sender<()>>>> = Arc::default();
    let started = Arc::clone(&pending);
    let config = CheckConfig { timeout: 100 * SECOND, ..every_second() };
    let check = move |_: &Endpoint| {
        let (sender, answer) = oneshot::channel();
        started.lock().unwrap().push(sender);
        answer.map(|answer| answer.map_err(Into::into))
    };
    handle.check(config, check).unwrap();
    sleep(SECOND + MS).await;
    let first: Vec<_> = pending.lock().unwrap().drain(..).collect();
    assert_eq!(first.len(), 2);
    handle.set_endpoints([Endpoint::new("2")]).unwrap();
    assert_eq!(open_in(&registry), [0; 0]);
    // It is forgotten by then.
    sleep(61 * SECOND).await;
    handle.set_endpoints([left, Endpoint::new("2")]).unwrap();
    fail(&service, 1).await;
    assert_eq!(open_in(&registry), [0], "a new endpoint with the same key, and the same outage");
    first.into_iter().for_each(|check| check.send(()).unwrap());
    settle().await;
    assert_eq!(open_in(&registry), [0]);

    handle.set_endpoints([moved.clone(), Endpoint::new("2")]).unwrap();
    fail(&service, 1).await;
    sleep(2 * SECOND).await;
    let second: Vec<_> = pending.lock().unwrap().drain(..).collect();
    assert!(!second.is_empty());
    handle.set_endpoints([Endpoint::new("1").with_key(moved.key()), Endpoint::new("2")]).unwrap();
    second.into_iter().for_each(|check| _ = check.send(()));
    settle().await;
    assert_eq!(open_in(&registry), [0], "it has another address");
    sleep(SECOND).await;
    pending.lock().unwrap().drain(..).for_each(|check| check.send(()).unwrap());
    settle().await;
    assert_eq!(listed(&registry)[0].breaker, State::HalfOpen, "the new address is checked, too");
}

#[tokio::test(start_paused = true)]
async fn endpoints_that_are_out_by_hand_stay_so_unchecked() {
    let servers = Servers::answering(4, MS);
    let (registry, handle, service) = with_open(&servers, 3).await;
    let modes = [EndpointMode::Isolated, EndpointMode::Draining, EndpointMode::Standby];
    for (key, mode) in ["0", "1", "2"].into_iter().zip(modes) {
        assert!(handle.set_mode(key, mode));
    }
    let checks = Checks::new([Check::Passes; 4]);
    checks.start(&handle);
    sleep(5 * SECOND).await;
    assert_eq!((open_in(&registry), checks.counts()), (vec![0, 1], vec![0, 0, 1, 0]));
    for _ in 0..20 {
        assert_eq!(call(&service).await.unwrap(), 3);
    }
    let after = listed(&registry).into_iter().map(|endpoint| endpoint.mode);
    assert_eq!(after.take(3).collect::<Vec<_>>(), modes);
}

#[tokio::test(start_paused = true)]
async fn checks_go_on_after_a_reload() {
    let servers = Servers::answering(2, MS);
    servers.set(0, Behaviour::Fails(MS));
    let registry = Registry::new();
    let layer = servers.layer(opens_at_once()).named_in(&registry, "payments").unwrap();
    fail(&servers.service(&layer), 1).await;
    let checks = Checks::new([Check::Fails; 2]);
    checks.start(&layer.handle());
    sleep(3 * SECOND + MS).await;
    let mut config = opens_at_once();
    config.circuit_breaker.window = seawall::circuit_breaker::Window::Calls(50);
    (config.max_concurrent, config.ejection.enabled) = (3, false);
    layer.reload(&config).unwrap();
    checks.set(0, Check::Passes);
    assert_eq!(open_in(&registry), [0]);
    sleep(SECOND).await;
    assert_eq!((listed(&registry)[0].breaker, checks.counts()), (State::HalfOpen, vec![4, 0]));
}

/// An invalid config keeps the former checks. Without the layer value and its services there is nothing to check.
#[tokio::test(start_paused = true)]
async fn checks_end_with_the_last_service_or_for_other_checks() {
    let servers = Servers::answering(2, MS);
    let (_registry, handle, service) = with_open(&servers, 1).await;
    let (first, second) = (Checks::new([Check::Hangs; 2]), Checks::new([Check::Hangs; 2]));
    first.start(&handle);
    sleep(SECOND + MS).await;
    assert!(handle.check(CheckConfig { interval: MS, ..every_second() }, |_| async { Ok(()) }).is_err());
    sleep(SECOND).await;
    assert_eq!((first.counts()[0], Arc::strong_count(&first.0)), (2, 2));
    second.start(&handle);
    settle().await;
    assert_eq!(Arc::strong_count(&first.0), 1, "the check that was under way is dropped, too");
    drop(handle);
    sleep(2 * SECOND + MS).await;
    assert_eq!((second.counts()[0], Arc::strong_count(&second.0)), (2, 2), "a service needs them");
    drop(service);
    settle().await;
    assert_eq!(Arc::strong_count(&second.0), 1);
}

/// Two hundred endpoints are out, and their checks hang.
#[tokio::test(start_paused = true)]
async fn checks_at_once_are_bounded_and_all_get_their_turn() {
    let servers = Servers::answering(200, MS);
    let (registry, handle, _service) = with_open(&servers, 200).await;
    let checks = Checks::new([Check::Hangs; 200]);
    checks.start(&handle);
    sleep(SECOND + MS).await;
    assert_eq!(checks.counts().iter().sum::<usize>(), 64);
    // 64 checks of half a second each: 128 in a second.
    sleep(6 * SECOND).await;
    let counts = checks.counts();
    assert!(counts.iter().all(|count| (2..=5).contains(count)), "{counts:?}");
    assert_eq!(open_in(&registry).len(), 100);
}
