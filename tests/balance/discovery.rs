//! Endpoints from a stream.

use futures::StreamExt;
use futures::channel::mpsc::unbounded;
use seawall::balance::discovered;
use seawall::deadline::DeadlineLayer;
use seawall::error::{Reason, rejection};
use seawall::registry::Registry;
use tower::Layer;
use tower::discover::Change;

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

/// A service starts before its discovery has answered.
#[tokio::test(start_paused = true)]
async fn calls_wait_for_the_first_set_of_a_stream() {
    let servers = Servers::answering(1, MS);
    let layer = BalanceLayer::new(BalanceConfig::default()).unwrap();
    let (handle, service) = (layer.handle(), servers.service(&layer));
    let refused = |error: BoxError| rejection(&error).map(|refusal| refusal.reason());
    assert_eq!(refused(call(&service).await.unwrap_err()), Some(Reason::NoEndpoints), "nothing is on its way");

    let (sender, sets) = unbounded();
    handle.follow(sets);
    let start = Instant::now();
    let calls: Vec<_> = (0..3).map(|_| tokio::spawn(service.clone().oneshot(0))).collect();
    sleep(SECOND).await;
    assert_eq!(handle.waiting(), 3);
    sender.unbounded_send(servers.endpoints()).unwrap();
    for call in calls {
        assert_eq!(call.await.unwrap().unwrap(), 0);
    }
    assert!(start.elapsed() < SECOND + 10 * MS);
}

/// The wait for a first set has the bounds of any wait, and ends when no set can come.
#[tokio::test(start_paused = true)]
async fn wait_for_the_first_set_ends() {
    let reason = |error: BoxError| rejection(&error).map(|refusal| refusal.reason());
    let servers = Servers::answering(1, MS);
    let layer = BalanceLayer::new(BalanceConfig { max_wait: SECOND, ..BalanceConfig::default() }).unwrap();
    let (handle, service) = (layer.handle(), servers.service(&layer));
    let (sender, sets) = unbounded();
    handle.follow(sets);
    let start = Instant::now();
    let error = call(&service).await.unwrap_err();
    let refusal = rejection(&error).unwrap();
    assert_eq!((refusal.reason(), refusal.numbers().endpoints()), (Reason::NoEndpoints, Some(0)));
    let text = "no set of endpoints has come yet: set the endpoints, or check the stream that is followed (layer `balance`): endpoints 0";
    assert!(refusal.to_string().starts_with(text), "{refusal}");
    assert_eq!(start.elapsed(), SECOND);
    let short = DeadlineLayer::new(SECOND / 2).unwrap().layer(service.clone());
    assert_eq!(reason(short.oneshot(0).await.unwrap_err()), Some(Reason::NoEndpoints), "at its deadline");
    let waits = tokio::spawn(service.clone().oneshot(0));
    settle().await;
    drop(sender);
    assert_eq!(reason(waits.await.unwrap().unwrap_err()), Some(Reason::NoEndpoints), "the stream has ended");

    // Another stream takes over while a call waits. Then a stream panics.
    let (first, sets) = unbounded();
    handle.follow(sets);
    let waits = tokio::spawn(service.clone().oneshot(0));
    settle().await;
    handle.follow(futures::stream::poll_fn(|_| panic!("a bad stream")));
    settle().await;
    assert!(first.is_closed());
    assert_eq!(reason(waits.await.unwrap().unwrap_err()), Some(Reason::NoEndpoints));
    assert_eq!(handle.waiting(), 0);
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

/// Changes of tower's `Discover` become sets: those that are ready at once make one, and an error keeps the last.
#[tokio::test(start_paused = true)]
async fn changes_of_a_discover_are_followed_and_its_error_keeps_the_set() {
    let servers = Servers::answering(3, MS);
    let layer = BalanceLayer::new(BalanceConfig::default()).unwrap();
    let (handle, service) = (layer.handle(), servers.service(&layer));
    let (sender, changes) = unbounded::<Result<Change<u8, f64>, BoxError>>();
    handle.follow(discovered(changes, |key, weight| Endpoint::new(key.to_string()).with_weight(weight)));
    let insert = |key, weight| sender.unbounded_send(Ok(Change::Insert(key, weight))).unwrap();
    let keys = || handle.endpoints().iter().map(|endpoint| (endpoint.key().to_owned(), endpoint.weight())).collect();
    let expect = |expected: &[(&str, f64)]| {
        let keys: Vec<_> = keys();
        assert_eq!(keys.iter().map(|(key, weight)| (key.as_str(), *weight)).collect::<Vec<_>>(), expected);
    };
    insert(0, 1.0);
    insert(1, 2.0);
    settle().await;
    expect(&[("0", 1.0), ("1", 2.0)]);
    insert(0, 3.0);
    sender.unbounded_send(Ok(Change::Remove(1))).unwrap();
    settle().await;
    expect(&[("0", 3.0)]);
    sender.unbounded_send(Ok(Change::Remove(0))).unwrap();
    settle().await;
    expect(&[("0", 3.0)]);
    insert(2, 1.0);
    sender.unbounded_send(Err("unreachable".into())).unwrap();
    insert(1, 1.0);
    settle().await;
    expect(&[("2", 1.0)]);
    assert_eq!(call(&service).await.unwrap(), 2);
}

#[tokio::test(start_paused = true)]
async fn discover_yields_a_set_before_it_ends() {
    let changes = futures::stream::iter((0..3).map(|key| Ok::<_, BoxError>(Change::Insert(key, ()))));
    let mut sets = std::pin::pin!(discovered(changes, |key, ()| Endpoint::new(key.to_string())));
    assert_eq!(sets.next().await.map(|set| set.len()), Some(3));
    assert_eq!(sets.next().await, None);
    assert_eq!(sets.next().await, None);
}

/// The first stream yields a set in the very poll in which it is replaced, and once more after that.
#[tokio::test(start_paused = true)]
async fn set_of_a_replaced_stream_is_not_taken() {
    let servers = Servers::answering(1, MS);
    let layer = servers.layer(BalanceConfig::default());
    let handle = layer.handle();
    let (sender, second) = unbounded();
    let (mut second, mut stale) = (Some(second), vec![vec![Endpoint::new("stale")]; 2]);
    let replacing = handle.clone();
    handle.follow(futures::stream::poll_fn(move |_| {
        second.take().into_iter().for_each(|second| replacing.follow(second));
        stale.pop().map_or(Poll::Pending, |stale| Poll::Ready(Some(stale)))
    }));
    settle().await;
    assert_eq!(handle.endpoints(), servers.endpoints());
    sender.unbounded_send(vec![Endpoint::new("new")]).unwrap();
    settle().await;
    assert_eq!(handle.endpoints(), [Endpoint::new("new")]);
}

/// A deployment starts new instances before it stops the old ones.
#[tokio::test(start_paused = true)]
async fn discover_with_too_many_endpoints_is_bounded_and_loses_none_that_is_known() {
    let layer = BalanceLayer::new(BalanceConfig { max_endpoints: 2, ..BalanceConfig::default() }).unwrap();
    let handle = layer.handle();
    let (sender, changes) = unbounded::<Result<Change<u8, u8>, BoxError>>();
    handle.follow(discovered(changes, |key, tier| Endpoint::new(key.to_string()).with_tier(tier)));
    let insert = |key, tier| sender.unbounded_send(Ok(Change::Insert(key, tier))).unwrap();
    let remove = |key| sender.unbounded_send(Ok(Change::Remove(key))).unwrap();
    let expect = async |expected: [(u8, u8); 2]| {
        settle().await;
        let known = expected.map(|(key, tier)| Endpoint::new(key.to_string()).with_tier(tier));
        assert_eq!(handle.endpoints(), known);
    };
    (0..5).for_each(|key| insert(key, 0));
    expect([(0, 0), (1, 0)]).await;
    insert(0, 1);
    expect([(0, 1), (1, 0)]).await;
    remove(1);
    expect([(0, 1), (2, 0)]).await;
    remove(0);
    expect([(2, 0), (3, 0)]).await;
    // Number 4 was one too many, and is inserted again.
    remove(2);
    insert(4, 0);
    expect([(3, 0), (4, 0)]).await;
}

/// The stream is ready each time that it is polled.
#[tokio::test(start_paused = true)]
async fn stream_that_is_always_ready_leaves_time_to_others() {
    let layer = BalanceLayer::new(BalanceConfig::default()).unwrap();
    let handle = layer.handle();
    handle.follow(futures::stream::iter((0..1000).map(|n| vec![Endpoint::new(n.to_string())])));
    for n in 0..100 {
        tokio::task::yield_now().await;
        let taken = handle.endpoints();
        assert!(taken.iter().all(|endpoint| endpoint.key() != "999"), "after {n} turns");
    }
}
