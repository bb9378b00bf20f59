//! Evidence from bodies: a stalled body counts against the dependency, a slow reader does not.

use std::time::Duration;

use http_body_util::BodyExt;
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::circuit_breaker::{CircuitBreakerConfig, State};
use seawall::deadline::DeadlineLayer;
use seawall::error::Reason;
use tokio::time::{Instant, sleep, timeout};
use tower::Layer;

use crate::client::{Settings, Stack, boxed, drain, get, hyper, refusal, until};
use crate::servers::{Answer, Protocol, Rest, Server};

both_protocols!(
    abandoned_calls_to_a_hanging_dependency_open_it,
    abandoned_stalled_bodies_open_the_breaker,
    bodies_stalled_until_the_deadline_open_the_breaker,
    broken_body_is_a_failure,
    slow_reader_opens_nothing,
    body_parked_until_its_cut_opens_nothing,
    body_dropped_at_once_opens_nothing,
    queue_estimate_uses_the_permit_time,
);

const SLOW: Duration = Duration::from_millis(50);
const CALLS: usize = 12;

/// Without retries, so that one call is one attempt.
fn stack(protocol: Protocol, deadline: Duration) -> Stack {
    slow_after(SLOW, protocol, deadline)
}

fn slow_after(slow: Duration, protocol: Protocol, deadline: Duration) -> Stack {
    let mut settings = Settings::lasting(deadline);
    settings.retry.max_attempts = 1;
    settings.breaker =
        CircuitBreakerConfig { slow_after: Some(slow), minimum_calls: 10, ..CircuitBreakerConfig::default() };
    Stack::new(protocol, settings)
}

async fn abandoned_calls_to_a_hanging_dependency_open_it(protocol: Protocol) {
    let server = Server::answering(protocol, Rest::Silence).await;
    let stack = stack(protocol, Duration::from_secs(5));
    let calls = (0..CALLS).map(|_| timeout(2 * SLOW, stack.get(&server)));
    assert!(futures::future::join_all(calls).await.iter().all(Result::is_err));
    assert_eq!(stack.breaker.state(), State::Open, "{:?}", stack.breaker.snapshot());
    until(|| server.open() == 0).await;
}

async fn abandoned_stalled_bodies_open_the_breaker(protocol: Protocol) {
    let server = Server::answering(protocol, Rest::Stall).await;
    let stack = stack(protocol, Duration::from_secs(5));
    let calls = (0..CALLS).map(|_| async {
        let mut body = stack.get(&server).await.unwrap().into_body();
        assert!(timeout(3 * SLOW, drain(&mut body)).await.is_err());
    });
    futures::future::join_all(calls).await;
    assert_eq!(stack.breaker.state(), State::Open, "{:?}", stack.breaker.snapshot());
    until(|| server.open() == 0).await;
}

async fn bodies_stalled_until_the_deadline_open_the_breaker(protocol: Protocol) {
    let server = Server::answering(protocol, Rest::Stall).await;
    let stack = stack(protocol, 3 * SLOW);
    let calls = (0..CALLS).map(|_| async {
        let mut body = stack.get(&server).await.unwrap().into_body();
        let error = drain(&mut body).await.unwrap_err();
        assert_eq!(refusal(&error).map(|(_, reason)| reason), Some(Reason::DeadlineExceeded));
    });
    futures::future::join_all(calls).await;
    assert_eq!(stack.breaker.state(), State::Open, "{:?}", stack.breaker.snapshot());
}

async fn broken_body_is_a_failure(protocol: Protocol) {
    for rest in [Rest::Reset, Rest::Close] {
        let server = Server::answering(protocol, rest.clone()).await;
        let stack = stack(protocol, Duration::from_secs(5));
        for n in 1..10 {
            let mut body = stack.get(&server).await.unwrap().into_body();
            let error = drain(&mut body).await.expect_err("the body breaks off");
            assert_eq!(refusal(&error), None, "{rest:?}: the error is the connection's own");
            let snapshot = stack.breaker.snapshot();
            assert_eq!((snapshot.calls, snapshot.failures, snapshot.in_flight), (n, n, 0), "{rest:?}");
        }
        let mut body = stack.get(&server).await.unwrap().into_body();
        drain(&mut body).await.unwrap_err();
        assert_eq!(stack.breaker.state(), State::Open, "{rest:?}");
        assert_eq!(stack.bulkhead.in_flight(), 0);
    }
}

/// Long enough that not all frames are ready when the reader comes back.
fn long() -> Rest {
    Rest::Whole(vec![b'x'; 1 << 20].into())
}

async fn slow_reader_opens_nothing(protocol: Protocol) {
    let server = Server::answering(protocol, long()).await;
    // A busy machine delays a reader too, but not for that long.
    let slow = 10 * SLOW;
    let stack = slow_after(slow, protocol, Duration::from_secs(10));
    let calls = (0..CALLS).map(|_| async {
        let mut body = stack.get(&server).await.unwrap().into_body();
        for _ in 0..4 {
            sleep(slow / 2).await;
            body.frame().await.unwrap().unwrap();
        }
        drain(&mut body).await.unwrap();
    });
    futures::future::join_all(calls).await;
    let snapshot = stack.breaker.snapshot();
    assert_eq!((snapshot.state, snapshot.failures, snapshot.slow), (State::Closed, 0, 0));
    assert_eq!(snapshot.calls, CALLS as u64);
}

async fn body_parked_until_its_cut_opens_nothing(protocol: Protocol) {
    let server = Server::answering(protocol, Rest::Stall).await;
    // Thirty heads at once may take a while.
    let stack = slow_after(20 * SLOW, protocol, 24 * SLOW);
    let parked = futures::future::join_all((0..30).map(|_| stack.get(&server))).await;
    until(|| server.open() == 0).await;
    let snapshot = stack.breaker.snapshot();
    assert_eq!(
        (snapshot.state, snapshot.failures, snapshot.slow),
        (State::Closed, 0, 0),
        "no reader waited for the dependency"
    );
    assert_eq!(snapshot.in_flight, 0);
    drop(parked);
    assert_eq!(stack.breaker.snapshot(), snapshot, "each call was recorded once");
}

async fn body_dropped_at_once_opens_nothing(protocol: Protocol) {
    let server = Server::answering(protocol, Rest::Stall).await;
    let stack = slow_after(20 * SLOW, protocol, Duration::from_secs(5));
    for _ in 0..30 {
        drop(stack.get(&server).await.unwrap());
    }
    assert_eq!(stack.breaker.state(), State::Closed, "{:?}", stack.breaker.snapshot());
    assert_eq!((stack.breaker.snapshot().in_flight, stack.bulkhead.in_flight()), (0, 0));
    until(|| server.open() == 0).await;
}

/// How long a call with `time` left stays in the queue of a bulkhead after calls like `before`: until it has just the
/// time left that a call needs.
async fn queues_for<F>(
    protocol: Protocol,
    rest: Rest,
    time: Duration,
    before: impl Fn(crate::client::Body) -> F,
) -> Duration
where
    F: Future<Output = ()>,
{
    let script = move |n| Answer::of(if n < CALLS { rest.clone() } else { Rest::Stall });
    let server = Server::scripted(protocol, script).await;
    let bulkhead = BulkheadLayer::http(BulkheadConfig { max_concurrent: 1, ..BulkheadConfig::default() }).unwrap();
    let calls = boxed(bulkhead.layer(hyper(protocol)));
    for _ in 0..CALLS {
        before(get(&calls, &server).await.unwrap().into_body()).await;
    }
    let _occupied = get(&calls, &server).await.unwrap();
    let in_a_hurry = boxed(DeadlineLayer::http(time).unwrap().layer(bulkhead.layer(hyper(protocol))));
    let start = Instant::now();
    let error = get(&in_a_hurry, &server).await.unwrap_err();
    assert_eq!(refusal(&error), Some(("bulkhead", Reason::NotInTime)));
    start.elapsed()
}

/// The queue estimates the wait from how long permits are held, whatever holds them.
async fn queue_estimate_uses_the_permit_time(protocol: Protocol) {
    let time = Duration::from_millis(80);
    let whole = || Rest::Whole("well".into());
    let waited = queues_for(protocol, whole(), time, |mut body| async move {
        drain(&mut body).await.unwrap();
    })
    .await;
    assert!(waited >= time / 2, "the call waits nearly to its deadline: {waited:?}");

    let waited = queues_for(protocol, whole(), time, |mut body| async move {
        sleep(2 * time).await;
        drain(&mut body).await.unwrap();
    })
    .await;
    assert!(waited < time / 4, "readers hold their permits twice as long: {waited:?}");

    let waited = queues_for(protocol, Rest::Trickle(2, 2 * time), time, |mut body| async move {
        drain(&mut body).await.unwrap();
    })
    .await;
    assert!(waited < time / 4, "the dependency takes twice as long: {waited:?}");
}
