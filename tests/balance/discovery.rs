//! Endpoints from a stream.

use futures::channel::mpsc::unbounded;
use seawall::registry::Registry;

use super::*;

#[tokio::test(start_paused = true)]
async fn sets_of_a_stream_are_taken_and_bad_ones_are_not() {
    let servers = Servers::answering(3, MS);
    let registry = Registry::new();
    let layer = BalanceLayer::new(BalanceConfig::default()).unwrap().named_in(&registry, "payments").unwrap();
    let (handle, service) = (layer.handle(), servers.service(&layer));
    let (sender, sets) = unbounded();
    handle.follow(sets);
    let all = servers.endpoints();
    sender.unbounded_send(vec![all[0].clone()]).unwrap();
    settle().await;
    assert_eq!(call(&service).await.unwrap(), 0);
    for bad in [vec![], vec![all[1].clone(), all[1].clone()], vec![all[2].clone().with_weight(f64::NAN)]] {
        sender.unbounded_send(bad).unwrap();
        settle().await;
        assert_eq!(handle.endpoints(), all[..1]);
    }
    sender.unbounded_send(vec![all[2].clone()]).unwrap();
    settle().await;
    assert_eq!(call(&service).await.unwrap(), 2);
    drop(sender);
    settle().await;
    assert_eq!(call(&service).await.unwrap(), 2, "the last set stays");
}

#[tokio::test(start_paused = true)]
async fn stream_is_dropped_with_the_last_service_or_for_another_stream() {
    let servers = Servers::answering(1, MS);
    let layer = servers.layer(BalanceConfig::default());
    let service = servers.service(&layer);
    let (first, sets) = unbounded();
    layer.handle().follow(sets);
    let (second, sets) = unbounded();
    layer.handle().follow(sets);
    settle().await;
    assert!(first.is_closed() && !second.is_closed());
    drop(layer);
    settle().await;
    assert!(!second.is_closed(), "a service still needs it");
    drop(service);
    settle().await;
    assert!(second.is_closed());
}

/// Sets change all the time, under load: no call fails, and nothing is left.
#[tokio::test(start_paused = true)]
async fn hundred_changes_under_load_fail_no_call() {
    seawall::seed(1);
    let servers = Servers::answering(5, 7 * MS);
    let layer = servers.layer(BalanceConfig::default());
    let handle = layer.handle();
    let all = servers.endpoints();
    let changes = async {
        for n in 0..100_usize {
            sleep(20 * MS).await;
            let set = all.iter().enumerate().filter(|(i, _)| (n >> (i % 3)) % 2 == 0 || *i == n % 5);
            handle.set_endpoints(set.map(|(_, endpoint)| endpoint.clone())).unwrap();
        }
    };
    let (results, ()) = tokio::join!(load(servers.service(&layer), 1000, 2 * SECOND), changes);
    assert!(results.iter().all(|(.., result)| result.is_ok()));
    assert_eq!((handle.in_flight(), servers.running()), (0, vec![0; 5]));
}
