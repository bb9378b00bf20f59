use std::future::ready;
use std::num::NonZeroU32;

use futures::poll;
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer, Order};
use seawall::error::Reason;
use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
use tokio::time::{Instant, advance, sleep};
use tower::{BoxError, Layer, ServiceExt, service_fn};

use crate::*;

fn config(max_concurrent: u32) -> BulkheadConfig {
    BulkheadConfig { max_concurrent, ..Default::default() }
}

#[tokio::test(start_paused = true)]
async fn more_permits_admit_queued_calls() {
    let layer = BulkheadLayer::new(config(1)).unwrap();
    let (handle, service) = (layer.handle(), layer.layer(silent()));
    let calls: Vec<_> = (0..5).map(|n| tokio::spawn(service.clone().oneshot(n))).collect();
    tokio::task::yield_now().await;
    assert_eq!((handle.in_flight(), handle.waiting()), (1, 4));
    layer.clone().reload(&config(3)).unwrap();
    tokio::task::yield_now().await;
    assert_eq!((handle.in_flight(), handle.waiting(), handle.limit()), (3, 2, 3));
    calls.iter().for_each(|call| call.abort());
}

#[tokio::test(start_paused = true)]
async fn fewer_permits_are_reached_as_calls_end() {
    let layer = BulkheadLayer::new(config(4)).unwrap();
    let (handle, service) = (layer.handle(), layer.layer(silent()));
    let mut calls: Vec<_> = (0..4).map(|n| Box::pin(service.clone().oneshot(n))).collect();
    for call in &mut calls {
        assert!(poll!(call).is_pending());
    }
    layer.reload(&config(2)).unwrap();
    let mut next = Box::pin(service.clone().oneshot(4));
    assert!(poll!(&mut next).is_pending());
    for left in [3, 2] {
        drop(calls.pop());
        assert_eq!((handle.in_flight(), handle.waiting()), (left, 1));
    }
    drop(calls.pop());
    assert_eq!((handle.in_flight(), handle.waiting()), (2, 0), "the queued call has the second permit");
}

#[tokio::test(start_paused = true)]
async fn queued_calls_keep_their_wait_and_new_calls_have_the_new() {
    let layer = BulkheadLayer::new(BulkheadConfig { max_wait: SECOND, ..config(1) }).unwrap();
    let service = layer.layer(silent());
    let start = Instant::now();
    let mut calls: Vec<_> = (0..2).map(|n| Box::pin(service.clone().oneshot(n))).collect();
    for call in &mut calls {
        assert!(poll!(call).is_pending());
    }
    layer.reload(&BulkheadConfig { max_wait: 5 * SECOND, max_waiting: 2, ..config(1) }).unwrap();
    let mut later = Box::pin(service.clone().oneshot(2));
    assert!(poll!(&mut later).is_pending());
    assert_eq!(reason(service.clone().oneshot(3).await), Some(Reason::QueueFull), "two wait");
    assert_eq!(reason(calls.pop().unwrap().await), Some(Reason::QueueTimeout));
    assert_eq!(start.elapsed(), SECOND);
    assert_eq!(reason(later.await), Some(Reason::QueueTimeout));
    assert_eq!(start.elapsed(), 5 * SECOND);
}

#[tokio::test(start_paused = true)]
async fn running_call_keeps_its_max_hold() {
    let layer = BulkheadLayer::new(BulkheadConfig { max_hold: SECOND, ..config(2) }).unwrap();
    let service = layer.layer(silent());
    let mut old = Box::pin(service.clone().oneshot(0));
    assert!(poll!(&mut old).is_pending());
    layer.reload(&BulkheadConfig { max_hold: 3 * SECOND, ..config(2) }).unwrap();
    let mut new = Box::pin(service.clone().oneshot(1));
    assert!(poll!(&mut new).is_pending());
    let start = Instant::now();
    assert_eq!(reason(old.await), Some(Reason::HoldExceeded));
    assert_eq!(start.elapsed(), SECOND);
    assert_eq!(reason(new.await), Some(Reason::HoldExceeded));
    assert_eq!(start.elapsed(), 3 * SECOND);
}

/// A new order moves no queued call. Calls that come later line up by the new order behind them.
#[tokio::test(start_paused = true)]
async fn new_order_applies_to_later_calls() {
    let layer = BulkheadLayer::new(config(1)).unwrap();
    let log = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let writes = log.clone();
    let service = layer.layer(service_fn(move |n: u32| {
        let log = writes.clone();
        async move {
            log.lock().unwrap().push(n);
            sleep(10 * MS).await;
            Ok::<_, BoxError>(n)
        }
    }));
    let mut calls = Vec::new();
    for (order, numbers) in [(Order::Fifo, 0..3), (Order::Lifo, 3..5), (Order::Fifo, 5..7)] {
        layer.reload(&BulkheadConfig { order, ..config(1) }).unwrap();
        for n in numbers {
            calls.push(tokio::spawn(service.clone().oneshot(n)));
            tokio::task::yield_now().await;
        }
    }
    for call in calls {
        call.await.unwrap().unwrap();
    }
    assert_eq!(*log.lock().unwrap(), [0, 4, 3, 1, 2, 5, 6]);
}

#[tokio::test(start_paused = true)]
async fn manual_limit_holds_until_the_configured_one_changes() {
    let layer = BulkheadLayer::new(config(8)).unwrap();
    let handle = layer.handle();
    handle.set_limit(NonZeroU32::new(3).unwrap());
    layer.reload(&BulkheadConfig { max_waiting: 7, ..config(8) }).unwrap();
    assert_eq!((handle.limit(), layer.config().max_waiting), (3, 7));
    layer.reload(&config(9)).unwrap();
    assert_eq!(handle.limit(), 9);

    let layer = LoadShedLayer::new(LoadShedConfig::default()).unwrap();
    let handle = layer.handle();
    handle.set_limit(NonZeroU32::MIN);
    layer.reload(&LoadShedConfig { queue_ratio: 1.0, ..Default::default() }).unwrap();
    assert_eq!(handle.limit(), 1);
    layer.reload(&LoadShedConfig { max_in_flight: 5, ..Default::default() }).unwrap();
    assert_eq!(handle.limit(), 5);
}

#[tokio::test(start_paused = true)]
async fn shedder_applies_a_shorter_queue_at_once() {
    let config = LoadShedConfig { max_in_flight: 2, queue_ratio: 2.0, ..Default::default() };
    let layer = LoadShedLayer::new(config.clone()).unwrap();
    let (handle, service) = (layer.handle(), layer.layer(silent()));
    let mut calls: Vec<_> = (0..5).map(|n| Box::pin(service.clone().oneshot(n))).collect();
    for call in &mut calls {
        assert!(poll!(call).is_pending());
    }
    layer.reload(&LoadShedConfig { queue_ratio: 0.5, ..config.clone() }).unwrap();
    assert_eq!(reason(service.clone().oneshot(9).await), Some(Reason::QueueFull));
    assert_eq!(handle.waiting(), 3, "no queued call is refused");
    layer.reload(&LoadShedConfig { queue_ratio: 2.0, ..config }).unwrap();
    let mut next = Box::pin(service.clone().oneshot(9));
    assert!(poll!(&mut next).is_pending());
}

/// The estimate of the service time survives a reload.
#[tokio::test(start_paused = true)]
async fn service_time_estimate_survives() {
    let layer = LoadShedLayer::new(LoadShedConfig::default()).unwrap();
    let service = layer.layer(service_fn(|ms: u32| async move {
        sleep(ms * MS).await;
        Ok::<_, BoxError>(ms)
    }));
    for _ in 0..20 {
        service.clone().oneshot(500).await.unwrap();
    }
    layer.reload(&LoadShedConfig { max_in_flight: 1, ..Default::default() }).unwrap();
    let mut busy = Box::pin(service.clone().oneshot(500));
    assert!(poll!(&mut busy).is_pending());
    advance(MS).await;
    let late = seawall::deadline::DeadlineLayer::new(100 * MS).unwrap().layer(service.clone());
    assert_eq!(reason(late.oneshot(1).await), Some(Reason::NotInTime));
}

/// The values that builder methods make share the reloaded config, as clones do.
#[tokio::test(start_paused = true)]
async fn layer_made_of_a_reloaded_one_has_the_new_config() {
    let layer = BulkheadLayer::new(config(8)).unwrap();
    layer.reload(&config(2)).unwrap();
    let keyed = layer.keyed_by(|n: &u32| *n);
    assert_eq!((keyed.handle().limit(), keyed.config().max_concurrent), (2, 2));
    keyed.layer(service_fn(|n: u32| ready(Ok::<_, BoxError>(n)))).oneshot(1).await.unwrap();
}
