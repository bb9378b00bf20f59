//! Suspects take turns; the window, the end of a quarantine and cancellation.

use super::*;

#[tokio::test(start_paused = true)]
async fn suspect_is_sent_one_at_a_time_until_it_succeeds() {
    let (_layer, registry, servers, service) = world(QuarantineConfig::default());
    suspect(&servers, &service).await;
    assert_eq!(condition(&registry).suspects, 1);
    let before = servers.calls();
    let start = Instant::now();
    let mut calls: Vec<_> = (0..10).map(|_| spawn(service.clone().oneshot("a"))).collect();
    calls.iter_mut().for_each(|call| assert!(call.poll().is_pending()));
    assert_eq!((servers.calls() - before, condition(&registry).waiting), (1, 9));
    assert_eq!(service.clone().oneshot("b").await.unwrap(), "b", "others are sent");
    let answers = futures::future::join_all(calls).await;
    assert_eq!(tally(answers), [10, 0, 0]);
    assert!(start.elapsed() <= 25 * MS, "{:?}", start.elapsed());
    assert_eq!((condition(&registry).suspects, condition(&registry).waiting), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn dropped_call_gives_its_turn_back() {
    let (_layer, registry, servers, service) = world(QuarantineConfig::default());
    suspect(&servers, &service).await;
    let mut turn = spawn(service.clone().oneshot("a"));
    assert!(turn.poll().is_pending());
    let mut waiting = [(); 3].map(|()| spawn(service.clone().oneshot("a")));
    waiting.iter_mut().for_each(|call| assert!(call.poll().is_pending()));
    let before = servers.calls();
    drop(turn);
    assert_eq!([0, 1, 2].map(|call: usize| waiting[call].is_woken()), [true, false, false]);
    // The woken one is dropped in its turn.
    let [first, mut second, third] = waiting;
    drop(first);
    assert!(second.is_woken());
    assert!(second.poll().is_pending());
    assert_eq!(servers.calls() - before, 1);
    drop(third);
    assert_eq!(second.await.unwrap(), "a");
    assert_eq!((condition(&registry).suspects, condition(&registry).waiting), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn call_dropped_at_any_poll_holds_no_turn() {
    for polls in 0..6 {
        let (_layer, registry, servers, service) = world(QuarantineConfig::default());
        suspect(&servers, &service).await;
        let mut first = spawn(service.clone().oneshot("a"));
        let mut second = spawn(service.clone().oneshot("a"));
        for _ in 0..polls {
            let _ = (first.poll(), second.poll());
            sleep(3 * MS).await;
            if first.is_woken() {
                break;
            }
        }
        drop(first);
        drop(second);
        assert_eq!(condition(&registry).waiting, 0);
        assert_eq!(service.oneshot("a").await.unwrap(), "a", "after {polls} polls");
        assert_eq!(condition(&registry).suspects, 0);
    }
}

#[tokio::test(start_paused = true)]
async fn hanging_call_keeps_its_turn_for_a_while() {
    let config = QuarantineConfig { max_turn: 2 * SECOND, ..QuarantineConfig::default() };
    let (_layer, _registry, mut servers, service) = world(config.clone());
    suspect(&servers, &service).await;
    let slow = layer(config);
    servers.latency = 7 * SECOND;
    let slow_service = slow.layer(servers.balance());
    suspect(&servers, &slow_service).await;
    let before = servers.calls();
    let start = Instant::now();
    let calls: Vec<_> = (0..20).map(|_| tokio::spawn(slow_service.clone().oneshot("a"))).collect();
    for sent in 1..=3 {
        sleep(SECOND).await;
        assert_eq!(servers.calls() - before, sent);
        sleep(SECOND).await;
    }
    let answers = futures::future::join_all(calls).await.into_iter().map(Result::unwrap);
    assert_eq!(tally(answers), [20, 0, 0]);
    assert!(start.elapsed() < 15 * SECOND, "all are sent once the first has succeeded");
}

#[tokio::test(start_paused = true)]
async fn losses_outside_of_the_window_do_not_count() {
    let (_layer, registry, servers, service) = world(QuarantineConfig { window: 10 * SECOND, ..Default::default() });
    for _ in 0..5 {
        assert!(!is_quarantined(&service.clone().oneshot(POISON).await));
        sleep(10 * SECOND).await;
    }
    assert_eq!((servers.crashes().1, condition(&registry).quarantines), (5, 0));
}

#[tokio::test(start_paused = true)]
async fn end_of_quarantine_lets_one_call_through_first() {
    let config = QuarantineConfig { duration: 160 * SECOND, ..QuarantineConfig::default() };
    let (_layer, registry, servers, service) = world(config);
    let all = || async {
        let calls = (0..20).map(|_| tokio::spawn(service.clone().oneshot(POISON)));
        tally(futures::future::join_all(calls).await.into_iter().map(Result::unwrap))
    };
    quarantine(&registry, async || drop(service.clone().oneshot(POISON).await)).await;
    let killed = servers.crashes().1;
    // An eighth of the duration.
    sleep(19 * SECOND).await;
    assert_eq!((all().await, servers.crashes().1), ([0, 20, 0], killed));
    sleep(SECOND).await;
    // One call of those is sent. Its loss begins another quarantine, and the others are refused.
    assert_eq!((all().await, servers.crashes().1), ([0, 19, 1], killed + 1));
    assert_eq!((condition(&registry).quarantined, condition(&registry).quarantines), (1, 2));
    assert_eq!((all().await, servers.crashes().1), ([0, 20, 0], killed + 1));
}

#[tokio::test(start_paused = true)]
async fn quarantine_that_ends_in_a_success_is_over() {
    let (_layer, registry, servers, service) = world(QuarantineConfig::default());
    quarantine(&registry, async || suspect(&servers, &service).await).await;
    assert!(is_quarantined(&service.clone().oneshot("a").await));
    sleep(60 * SECOND).await;
    let calls = (0..20).map(|_| tokio::spawn(service.clone().oneshot("a")));
    let answers = futures::future::join_all(calls).await.into_iter().map(Result::unwrap);
    assert_eq!(tally(answers), [20, 0, 0]);
    assert_eq!((condition(&registry).suspects, condition(&registry).quarantined), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn flood_of_fingerprints_is_bounded() {
    let config = QuarantineConfig { max_fingerprints: 16, duration: 480 * SECOND, ..QuarantineConfig::default() };
    let registry = Registry::new();
    let servers = Servers::new(64, MS);
    let layer = named(layer(config), &registry);
    let service = layer.layer(servers.balance());
    quarantine(&registry, async || drop(service.clone().oneshot(POISON).await)).await;
    // So that what follows at the same endpoints explains nothing.
    sleep(11 * SECOND).await;
    for number in 0..1000 {
        let path: Path = Box::leak(format!("{POISON} {number}").into_boxed_str());
        let _ = service.clone().oneshot(path).await;
        sleep(10 * MS).await;
        let condition = condition(&registry);
        assert!(condition.suspects + condition.quarantined <= 16, "{condition:?}");
    }
    assert!(is_quarantined(&service.clone().oneshot(POISON).await), "the flood has ended no quarantine");
}
