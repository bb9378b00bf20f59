//! The calls of suspects that wait: their bounds and their order; reloads.

use seawall::deadline::DeadlineLayer;

use super::*;

#[tokio::test(start_paused = true)]
async fn waiting_ends_at_the_deadline_and_at_the_bound() {
    let config = QuarantineConfig { max_waiting: 3, max_hold: SECOND, max_turn: 60 * SECOND, ..Default::default() };
    let (_layer, _registry, mut servers, _) = world(config.clone());
    servers.latency = 30 * SECOND;
    let service = layer(config).layer(servers.balance());
    suspect(&servers, &service).await;
    let mut turn = spawn(DeadlineLayer::new(60 * SECOND).unwrap().layer(service.clone()).oneshot("a"));
    assert!(turn.poll().is_pending());
    let start = Instant::now();
    let with_deadline = DeadlineLayer::new(300 * MS).unwrap().layer(service.clone()).oneshot("a");
    let without = service.clone().oneshot("a");
    let (mut with_deadline, mut without) = (spawn(with_deadline), spawn(without));
    assert!(with_deadline.poll().is_pending() && without.poll().is_pending());
    let too_many = service.clone().oneshot("a").await;
    assert_eq!((reason(&too_many), start.elapsed()), (Some(Reason::QueueFull), Duration::ZERO));
    let text = too_many.unwrap_err().to_string();
    assert!(text.starts_with("too many calls wait while requests like this one are sent one at a time"), "{text}");
    assert!(with_deadline.await.is_err());
    assert!(start.elapsed() <= 302 * MS, "{:?}", start.elapsed());
    let late = without.await;
    assert_eq!(reason(&late), Some(Reason::QueueTimeout));
    let text = late.unwrap_err().to_string();
    assert!(
        text.starts_with("the turn did not come in time while requests like this one are sent one at a time"),
        "{text}"
    );
    assert!(start.elapsed() <= SECOND + 2 * MS, "{:?}", start.elapsed());
    drop(turn);
}

#[tokio::test(start_paused = true)]
async fn hot_suspect_leaves_room_for_other_suspects() {
    let (_layer, registry, servers, service) =
        world(QuarantineConfig { max_waiting: 16, max_turn: 60 * SECOND, ..Default::default() });
    let mut first = ["a", "b"].map(|path| spawn(service.clone().oneshot(path)));
    first.iter_mut().for_each(|call| assert!(call.poll().is_pending()));
    servers.all.iter().for_each(|server| server.crashes.send_modify(|crashes| *crashes += 1));
    for call in first {
        assert_eq!(call.await.unwrap_err().to_string(), "lost");
    }
    let mut calls: Vec<_> = (0..100).map(|_| spawn(service.clone().oneshot("a"))).collect();
    let refused = calls.iter_mut().filter_map(|call| match call.poll() {
        std::task::Poll::Ready(answer) => Some(reason(&answer)),
        std::task::Poll::Pending => None,
    });
    let refused: Vec<_> = refused.collect();
    assert_eq!(refused, [Some(Reason::QueueFull); 91]);
    let mut others: Vec<_> = (0..3).map(|_| spawn(service.clone().oneshot("b"))).collect();
    assert!(others.iter_mut().all(|call| call.poll().is_pending()));
    assert_eq!(condition(&registry).waiting, 10);
}

/// A place in the queue is free soon, and another tier may try.
#[tokio::test(start_paused = true)]
async fn only_a_quarantine_says_do_not_retry() {
    let (_layer, registry, servers, service) =
        world(QuarantineConfig { max_waiting: 0, max_turn: 60 * SECOND, ..Default::default() });
    suspect(&servers, &service).await;
    let mut turn = spawn(service.clone().oneshot("a"));
    assert!(turn.poll().is_pending());
    let tried = Arc::new(AtomicUsize::new(0));
    let (seen, inner) = (Arc::clone(&tried), service.clone());
    let counted = tower::service_fn(move |path: Path| {
        seen.fetch_add(1, Ordering::SeqCst);
        inner.clone().oneshot(path)
    });
    let outer = retry(CloneRequest::idempotent()).layer(counted);
    assert_eq!(reason(&outer.clone().oneshot("a").await), Some(Reason::QueueFull));
    drop(turn);
    quarantine(&registry, async || drop(service.clone().oneshot(POISON).await)).await;
    tried.store(0, Ordering::SeqCst);
    assert!(is_quarantined(&outer.oneshot(POISON).await));
    assert_eq!(tried.load(Ordering::SeqCst), 1);
}

#[tokio::test(start_paused = true)]
async fn new_call_does_not_overtake_those_that_wait() {
    let (_layer, _registry, servers, service) = world(QuarantineConfig::default());
    suspect(&servers, &service).await;
    let mut turn = spawn(service.clone().oneshot("a"));
    let mut waiting = spawn(service.clone().oneshot("a"));
    assert!(turn.poll().is_pending() && waiting.poll().is_pending());
    let before = servers.calls();
    drop(turn);
    let mut new = spawn(service.clone().oneshot("a"));
    assert!(new.poll().is_pending());
    assert_eq!(servers.calls(), before, "the new call waits, too");
    assert!(waiting.poll().is_pending());
    assert_eq!(servers.calls() - before, 1);
    assert_eq!((waiting.await.unwrap(), new.await.unwrap()), ("a", "a"));
}

/// A call that is next, and whose task does not run, holds up the others for one turn at most.
#[tokio::test(start_paused = true)]
async fn waiting_call_that_is_not_polled_is_passed_over() {
    let (_layer, _registry, servers, service) = world(QuarantineConfig::default());
    suspect(&servers, &service).await;
    let mut turn = spawn(service.clone().oneshot("a"));
    let mut parked = spawn(service.clone().oneshot("a"));
    assert!(turn.poll().is_pending() && parked.poll().is_pending());
    let start = Instant::now();
    drop(turn);
    assert_eq!(service.clone().oneshot("a").await.unwrap(), "a");
    assert!(start.elapsed() <= SECOND + 15 * MS, "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn reload_of_max_turn_applies_to_the_turn_in_progress() {
    let (layer, _registry, servers, service) = world(QuarantineConfig { max_turn: 60 * SECOND, ..Default::default() });
    suspect(&servers, &service).await;
    let mut turn = spawn(service.clone().oneshot("a"));
    let mut waiting = spawn(service.clone().oneshot("a"));
    assert!(turn.poll().is_pending() && waiting.poll().is_pending());
    layer.reload(&QuarantineConfig { max_turn: MS, ..layer.config() }).unwrap();
    assert!(waiting.is_woken());
    let start = Instant::now();
    assert_eq!(waiting.await.unwrap(), "a");
    assert!(start.elapsed() <= 20 * MS, "{:?}", start.elapsed());
    drop(turn);
}

#[tokio::test(start_paused = true)]
async fn disabling_lets_waiting_calls_go_and_forgets() {
    let (layer, registry, servers, service) = world(QuarantineConfig::default());
    suspect(&servers, &service).await;
    let before = servers.calls();
    let mut calls: Vec<_> = (0..5).map(|_| spawn(service.clone().oneshot("a"))).collect();
    calls.iter_mut().for_each(|call| assert!(call.poll().is_pending()));
    assert_eq!(servers.calls() - before, 1);
    layer.reload(&QuarantineConfig { enabled: false, ..layer.config() }).unwrap();
    assert!(calls[1..].iter().all(|call| call.is_woken()));
    calls.iter_mut().for_each(|call| assert!(call.poll().is_pending()));
    assert_eq!((servers.calls() - before, condition(&registry).enabled), (5, false));
    // What is lost now does not count.
    servers.all.iter().for_each(|server| server.crash());
    assert_eq!(tally(futures::future::join_all(calls).await), [0, 0, 5]);
    assert_eq!((condition(&registry).suspects, condition(&registry).quarantined), (0, 0));
    layer.reload(&QuarantineConfig::default()).unwrap();
    sleep(RESTART).await;
    assert_eq!(service.oneshot("a").await.unwrap(), "a");
}

#[tokio::test(start_paused = true)]
async fn reload_applies_to_calls_in_flight_and_keeps_quarantines() {
    let (layer, registry, servers, service) = world(QuarantineConfig { duration: 480 * SECOND, ..Default::default() });
    suspect(&servers, &service).await;
    let mut call = spawn(service.clone().oneshot("a"));
    assert!(call.poll().is_pending());
    layer.reload(&QuarantineConfig { endpoints: 3, ..layer.config() }).unwrap();
    servers.all.iter().for_each(|server| server.crashes.send_modify(|crashes| *crashes += 1));
    assert!(call.await.is_err());
    assert_eq!(condition(&registry).quarantined, 0, "two are not enough any more");
    quarantine(&registry, async || suspect(&servers, &service).await).await;
    layer.reload(&QuarantineConfig { duration: SECOND, ..layer.config() }).unwrap();
    sleep(30 * SECOND).await;
    // The first quarantine is an eighth of the duration.
    assert!(is_quarantined(&service.clone().oneshot("a").await), "its end stays");
    let invalid = layer.reload(&QuarantineConfig { endpoints: 1, ..layer.config() });
    assert!(invalid.is_err() && layer.config().endpoints == 3);
}

/// Another request is lost where the suspect was: the endpoint crashes without the suspect, too. Once it had its time to answer, whatever
/// comes next finds that out, and the calls that wait go on at once.
#[tokio::test(start_paused = true)]
async fn explained_loss_wakes_the_calls_that_wait() {
    for found_by in ["a loss", "several losses", "an answer", "a new call", "a waiting call"] {
        let layer = layer(QuarantineConfig { max_turn: 60 * SECOND, ..Default::default() });
        let service = |latency| {
            let servers = Servers::new(1, latency);
            (layer.layer(servers.balance()), servers)
        };
        let [(broken, crashing), (other, lost), (fine, _), (hanging, hung)] =
            [10 * MS, 10 * MS, MS, 60 * SECOND].map(service);
        *crashing.all[0].is_broken.lock().unwrap() = true;
        assert!(broken.clone().oneshot("a").await.is_err());
        sleep(20 * MS).await;
        let mut turn = spawn(hanging.clone().oneshot("a"));
        let mut waiting = [(); 2].map(|()| spawn(hanging.clone().oneshot("a")));
        assert!(turn.poll().is_pending() && waiting.iter_mut().all(|call| call.poll().is_pending()));
        assert!(broken.clone().oneshot("b").await.is_err());
        let explained = Instant::now() + SECOND;
        // Another suspect, by a loss elsewhere.
        let mut call = spawn(other.clone().oneshot("x"));
        assert!(call.poll().is_pending());
        sleep(5 * MS).await;
        lost.all[0].crash();
        assert!(call.await.is_err());
        let mut others = [(); 2].map(|()| spawn(hanging.clone().oneshot("x")));
        if found_by == "a waiting call" {
            assert!(others.iter_mut().all(|call| call.poll().is_pending()));
        }
        if found_by == "several losses" {
            for path in ["c", "d", "e"] {
                assert!(waiting.iter().all(|call| !call.is_woken()), "{found_by}");
                assert!(broken.clone().oneshot(path).await.is_err());
            }
            assert!(Instant::now() < explained);
        } else {
            tokio::time::sleep_until(explained).await;
            assert!(waiting.iter().all(|call| !call.is_woken()), "{found_by}");
            match found_by {
                "a loss" => assert!(broken.clone().oneshot("c").await.is_err()),
                "an answer" => assert_eq!(fine.oneshot("c").await.unwrap(), "c"),
                _ => assert!(others[1].poll().is_pending()),
            }
        }
        assert!(waiting.iter().all(|call| call.is_woken()), "{found_by}");
        let before = hung.calls();
        assert!(waiting.iter_mut().all(|call| call.poll().is_pending()));
        assert_eq!(hung.calls() - before, 2, "{found_by}: both are sent");
        drop(turn);
    }
}
