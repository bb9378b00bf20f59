//! Open and half-open breakers: what they leave of the capacity and of the tiers.

use seawall::balance::EndpointMode;
use seawall::circuit_breaker::CircuitBreakerConfig;
use seawall::deadline::DeadlineLayer;
use seawall::error::Reason;
use tower::Layer;

use super::refusals::refused;
use super::*;

/// A breaker opens at the first failure, for 30 s.
pub(super) fn opens_at_once() -> BalanceConfig {
    let circuit_breaker = CircuitBreakerConfig {
        consecutive_failures: Some(1),
        break_duration: 30 * SECOND,
        jitter: 0.0,
        ..Default::default()
    };
    BalanceConfig { circuit_breaker, ..Default::default() }
}

pub(super) async fn fail(service: &Balance<Client>, mut times: usize) {
    while times > 0 {
        times -= usize::from(call(service).await.is_err());
    }
}

fn fail_first(servers: &Servers, number: usize) {
    (0..number).for_each(|server| servers.set(server, Behaviour::Fails(MS)));
}

/// Nine of ten breakers are open. Half a second is enough for five calls of 100 ms each, and not for fifty.
#[tokio::test(start_paused = true)]
async fn open_breakers_do_not_count_in_the_expected_wait() {
    seawall::seed(1);
    let servers = Servers::answering(10, 100 * MS);
    fail_first(&servers, 9);
    let layer = servers.layer(BalanceConfig { max_concurrent: 1, max_wait: 500 * MS, ..opens_at_once() });
    let (handle, service) = (layer.handle(), servers.service(&layer));
    fail(&service, 9).await;
    for _ in 0..20 {
        assert_eq!(call(&service).await.unwrap(), 9);
    }
    let calls: Vec<_> = (0..30).map(|_| tokio::spawn(service.clone().oneshot(0))).collect();
    settle().await;
    assert_eq!(handle.in_flight(), 1);
    assert!((3..=6).contains(&handle.waiting()), "{} wait, the others are refused at once", handle.waiting());
    calls.into_iter().for_each(|call| call.abort());
}

/// Eight of ten breakers of the first tier are open: 140 % of two tenths stay there.
#[tokio::test(start_paused = true)]
async fn standby_joins_when_breakers_of_the_first_tier_open() {
    seawall::seed(1);
    let servers = Servers::answering(12, MS);
    fail_first(&servers, 8);
    let layer = servers.layer(opens_at_once());
    let service = servers.service(&layer);
    let tiers = servers.endpoints().into_iter().enumerate();
    layer.handle().set_endpoints(tiers.map(|(i, endpoint)| endpoint.with_tier(u8::from(i >= 10)))).unwrap();
    fail(&service, 8).await;
    let before: usize = servers.calls()[10..].iter().sum();
    for _ in 0..1000 {
        call(&service).await.unwrap();
    }
    let standby = servers.calls()[10..].iter().sum::<usize>() - before;
    assert!(standby.abs_diff(720) < 60, "{standby} of 1000");
}

/// The standby gets all calls meanwhile. The first tier comes back by the probes that it gets.
#[tokio::test(start_paused = true)]
async fn half_open_endpoint_of_a_tier_without_a_share_gets_probes() {
    seawall::seed(1);
    let servers = Servers::answering(3, MS);
    fail_first(&servers, 2);
    let layer = servers.layer(opens_at_once());
    let service = servers.service(&layer);
    let tiers = servers.endpoints().into_iter().zip([0, 0, 1]).map(|(endpoint, tier)| endpoint.with_tier(tier));
    layer.handle().set_endpoints(tiers).unwrap();
    fail(&service, 2).await;
    let before = servers.calls();
    for _ in 0..100 {
        assert_eq!(call(&service).await.unwrap(), 2);
    }
    assert_eq!(servers.calls()[..2], before[..2]);
    [0, 1].into_iter().for_each(|server| servers.set(server, Behaviour::Answers(MS)));
    sleep(30 * SECOND).await;
    // Longer than the slow start of the tier.
    for _ in 0..100 {
        call(&service).await.unwrap();
        sleep(SECOND / 5).await;
    }
    let before = servers.calls();
    for _ in 0..100 {
        assert!(call(&service).await.unwrap() < 2);
    }
    assert!(servers.calls()[0] > before[0] && servers.calls()[1] > before[1], "{:?}", servers.calls());
}

/// A half-open breaker refuses calls with less time than an answer may take. Its endpoint has most of the weight, so that it is chosen
/// first. The endpoint after it in the set is a standby by hand.
#[tokio::test(start_paused = true)]
async fn half_open_refusal_chooses_again_by_load_and_tier() {
    seawall::seed(1);
    let servers = Servers::answering(5, MS);
    let mut config = opens_at_once();
    config.circuit_breaker.slow_after = Some(SECOND);
    let layer = servers.layer(config);
    let (handle, service) = (layer.handle(), servers.service(&layer));
    let weights = servers.endpoints().into_iter().zip([1000.0, 1.0, 1.0, 1.0, 1.0]);
    handle.set_endpoints(weights.map(|(endpoint, weight)| endpoint.with_weight(weight))).unwrap();
    assert!(handle.set_mode("1", EndpointMode::Standby));
    fail_first(&servers, 1);
    fail(&service, 1).await;
    servers.set(0, Behaviour::Answers(MS));
    sleep(40 * SECOND).await;
    // The first probe has a minute, and more probes are wanted.
    assert_eq!(call(&service).await.unwrap(), 0);
    let before = servers.calls();
    let short = DeadlineLayer::new(200 * MS).unwrap().layer(service);
    for _ in 0..300 {
        assert_ne!(short.clone().oneshot(0).await.unwrap(), 0);
    }
    let calls: Vec<_> = servers.calls().iter().zip(before).map(|(after, before)| after - before).collect();
    assert!(calls[1] == 0 && calls[2..].iter().all(|calls| calls.abs_diff(100) < 30), "{calls:?}");
}

/// Calls take a second, and all permits are in use: while an endpoint refuses connections, calls would go there as it is never full.
#[tokio::test(start_paused = true)]
async fn endpoint_that_refuses_connections_is_given_up_soon() {
    seawall::seed(1);
    let servers = Servers::answering(2, SECOND);
    let config = BalanceConfig { max_concurrent: 10, ..BalanceConfig::default() };
    let (_, service) = unreachable::service(&servers, config);
    assert!(load(service.clone(), 15, 10 * SECOND).await.iter().all(|(_, _, result)| result.is_ok()));
    servers.set(0, Behaviour::Fails(MS));
    let before = servers.calls()[0];
    let results = load(service.clone(), 15, 10 * SECOND).await;
    let tried = servers.calls()[0] - before;
    assert!(tried <= 20, "{tried} calls at the endpoint that takes none");
    let failed =
        results.iter().filter(|(_, _, result)| result.as_ref().is_err_and(|e| e.to_string() == "out of order"));
    assert!(failed.count() <= 20);
    servers.set(0, Behaviour::Answers(SECOND));
    sleep(5 * SECOND).await;
    let results = load(service, 15, 20 * SECOND).await;
    let late = results.iter().filter(|(begun, _, _)| *begun > 10 * SECOND);
    assert!(late.into_iter().all(|(_, _, result)| result.is_ok()), "it is back");
}

/// A connection that ends gracefully gives back the calls that it has not taken, and the next call succeeds.
#[tokio::test(start_paused = true)]
async fn calls_that_a_connection_gives_back_at_once_open_no_breaker() {
    let servers = Servers::answering(1, MS);
    let (_, service) = unreachable::service(&servers, BalanceConfig::default());
    for _ in 0..20 {
        assert!(service.clone().oneshot(0).await.is_ok());
        sleep(SECOND).await;
        servers.set(0, Behaviour::Fails(MS));
        let calls: Vec<_> = (0..50).map(|_| tokio::spawn(service.clone().oneshot(0))).collect();
        for call in calls {
            assert_eq!(call.await.unwrap().unwrap_err().to_string(), "out of order");
        }
        servers.set(0, Behaviour::Answers(MS));
    }
}

/// The break of the second endpoint ends while a call that hangs has its only permit, so that the waiting call is no probe then. It is
/// once the permit is released.
#[tokio::test(start_paused = true)]
async fn permit_released_at_a_half_open_endpoint_wakes_the_waiting_call() {
    let servers = Servers::answering(2, MS);
    let mut config = BalanceConfig { max_concurrent: 2, max_wait: 1000 * SECOND, ..opens_at_once() };
    config.circuit_breaker.max_hold = 1000 * SECOND;
    let layer = servers.layer(config.clone());
    let (handle, service) = (layer.handle(), servers.service(&layer));
    assert!(handle.set_mode("0", EndpointMode::Isolated));
    servers.set(1, Behaviour::Hangs);
    let hangs = tokio::spawn(service.clone().oneshot(0));
    settle().await;
    servers.set(1, Behaviour::Fails(MS));
    fail(&service, 1).await;
    assert!(handle.set_mode("0", EndpointMode::Serving));
    config.max_concurrent = 1;
    layer.reload(&config).unwrap();
    servers.set(0, Behaviour::Answers(500 * SECOND));
    let long = tokio::spawn(service.clone().oneshot(0));
    settle().await;
    assert_eq!(servers.running(), [1, 1]);

    servers.set(1, Behaviour::Answers(MS));
    let waits = tokio::spawn(service.clone().oneshot(0));
    sleep(60 * SECOND).await;
    assert_eq!((handle.waiting(), servers.running()), (1, vec![1, 1]), "the break is over");
    let released = Instant::now();
    hangs.abort();
    assert_eq!(waits.await.unwrap().unwrap(), 1);
    assert!(released.elapsed() < SECOND, "{:?}", released.elapsed());
    assert_eq!(long.await.unwrap().unwrap(), 0);
}

/// Timers of a runtime that has shut down fire at once: a call that waits for the end of a break must not poll one in a loop.
#[test]
fn wait_for_a_break_in_a_shut_down_runtime_ends_at_once() {
    let ended = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build().unwrap();
    let handle = ended.handle().clone();
    let servers = Servers::answering(2, MS);
    let config = BalanceConfig { max_concurrent: 1, max_wait: 1000 * SECOND, ..opens_at_once() };
    let service = servers.service(&servers.layer(config));
    let [mut hangs, mut waits] = [0, 1].map(|n| Box::pin(service.clone().oneshot(n)));
    ended.block_on(async {
        fail_first(&servers, 1);
        fail(&service, 1).await;
        servers.set(1, Behaviour::Hangs);
        assert!(futures::poll!(&mut hangs).is_pending());
        assert!(futures::poll!(&mut waits).is_pending());
    });
    drop(ended);
    let _inside = handle.enter();
    let context = &mut Context::from_waker(std::task::Waker::noop());
    match waits.as_mut().poll(context) {
        Poll::Ready(result) => assert_eq!(refused(result).reason(), Reason::QueueTimeout),
        Poll::Pending => panic!("nothing would wake it"),
    }
}

/// Calls that are not repeated fail at an endpoint that answers each with an error. Probes there must not cost many of them.
#[tokio::test(start_paused = true)]
async fn endpoint_that_keeps_failing_costs_few_calls() {
    for per_second in [10, 50, 200] {
        seawall::seed(1);
        let servers = Servers::answering(3, 30 * MS);
        let service = servers.service(&servers.layer(BalanceConfig::default()));
        load(service.clone(), per_second, 10 * SECOND).await;
        servers.set(0, Behaviour::Fails(MS));
        load(service.clone(), per_second, 10 * SECOND).await;
        let results = load(service, per_second, 120 * SECOND).await;
        let failed = results.iter().filter(|(_, _, result)| result.is_err()).count();
        assert!(16 * failed <= results.len(), "{failed} of {} calls, {per_second} a second", results.len());
    }
}
