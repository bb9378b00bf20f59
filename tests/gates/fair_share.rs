//! Keys share a queue fairly: one with too many calls, or with calls that take long, delays only its own.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use seawall::context;
use seawall::deadline::DeadlineLayer;
use seawall::fair_share::{self, FairShareLayer};
use tower::ServiceExt;

use super::*;

/// The calls of a key: so many a second, each of which takes so long.
#[derive(Clone, Copy)]
struct Load {
    key: u32,
    per_second: u32,
    takes: Duration,
}

impl Load {
    const fn of(key: u32, per_second: u32, takes: Duration) -> Self {
        Self { key, per_second, takes }
    }
}

/// For ten seconds, with three seconds for each call. Returns the share of the calls of each load that were served. Without `is_fair` no
/// call has a key.
async fn served<const N: usize>(service: &Sleeper, is_fair: bool, loads: [Load; N]) -> [f64; N] {
    let service = BoxCloneService::new(DeadlineLayer::new(3 * SECOND).unwrap().layer(service.clone()));
    let loads = loads.map(|load| {
        let service = service.clone();
        tokio::spawn(async move {
            let mut calls = Vec::new();
            for _ in 0..10 * load.per_second {
                let call = service.clone().oneshot(load.takes);
                calls.push(match is_fair {
                    true => tokio::spawn(fair_share::with_key(load.key, call)),
                    false => tokio::spawn(call),
                });
                sleep(SECOND / load.per_second).await;
            }
            let (mut served, all) = (0, calls.len());
            for call in calls {
                served += u32::from(call.await.unwrap().is_ok());
            }
            f64::from(served) / all as f64
        })
    });
    let mut shares = [0.0; N];
    for (share, load) in shares.iter_mut().zip(loads) {
        *share = load.await.unwrap();
    }
    shares
}

#[tokio::test(start_paused = true)]
async fn tenant_that_sends_ten_times_its_share_hurts_only_itself() {
    let loads = [Load::of(0, 1000, 20 * MS), Load::of(1, 100, 20 * MS), Load::of(2, 100, 20 * MS)];
    for (layer, service) in gated(10, &sleeper()) {
        let [_, small, _] = served(&service, false, loads).await;
        assert!(small < 0.6, "{layer} without keys: {small}");
    }
    for (layer, service) in gated(10, &sleeper()) {
        let [large, small, other] = served(&service, true, loads).await;
        assert!(small > 0.99 && other > 0.99, "{layer}: {small}, {other}");
        assert!((0.28..0.45).contains(&large), "{layer}: {large} of 1000, of 300 that the others leave, and the queue");
    }
}

/// The slow calls ask for 80 permits of 40, the quick ones for 16. Permits that are held are not taken away, so the quick calls wait a
/// little for slow ones to end.
#[tokio::test(start_paused = true)]
async fn route_with_expensive_calls_takes_its_share_and_no_more() {
    for (per_second, takes, least) in [(400, 200 * MS, 0.99), (80, SECOND, 0.9)] {
        let loads = [Load::of(0, per_second, takes), Load::of(1, 800, 20 * MS)];
        for (layer, service) in gated(40, &sleeper()) {
            let [_, quick] = served(&service, false, loads).await;
            assert!(quick < 0.7, "{layer} without keys, {takes:?}: {quick}");
        }
        for (layer, service) in gated(40, &sleeper()) {
            let [slow, quick] = served(&service, true, loads).await;
            assert!(quick > least, "{layer}, {takes:?}: {quick}");
            assert!(slow > 0.4, "{layer}, {takes:?}: {slow}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn key_alone_gets_all_permits() {
    for (layer, service) in gated(10, &sleeper()) {
        let [alone] = served(&service, true, [Load::of(0, 450, 20 * MS)]).await;
        assert!(alone > 0.999, "{layer}: {alone}");
    }
}

#[tokio::test(start_paused = true)]
async fn many_keys_within_capacity_lose_nothing() {
    for (layer, service) in gated(10, &sleeper()) {
        let loads = std::array::from_fn::<_, 40, _>(|key| Load::of(key as u32, 9, (5 + key as u32) * MS));
        for (key, share) in served(&service, true, loads).await.into_iter().enumerate() {
            assert!(share > 0.99, "{layer}: {share} of key {key}");
        }
    }
}

/// Calls that need the only permit, in the order in which they arrive, by key.
async fn order_of<const N: usize>(service: &Sleeper, keys: [u32; N]) -> Vec<u32> {
    let order = Arc::new(Mutex::new(Vec::new()));
    let first = tokio::spawn(service.clone().oneshot(20 * MS));
    sleep(MS).await;
    let calls = keys.map(|key| {
        let (order, call) = (Arc::clone(&order), service.clone().oneshot(20 * MS));
        tokio::spawn(async move {
            fair_share::with_key(key, call).await.unwrap();
            order.lock().unwrap().push(key);
        })
    });
    first.await.unwrap().unwrap();
    for call in calls {
        call.await.unwrap();
    }
    let order = order.lock().unwrap();
    order.clone()
}

#[tokio::test(start_paused = true)]
async fn keys_are_served_in_turn() {
    for (_, service) in gated(1, &sleeper()) {
        assert_eq!(order_of(&service, [0, 0, 1, 2]).await, [0, 1, 2, 0]);
    }
    let config = BulkheadConfig { max_concurrent: 1, ..Default::default() };
    let service = BoxCloneService::new(BulkheadLayer::new(config).unwrap().layer(sleeper()));
    assert_eq!(order_of(&service, [0, 0, 0, 0, 1, 2, 1]).await, [0, 1, 2, 0, 1, 0, 0]);
}

#[tokio::test(start_paused = true)]
async fn full_queue_displaces_a_call_of_the_key_with_the_most() {
    let config = BulkheadConfig { max_concurrent: 1, max_waiting: 3, ..Default::default() };
    let service = BoxCloneService::new(BulkheadLayer::new(config).unwrap().layer(sleeper()));
    let call = |key| tokio::spawn(fair_share::with_key(key, service.clone().oneshot(20 * MS)));
    let mut calls = Vec::new();
    for key in [0, 0, 0, 0, 1] {
        calls.push(call(key));
        tokio::task::yield_now().await;
    }
    let mut reasons = Vec::new();
    for call in calls {
        reasons.push(reason(call.await.unwrap()));
    }
    assert_eq!(reasons, [None, None, None, Some(Reason::Displaced), None]);
}

/// A key that gives up its waiting calls has paid nothing for them, and delays no other.
#[tokio::test(start_paused = true)]
async fn calls_that_leave_the_queue_cost_their_key_nothing() {
    let config = BulkheadConfig { max_concurrent: 1, ..Default::default() };
    let service = BoxCloneService::new(BulkheadLayer::new(config).unwrap().layer(sleeper()));
    let running = tokio::spawn(service.clone().oneshot(20 * MS));
    sleep(MS).await;
    let waiting = |key| tokio::spawn(fair_share::with_key(key, service.clone().oneshot(20 * MS)));
    let others: Vec<_> = (0..3).map(|_| waiting(1)).collect();
    for _ in 0..100 {
        let call = waiting(0);
        tokio::task::yield_now().await;
        call.abort();
        let _ = call.await;
    }
    let last = waiting(0);
    running.await.unwrap().unwrap();
    let started = tokio::time::Instant::now();
    last.await.unwrap().unwrap();
    assert!(started.elapsed() <= 41 * MS, "second, after the first of the other key");
    for other in others {
        other.await.unwrap().unwrap();
    }
}

/// The key of a request is that of the calls which its handler makes.
#[tokio::test(start_paused = true)]
async fn client_in_a_handler_inherits_the_key_of_the_request() {
    let config = BulkheadConfig { max_concurrent: 1, ..Default::default() };
    let client = BoxCloneService::new(BulkheadLayer::new(config).unwrap().layer(sleeper()));
    let served = Arc::new(AtomicU32::new(0));
    let handler = {
        let (client, served) = (client.clone(), Arc::clone(&served));
        service_fn(move |tenant: u32| {
            let (client, served) = (client.clone(), Arc::clone(&served));
            // Spawned work takes its context along.
            tokio::spawn(context::carry(async move {
                client.oneshot(20 * MS).await.unwrap();
                let before = served.fetch_add(1, Ordering::Relaxed);
                (tenant, before)
            }))
        })
    };
    let service = FairShareLayer::by(|tenant: &u32| *tenant).layer(handler);
    let mut answers = Vec::new();
    for tenant in [0, 0, 0, 0, 1] {
        answers.push(tokio::spawn(service.clone().oneshot(tenant)));
        tokio::task::yield_now().await;
    }
    let mut order = Vec::new();
    for answer in answers {
        order.push(answer.await.unwrap().unwrap());
    }
    assert!(order.contains(&(1, 2)), "the first is running and the second has waited longer: {order:?}");
}

/// The shares of the calls that are served if the permits go to each key in turn, and what one does not use to the others.
fn fair_shares<const N: usize>(permits: f64, asked: [f64; N]) -> [f64; N] {
    let mut order: Vec<usize> = (0..N).collect();
    order.sort_by(|a, b| asked[*a].total_cmp(&asked[*b]));
    let (mut left, mut shares) = (permits, [0.0; N]);
    for (place, key) in order.into_iter().enumerate() {
        let granted = asked[key].min(left / (N - place) as f64);
        shares[key] = granted / asked[key];
        left -= granted;
    }
    shares
}

/// Whatever the loads are, a key within its share loses nothing.
#[tokio::test(start_paused = true)]
async fn each_key_has_its_fair_share_of_the_permits() {
    let mut seed = 7_u32;
    let mut draw = |below: usize| {
        seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (seed >> 8) as usize % below
    };
    for round in 0..8 {
        let loads: [Load; 4] = std::array::from_fn(|key| {
            let (takes, rates) = [
                (5, [1000, 500, 250, 100]),
                (20, [500, 250, 125, 50]),
                (80, [200, 125, 100, 10]),
                (320, [50, 40, 20, 2]),
            ][draw(4)];
            Load::of(key as u32, rates[draw(4)], takes * MS)
        });
        let expected = fair_shares(15.0, loads.map(|load| load.takes.as_secs_f64() * f64::from(load.per_second)));
        for (layer, service) in gated(15, &sleeper()) {
            let shares = served(&service, true, loads).await;
            for (share, expected) in shares.into_iter().zip(expected) {
                // Of a key with too many calls, some are begun too late.
                let least = if expected == 1.0 { 0.97 } else { 0.6 * expected };
                assert!(share > least, "{layer}, round {round}: {shares:?}, one of them {expected}");
            }
        }
    }
}

/// Slow calls ahead hold few of the permits: a call with a short deadline need not wait for all of their time.
#[tokio::test(start_paused = true)]
async fn quick_key_with_short_deadlines_waits_for_no_slow_one() {
    for is_fair in [false, true] {
        for (layer, service) in gated(40, &sleeper()) {
            let hasty = BoxCloneService::new(DeadlineLayer::new(300 * MS).unwrap().layer(service.clone()));
            let slow = served(&service, is_fair, [Load::of(0, 8, SECOND)]);
            let quick = served(&hasty, is_fair, [Load::of(1, 1400, 20 * MS)]);
            let ([slow], [quick]) = tokio::join!(slow, quick);
            assert!(quick > 0.99 && slow > 0.99, "{layer}, {is_fair}: {quick} {slow}");
        }
    }
}
