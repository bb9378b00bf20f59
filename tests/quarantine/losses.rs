//! Which losses count: dead connections, calls that waited in a queue, successes of earlier calls.

use super::*;

impl Servers {
    /// The connections of all servers break while `path` is in flight, and no server crashes.
    async fn break_connections(&self, service: &Balanced, path: Path) {
        let mut call = spawn(service.clone().oneshot(path));
        assert!(call.poll().is_pending());
        self.all.iter().for_each(|server| server.crashes.send_modify(|_| ()));
        assert_eq!(call.await.unwrap_err().to_string(), "lost");
    }
}

/// A firewall has dropped the idle connections: one call is lost at each of two endpoints, and neither has crashed.
#[tokio::test(start_paused = true)]
async fn answer_after_dead_connections_ends_the_quarantine() {
    let (_layer, registry, servers, service) = world(QuarantineConfig::default());
    quarantine(&registry, async || servers.break_connections(&service, "a").await).await;
    assert!(is_quarantined(&service.clone().oneshot("a").await));
    // Other requests, which reach all endpoints within the second.
    for _ in 0..100 {
        assert_eq!(service.clone().oneshot("b").await.unwrap(), "b");
        if condition(&registry).quarantined == 0 {
            break;
        }
    }
    assert_eq!(service.oneshot("a").await.unwrap(), "a");
    assert_eq!((servers.crashes().0, condition(&registry).suspects), (0, 0));
}

/// Without other traffic the first quarantine is short.
#[tokio::test(start_paused = true)]
async fn first_quarantine_is_an_eighth_of_the_duration() {
    let (_layer, registry, servers, service) = world(QuarantineConfig::default());
    quarantine(&registry, async || servers.break_connections(&service, "a").await).await;
    sleep(7 * SECOND).await;
    assert!(is_quarantined(&service.clone().oneshot("a").await));
    sleep(SECOND).await;
    assert_eq!(service.oneshot("a").await.unwrap(), "a");
    assert_eq!((condition(&registry).suspects, condition(&registry).quarantined), (0, 0));
}

/// It was sent after the first loss, though it arrived before.
#[tokio::test(start_paused = true)]
async fn call_that_waited_in_the_balancer_counts_from_its_dispatch() {
    let servers = Servers::new(2, 10 * MS);
    let registry = Registry::new();
    let service = named(layer(QuarantineConfig::default()), &registry).layer(servers.balance_with(BalanceConfig {
        max_concurrent: 1,
        max_waiting: 10,
        max_wait: SECOND,
        ..BalanceConfig::default()
    }));
    let mut blocking = spawn(service.clone().oneshot("b"));
    let mut first = spawn(service.clone().oneshot(POISON));
    let mut queued = spawn(service.clone().oneshot(POISON));
    assert!(blocking.poll().is_pending() && first.poll().is_pending() && queued.poll().is_pending());
    assert_eq!(servers.calls(), 2, "one waits for a permit");
    let answers = futures::future::join3(blocking, first, queued).await;
    assert!(answers.0.is_ok() && answers.1.is_err() && answers.2.is_err());
    assert_eq!((servers.crashes(), condition(&registry).quarantined), ((2, 2), 1));
}

/// It says nothing about the requests that were lost later.
#[tokio::test(start_paused = true)]
async fn success_of_an_earlier_call_does_not_end_a_quarantine() {
    let (_layer, registry, mut servers, service) = world(QuarantineConfig::default());
    servers.latency = 5 * SECOND;
    let slow = layer(QuarantineConfig::default());
    let handle = slow.handle();
    let fast = slow.layer(Servers { latency: 10 * MS, ..servers.clone() }.balance());
    let separate = Servers::new(1, 5 * SECOND);
    let slow = slow.layer(separate.balance());
    let mut early = spawn(slow.oneshot("a"));
    assert!(early.poll().is_pending());
    sleep(MS).await;
    for _ in 0..50 {
        servers.break_connections(&fast, "a").await;
        if handle.quarantined() == 1 {
            break;
        }
    }
    assert_eq!(handle.quarantined(), 1);
    assert_eq!(early.await.unwrap(), "a");
    assert!(is_quarantined(&fast.oneshot("a").await));
    drop((registry, service));
}
