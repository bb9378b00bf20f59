//! A gate that is switched off passes all calls. It can be switched on and off while calls are in flight.

use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
use tokio::time::sleep;
use tower::{Layer, ServiceExt};

use crate::{MS, SECOND, reason, sleeper};

#[tokio::test(start_paused = true)]
async fn disabled_bulkhead_passes_all_and_counts_none() {
    let off = BulkheadConfig { enabled: false, max_concurrent: 1, max_waiting: 0, ..Default::default() };
    let on = BulkheadConfig { enabled: true, ..off.clone() };
    let layer = BulkheadLayer::new(off.clone()).unwrap();
    let (handle, service) = (layer.handle(), layer.layer(sleeper()));
    let spawn = || tokio::spawn(service.clone().oneshot(SECOND));

    let before: Vec<_> = (0..5).map(|_| spawn()).collect();
    sleep(MS).await;
    assert_eq!((handle.in_flight(), handle.waiting(), handle.limit()), (0, 0, 1));

    layer.reload(&on).unwrap();
    let counted = spawn();
    sleep(MS).await;
    assert_eq!(handle.in_flight(), 1);
    assert!(reason(service.clone().oneshot(SECOND).await).is_some(), "one at a time");

    layer.reload(&off).unwrap();
    let after: Vec<_> = (0..5).map(|_| spawn()).collect();
    sleep(MS).await;
    assert_eq!(handle.in_flight(), 1, "the call from before the reload");
    for call in before.into_iter().chain([counted]).chain(after) {
        call.await.unwrap().unwrap();
    }
    assert_eq!(handle.in_flight(), 0, "its permit was released");

    layer.reload(&on).unwrap();
    let _counted = spawn();
    sleep(MS).await;
    assert!(reason(service.clone().oneshot(SECOND).await).is_some(), "one at a time again");
    assert_eq!(layer.config(), on);
}

#[tokio::test(start_paused = true)]
async fn queued_calls_pass_when_the_layer_is_switched_off() {
    let on = LoadShedConfig { max_in_flight: 1, ..Default::default() };
    let layer = LoadShedLayer::new(on.clone()).unwrap();
    let (handle, service) = (layer.handle(), layer.layer(sleeper()));
    let calls: Vec<_> = (0..4).map(|_| tokio::spawn(service.clone().oneshot(SECOND))).collect();
    sleep(MS).await;
    assert_eq!((handle.in_flight(), handle.waiting()), (1, 3));
    layer.reload(&LoadShedConfig { enabled: false, ..on.clone() }).unwrap();
    assert_eq!(handle.waiting(), 0);
    layer.reload(&on).unwrap();
    let late = tokio::spawn(service.clone().oneshot(SECOND));
    sleep(MS).await;
    assert_eq!(
        (handle.in_flight(), handle.waiting(), handle.limit()),
        (4, 1, 1),
        "calls from before the reload are counted to their end"
    );
    for call in calls.into_iter().chain([late]) {
        call.await.unwrap().unwrap();
    }
    assert_eq!((handle.in_flight(), handle.waiting()), (0, 0));
}
