//! What a caller gets if no endpoint takes the call, and what a cancelled call leaves behind.

use seawall::circuit_breaker::CircuitBreakerConfig;
use seawall::deadline::DeadlineLayer;
use seawall::error::{Reason, Rejected, rejection};
use tokio_test::{assert_pending, task::spawn};
use tower::Layer;

use super::*;

pub(crate) fn refused(result: Result<usize, BoxError>) -> Rejected {
    rejection(&result.expect_err("a refusal")).expect("of seawall").clone()
}

#[tokio::test(start_paused = true)]
async fn empty_set_is_a_typed_refusal() {
    let servers = Servers::answering(1, MS);
    let layer = BalanceLayer::new(BalanceConfig::default()).unwrap();
    let service = servers.service(&layer);
    let rejected = refused(call(&service).await);
    assert_eq!((rejected.reason(), rejected.layer()), (Reason::NoEndpoints, "balance"));
    assert_eq!(rejected.numbers().endpoints(), Some(0));
    assert!(rejected.retry_after().is_some());
    layer.handle().set_endpoints(servers.endpoints()).unwrap();
    assert_eq!(call(&service).await.unwrap(), 0, "the service follows the set");
}

#[tokio::test(start_paused = true)]
async fn open_breakers_of_all_endpoints_are_a_refusal_with_the_next_probe() {
    let servers = Servers::new([Behaviour::Fails(MS); 2]);
    let circuit_breaker = CircuitBreakerConfig { minimum_calls: 3, jitter: 0.0, ..Default::default() };
    let service = servers.service(&servers.layer(BalanceConfig { circuit_breaker, ..Default::default() }));
    for _ in 0..20 {
        let _ = call(&service).await;
    }
    let calls = servers.calls();
    let rejected = refused(call(&service).await);
    let numbers = rejected.numbers();
    assert_eq!((rejected.reason(), numbers.endpoints(), numbers.open()), (Reason::NoEndpoints, Some(2), Some(2)));
    assert_eq!(rejected.retry_after(), numbers.next_probe());
    assert!(rejected.to_string().contains("endpoints 2, open 2, ejected 0, next probe in"), "{rejected}");
    assert_eq!(servers.calls(), calls, "nothing was sent");
    [0, 1].into_iter().for_each(|server| servers.set(server, Behaviour::Answers(MS)));
    sleep(SECOND).await;
    assert!(call(&service).await.is_ok(), "a probe");
}

/// A half-open endpoint has one slot for a probe, and free permits. The other calls wait at the full endpoint, whose breaker is closed.
#[tokio::test(start_paused = true)]
async fn half_open_endpoint_without_a_free_slot_is_passed_over() {
    seawall::seed(1);
    let servers = Servers::answering(2, MS);
    let circuit_breaker = CircuitBreakerConfig { consecutive_failures: Some(1), ..Default::default() };
    let mut config = BalanceConfig { circuit_breaker, ..Default::default() };
    config.max_concurrent = 4;
    let service = servers.service(&servers.layer(config));
    servers.set(0, Behaviour::Fails(MS));
    while call(&service).await.is_ok() {}
    servers.set(0, Behaviour::Hangs);
    // The break is over, and the estimate of its cost is stale, so that it is tried again.
    sleep(6 * SECOND).await;
    let calls: Vec<_> = (0..40).map(|_| tokio::spawn(service.clone().oneshot(0))).collect();
    settle().await;
    assert_eq!(servers.running(), [1, 4]);
    let mut answered = 0;
    for call in calls {
        if let Ok(result) = tokio::time::timeout(SECOND, call).await {
            assert_eq!(result.unwrap().unwrap(), 1, "no call is refused");
            answered += 1;
        }
    }
    assert_eq!(answered, 39);
}

/// A half-open breaker refuses a call with less time than an answer may take, as it is no probe. The endpoint looks usable until then.
#[tokio::test(start_paused = true)]
async fn call_without_time_for_a_probe_goes_to_another_endpoint() {
    seawall::seed(1);
    let servers = Servers::answering(2, 10 * MS);
    let circuit_breaker =
        CircuitBreakerConfig { consecutive_failures: Some(1), slow_after: Some(SECOND), ..Default::default() };
    let mut config = BalanceConfig { circuit_breaker, ..Default::default() };
    config.max_concurrent = 1;
    let service = servers.service(&servers.layer(config));
    servers.set(0, Behaviour::Fails(MS));
    while call(&service).await.is_ok() {}
    servers.set(0, Behaviour::Answers(10 * MS));
    // The break is over, and the estimate of its cost is stale. The first probe has a minute, and more probes are wanted.
    sleep(6 * SECOND).await;
    let before = servers.calls()[0];
    while servers.calls()[0] == before {
        call(&service).await.unwrap();
    }
    let before = servers.calls()[0];
    let short = DeadlineLayer::new(200 * MS).unwrap().layer(service);
    let calls: Vec<_> = (0..4).map(|_| tokio::spawn(short.clone().oneshot(0))).collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap(), 1);
    }
    assert_eq!(servers.calls()[0], before);
}

#[tokio::test(start_paused = true)]
async fn dropped_call_releases_its_endpoint() {
    let servers = Servers::new([Behaviour::Hangs]);
    let config = BalanceConfig { max_concurrent: 1, ..Default::default() };
    let layer = servers.layer(config);
    let (handle, service) = (layer.handle(), servers.service(&layer));
    let mut running = spawn(service.clone().oneshot(0));
    assert_pending!(running.poll());
    let mut waiting = spawn(service.clone().oneshot(0));
    assert_pending!(waiting.poll());
    assert_eq!((handle.in_flight(), handle.waiting(), servers.running()), (1, 1, vec![1]));
    drop(waiting);
    assert_eq!((handle.in_flight(), handle.waiting()), (1, 0));
    drop(running);
    assert_eq!((handle.in_flight(), servers.running()), (0, vec![0]));
    servers.set(0, Behaviour::Answers(MS));
    assert_eq!(call(&service).await.unwrap(), 0);
}
