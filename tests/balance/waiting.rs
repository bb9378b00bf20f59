//! Calls that wait for a permit of any endpoint.

use seawall::circuit_breaker::CircuitBreakerConfig;
use seawall::context::{self, Priority};
use seawall::deadline::DeadlineLayer;
use seawall::error::Reason;
use tokio::task::JoinHandle;
use tower::Layer;

use super::refusals::refused;
use super::*;

type Pending = JoinHandle<Result<usize, BoxError>>;

fn one_each() -> BalanceConfig {
    BalanceConfig { max_concurrent: 1, ..Default::default() }
}

async fn start(service: &Balance<Client>) -> Pending {
    let call = tokio::spawn(service.clone().oneshot(0));
    settle().await;
    call
}

#[tokio::test(start_paused = true)]
async fn full_endpoints_queue_the_call() {
    let servers = Servers::answering(2, 10 * MS);
    let service = servers.service(&servers.layer(one_each()));
    let calls: Vec<_> = (0..10).map(|_| tokio::spawn(service.clone().oneshot(0))).collect();
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert!(servers.0.iter().all(|server| server.most_running.load(Ordering::SeqCst) == 1));
}

/// One endpoint holds its call forever. The waiting calls all go to the other one.
#[tokio::test(start_paused = true)]
async fn waiting_call_takes_the_endpoint_that_is_free_first() {
    let servers = Servers::answering(2, 10 * MS);
    let layer = servers.layer(one_each());
    let (handle, service) = (layer.handle(), servers.service(&layer));
    servers.set(0, Behaviour::Hangs);
    let _running = (start(&service).await, start(&service).await);
    assert_eq!(servers.running(), [1, 1]);
    let mut waiting = Vec::new();
    for _ in 0..5 {
        waiting.push(start(&service).await);
    }
    assert_eq!((handle.in_flight(), handle.waiting()), (2, 5));
    for call in waiting {
        assert_eq!(call.await.unwrap().unwrap(), 1);
    }
    assert_eq!((handle.in_flight(), handle.waiting(), servers.running()), (1, 0, vec![1, 0]));
}

#[tokio::test(start_paused = true)]
async fn queue_is_bounded_over_all_endpoints() {
    let servers = Servers::new([Behaviour::Hangs; 2]);
    let layer = servers.layer(BalanceConfig { max_waiting: 3, ..one_each() }).named("orders").unwrap();
    let service = servers.service(&layer);
    let mut calls = Vec::new();
    for _ in 0..5 {
        calls.push(start(&service).await);
    }
    let rejected = refused(call(&service).await);
    assert_eq!((rejected.reason(), rejected.layer(), rejected.name()), (Reason::QueueFull, "balance", Some("orders")));
    assert_eq!((rejected.numbers().waiting(), rejected.numbers().limit()), (Some(3), Some(2)));
    assert!(rejected.retry_after().is_some());
    calls.into_iter().for_each(|call| call.abort());
}

#[tokio::test(start_paused = true)]
async fn waiting_call_is_refused_at_the_bound_of_its_wait() {
    let servers = Servers::new([Behaviour::Hangs]);
    let mut config = BalanceConfig { max_wait: 2 * SECOND, ..one_each() };
    config.circuit_breaker.enabled = false;
    let layer = servers.layer(config);
    let (handle, service) = (layer.handle(), servers.service(&layer));
    let _running = start(&service).await;
    let begun = Instant::now();
    assert_eq!(refused(call(&service).await).reason(), Reason::QueueTimeout);
    assert_eq!((begun.elapsed().as_secs(), handle.waiting()), (2, 0));
}

/// Calls take 100 ms, which is known. With 50 ms left a call would wait in vain.
#[tokio::test(start_paused = true)]
async fn call_that_would_start_too_late_does_not_wait() {
    let servers = Servers::answering(2, 100 * MS);
    let service = servers.service(&servers.layer(one_each()));
    for _ in 0..20 {
        call(&service).await.unwrap();
    }
    let _running = (start(&service).await, start(&service).await);
    let short = DeadlineLayer::new(50 * MS).unwrap().layer(service.clone());
    let begun = Instant::now();
    let rejected = refused(short.oneshot(0).await);
    assert_eq!((rejected.reason(), begun.elapsed()), (Reason::NotInTime, Duration::ZERO));
    let enough = DeadlineLayer::new(500 * MS).unwrap().layer(service);
    assert!(enough.oneshot(0).await.is_ok());
}

#[tokio::test(start_paused = true)]
async fn more_important_call_is_served_first() {
    let servers = Servers::answering(1, 10 * MS);
    let service = servers.service(&servers.layer(one_each()));
    let _running = start(&service).await;
    let begun = Instant::now();
    let with = |priority| {
        let service = service.clone();
        tokio::spawn(context::with_priority(priority, async move {
            service.oneshot(0).await.unwrap();
            begun.elapsed()
        }))
    };
    let low = with(Priority::Low);
    settle().await;
    let high = with(Priority::High);
    settle().await;
    assert!(high.await.unwrap() < low.await.unwrap());
}

/// The endpoint hangs until its breaker sees it. Calls that wait for it are refused then, and not at the bound of their wait.
#[tokio::test(start_paused = true)]
async fn waiting_calls_are_refused_when_the_last_breaker_opens() {
    let servers = Servers::new([Behaviour::Hangs]);
    let circuit_breaker = CircuitBreakerConfig { slow_after: Some(SECOND), minimum_calls: 5, ..Default::default() };
    let config = BalanceConfig { circuit_breaker, max_concurrent: 5, max_wait: 60 * SECOND, ..Default::default() };
    let layer = servers.layer(config);
    let (handle, service) = (layer.handle(), servers.service(&layer));
    let mut running = Vec::new();
    for _ in 0..5 {
        running.push(start(&service).await);
    }
    let begun = Instant::now();
    let rejected = refused(call(&service).await);
    assert_eq!(rejected.reason(), Reason::NoEndpoints);
    assert!(begun.elapsed() < 10 * SECOND && handle.waiting() == 0, "{:?}", begun.elapsed());
}

/// One endpoint is full for good and the other one open. No new call comes: the waiting one is the probe after the break.
#[tokio::test(start_paused = true)]
async fn waiting_call_becomes_the_probe() {
    seawall::seed(1);
    let servers = Servers::new([Behaviour::Hangs, Behaviour::Fails(MS)]);
    let circuit_breaker = CircuitBreakerConfig {
        consecutive_failures: Some(1),
        slow_after: Some(60 * SECOND),
        break_duration: 3 * SECOND,
        jitter: 0.0,
        ..Default::default()
    };
    let service =
        servers.service(&servers.layer(BalanceConfig { circuit_breaker, max_wait: 20 * SECOND, ..one_each() }));
    let _running = (start(&service).await, start(&service).await);
    sleep(2 * MS).await;
    servers.set(1, Behaviour::Answers(MS));
    let begun = Instant::now();
    assert_eq!(call(&service).await.unwrap(), 1);
    assert_eq!(begun.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn new_permits_go_to_waiting_calls() {
    let servers = Servers::new([Behaviour::Hangs; 3]);
    let layer = servers.layer(one_each());
    let (handle, service) = (layer.handle(), servers.service(&layer));
    handle.set_endpoints([Endpoint::new("0")]).unwrap();
    let mut calls = Vec::new();
    for _ in 0..6 {
        calls.push(start(&service).await);
    }
    assert_eq!((servers.running(), handle.waiting()), (vec![1, 0, 0], 5));
    handle.set_endpoints([Endpoint::new("0"), Endpoint::new("1")]).unwrap();
    settle().await;
    assert_eq!((servers.running(), handle.waiting()), (vec![1, 1, 0], 4), "an endpoint that joins");
    layer.reload(&BalanceConfig { max_concurrent: 2, ..layer.config() }).unwrap();
    settle().await;
    assert_eq!((servers.running(), handle.waiting()), (vec![2, 2, 0], 2), "a higher limit");
    calls.into_iter().for_each(|call| call.abort());
    settle().await;
    assert_eq!((servers.running(), handle.in_flight(), handle.waiting()), (vec![0, 0, 0], 0, 0));
}

/// Slow start shapes the choice. It holds up no call while there are free permits.
#[tokio::test(start_paused = true)]
async fn endpoint_that_starts_slowly_takes_all_waiting_calls() {
    let servers = Servers::new([Behaviour::Hangs; 2]);
    let layer = servers.layer(BalanceConfig { max_concurrent: 20, ..Default::default() });
    let (handle, service) = (layer.handle(), servers.service(&layer));
    handle.set_endpoints([Endpoint::new("0")]).unwrap();
    let mut calls = Vec::new();
    for _ in 0..30 {
        calls.push(start(&service).await);
    }
    assert_eq!((servers.running(), handle.waiting()), (vec![20, 0], 10));
    handle.set_endpoints([Endpoint::new("0"), Endpoint::new("1")]).unwrap();
    settle().await;
    assert_eq!((servers.running(), handle.waiting()), (vec![20, 10], 0));
    calls.into_iter().for_each(|call| call.abort());
    settle().await;
    assert_eq!((handle.in_flight(), handle.waiting()), (0, 0));
}

/// After a rollout all endpoints are new. There is no better one for the calls that wait.
#[tokio::test(start_paused = true)]
async fn replaced_endpoints_take_waiting_calls_at_once() {
    let servers = Servers::answering(2, 100 * MS);
    let layer = servers.layer(BalanceConfig { max_concurrent: 20, ..Default::default() });
    let (handle, service) = (layer.handle(), servers.service(&layer));
    handle.set_endpoints([Endpoint::new("0")]).unwrap();
    handle.set_endpoints([Endpoint::new("1")]).unwrap();
    let begun = Instant::now();
    let calls: Vec<_> = (0..40).map(|_| tokio::spawn(service.clone().oneshot(0))).collect();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap(), 1);
    }
    assert_eq!(begun.elapsed().as_millis() / 100, 2);
}

/// A call that has just been granted a permit is dropped: the next one gets it.
#[tokio::test(start_paused = true)]
async fn permit_of_a_dropped_waiting_call_goes_to_the_next() {
    let servers = Servers::answering(1, 10 * MS);
    let layer = servers.layer(one_each());
    let (handle, service) = (layer.handle(), servers.service(&layer));
    let running = start(&service).await;
    let mut granted = tokio_test::task::spawn(service.clone().oneshot(0));
    tokio_test::assert_pending!(granted.poll());
    let next = start(&service).await;
    running.await.unwrap().unwrap();
    assert!(granted.is_woken());
    drop(granted);
    assert_eq!(next.await.unwrap().unwrap(), 0);
    assert_eq!((handle.in_flight(), handle.waiting()), (0, 0));
}

/// On real threads, with calls that are dropped at random: no permit is lost, and no limit exceeded.
#[test]
fn permits_survive_threads_and_cancellation() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_time().build().unwrap();
    runtime.block_on(async {
        let servers = Servers::answering(3, Duration::from_micros(200));
        let layer = servers.layer(BalanceConfig { max_concurrent: 2, ..Default::default() });
        let (handle, service) = (layer.handle(), servers.service(&layer));
        let caller = |n: u64| {
            let service = service.clone();
            async move {
                let mut random = fastrand::Rng::with_seed(n);
                for _ in 0..60 {
                    let patience = Duration::from_micros(random.u64(0..8000));
                    let _ = tokio::time::timeout(patience, service.clone().oneshot(0)).await;
                }
            }
        };
        let callers: Vec<_> = (0..24).map(|n| tokio::spawn(caller(n))).collect();
        for caller in callers {
            caller.await.unwrap();
        }
        assert_eq!((handle.in_flight(), handle.waiting(), servers.running()), (0, 0, vec![0; 3]));
        assert!(servers.0.iter().all(|server| server.most_running.load(Ordering::SeqCst) <= 2));
        call(&service).await.unwrap();
    });
}

/// Calls of 5 ms at 200 a second; all endpoints hang for the 2 s that calls have. Of the calls that waited only the first have no
/// time left: the queue is served four times as fast as it grew.
#[tokio::test(start_paused = true)]
async fn queue_behind_a_short_hang_is_served() {
    let servers = Servers::answering(4, 5 * MS);
    let mut config = one_each();
    config.circuit_breaker.enabled = false;
    let layer = servers.layer(config);
    let service = DeadlineLayer::new(2 * SECOND).unwrap().layer(servers.service(&layer));
    let mut calls = Vec::new();
    for n in 0..1000 {
        let hangs = (400..404).contains(&n);
        let behaviour = if hangs { Behaviour::Hangs } else { Behaviour::Answers(5 * MS) };
        (0..4).for_each(|server| servers.set(server, behaviour));
        calls.push(tokio::spawn(service.clone().oneshot(n)));
        settle().await;
        if !hangs {
            tokio::time::sleep(5 * MS).await;
        }
    }
    let mut failed = 0;
    for call in calls {
        failed += usize::from(call.await.unwrap().is_err());
    }
    assert!(failed <= 4 + 8, "{failed}");
}

/// No endpoint is healthy, and all of them are used. Calls that wait are not refused as if there were hardly any.
#[tokio::test(start_paused = true)]
async fn calls_wait_for_endpoints_that_are_used_for_want_of_others() {
    seawall::seed(1);
    let servers = Servers::answering(2, 100 * MS);
    let layer = servers.layer(BalanceConfig { max_concurrent: 4, ..BalanceConfig::default() });
    let service = seawall::deadline::DeadlineLayer::new(500 * MS).unwrap();
    let service = tower::Layer::layer(&service, servers.service(&layer));
    load(service.clone(), 40, SECOND).await;
    for endpoint in ["0", "1"] {
        assert!(layer.handle().set_mode(endpoint, seawall::balance::EndpointMode::Draining));
    }
    let calls: Vec<_> = (0..24).map(|_| tokio::spawn(service.clone().oneshot(0))).collect();
    for call in calls {
        assert!(call.await.unwrap().is_ok());
    }
}
