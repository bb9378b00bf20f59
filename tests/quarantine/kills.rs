//! How many instances a poisoned request kills.

use super::*;

const IDEMPOTENT: CloneRequest = CloneRequest::idempotent();

/// The recommended order: each attempt passes the quarantine.
fn inside(
    servers: &Servers,
    replay: CloneRequest,
) -> impl Service<Path, Response = &'static str, Error = BoxError, Future: Send> + Clone + Send + 'static {
    retry(replay).layer(layer(QuarantineConfig::default()).layer(servers.balance()))
}

#[tokio::test(start_paused = true)]
async fn without_the_layer_every_instance_is_killed() {
    let servers = Servers::new(8, MS);
    let service = retry(IDEMPOTENT).layer(servers.balance());
    for _ in 0..20 {
        assert!(service.clone().oneshot(POISON).await.is_err());
    }
    assert_eq!(servers.crashes().0, 8);
}

#[tokio::test(start_paused = true)]
async fn idempotent_poison_kills_two_instances() {
    let servers = Servers::new(8, MS);
    let service = inside(&servers, IDEMPOTENT);
    let first = service.clone().oneshot(POISON).await.unwrap_err();
    assert_eq!((first.to_string().as_str(), servers.crashes()), ("lost", (2, 2)));
    for _ in 0..20 {
        let answer = service.clone().oneshot(POISON).await;
        let error = answer.unwrap_err();
        let rejected = rejection(&error).expect("a refusal");
        assert_eq!((rejected.layer(), rejected.reason()), ("quarantine", Reason::Quarantined));
        let wait = rejected.retry_after().unwrap();
        assert!(wait <= 7500 * MS && wait > 7 * SECOND, "{wait:?}");
        sleep(10 * MS).await;
    }
    assert_eq!(servers.crashes(), (2, 2));
    assert_eq!(service.oneshot("status").await.unwrap(), "status", "another fingerprint");
}

#[tokio::test(start_paused = true)]
async fn other_poison_kills_one_instance_per_call_and_two_in_all() {
    let servers = Servers::new(8, MS);
    let service = inside(&servers, CloneRequest::new());
    for (call, killed) in [(1, 1), (2, 2), (3, 2), (4, 2)] {
        assert!(service.clone().oneshot(POISON).await.is_err());
        assert_eq!(servers.crashes(), (killed, killed), "after call {call}");
    }
}

/// As soon as the first loss is seen, the others wait for the one that has the turn.
#[tokio::test(start_paused = true)]
async fn many_callers_after_the_first_loss_kill_one_more() {
    for seed in 0..40 {
        seawall::seed(seed);
        let servers = Servers::new(8, 10 * MS);
        let service = inside(&servers, CloneRequest::new());
        assert!(service.clone().oneshot(POISON).await.is_err());
        let calls = (0..100).map(|_| tokio::spawn(service.clone().oneshot(POISON)));
        let answers = futures::future::join_all(calls).await.into_iter().map(Result::unwrap);
        // A call that meets the instance that is down fails for that, and the next one has the turn.
        let [answered, refused, failed] = tally(answers);
        assert!(answered == 0 && refused + failed == 100 && failed <= 8, "{seed}: {refused} {failed}");
        assert_eq!(servers.crashes(), (2, 2), "{seed}");
    }
}

/// An instance that dies at once: the second call is sent after the first was lost.
#[tokio::test(start_paused = true)]
async fn many_callers_at_once_kill_two_that_die_at_once() {
    for replay in [CloneRequest::new(), IDEMPOTENT] {
        let servers = Servers::new(8, Duration::ZERO);
        let service = inside(&servers, replay);
        let calls = (0..100).map(|_| tokio::spawn(service.clone().oneshot(POISON)));
        let answers = futures::future::join_all(calls).await.into_iter().map(Result::unwrap);
        assert_eq!(tally(answers)[0], 0);
        assert_eq!(servers.crashes(), (2, 2));
    }
}

/// What is in flight when the first loss is seen cannot be called back. One more is killed at most.
#[tokio::test(start_paused = true)]
async fn calls_in_flight_kill_their_instances_and_one_more() {
    for seed in 0..20 {
        seawall::seed(seed);
        let servers = Servers::new(8, 10 * MS);
        let service = inside(&servers, IDEMPOTENT);
        let calls = (0..3).map(|_| tokio::spawn(service.clone().oneshot(POISON)));
        let answers = futures::future::join_all(calls).await.into_iter().map(Result::unwrap);
        assert_eq!(tally(answers)[0], 0);
        for _ in 0..20 {
            assert!(service.clone().oneshot(POISON).await.is_err());
        }
        let (killed, crashes) = servers.crashes();
        assert!(killed == crashes && (2..=4).contains(&killed), "{killed} {crashes}");
    }
}

/// Around the retry it sees the losses of all attempts as well.
#[tokio::test(start_paused = true)]
async fn around_a_retry_two_instances_are_killed() {
    let servers = Servers::new(8, MS);
    let service = layer(QuarantineConfig::default()).layer(retry(IDEMPOTENT).layer(servers.balance()));
    assert!(!is_quarantined(&service.clone().oneshot(POISON).await));
    for _ in 0..20 {
        assert!(is_quarantined(&service.clone().oneshot(POISON).await));
    }
    assert_eq!(servers.crashes(), (2, 2));
}

/// The instances that are killed have other calls in flight, which are lost with the poisoned one.
#[tokio::test(start_paused = true)]
async fn poison_in_busy_traffic_is_quarantined_and_nothing_else() {
    const PATHS: &[Path] = &["a", "b", "c", "d", "e", "f"];
    let mut killed = 0;
    for seed in 0..8 {
        seawall::seed(seed);
        let servers = Servers::new(8, 10 * MS);
        let service = inside(&servers, IDEMPOTENT);
        let others = tokio::spawn(traffic(service.clone(), PATHS, 5 * MS, 2 * SECOND));
        sleep(100 * MS).await;
        let poison = traffic(service, &[POISON], 50 * MS, 1500 * MS).await[POISON];
        let others = others.await.unwrap();
        // Some are lost twice, as they would be without the layer.
        assert!(others.values().all(|[_, refused, failed]| *refused == 0 && *failed <= 2), "{others:?}");
        assert!(poison[0] == 0 && poison[1] >= 25, "{poison:?}");
        killed += servers.crashes().0;
        assert!(servers.crashes().1 <= 4, "{:?}", servers.crashes());
    }
    assert!(killed <= 8 * 5 / 2, "two, and sometimes a third: {killed}");
}
