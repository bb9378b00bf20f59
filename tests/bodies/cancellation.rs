//! A call, or its response body, that is dropped at any poll releases everything.

use std::pin::{Pin, pin};
use std::task::{Context, Poll};
use std::time::Duration;

use http_body_util::BodyExt;
use seawall::circuit_breaker::State;
use tokio::runtime::Handle;

use crate::client::{Settings, Stack, drain, until};
use crate::servers::{Answer, Protocol, Rest, Server};

both_protocols!(
    call_dropped_at_any_poll_releases_everything,
    retry_dropped_at_any_poll_releases_everything,
    each_call_is_counted_once,
    dropped_calls_leave_no_task,
);

/// A future that is dropped after a number of polls.
struct DroppedAfter<F>(Option<Pin<Box<F>>>, usize);

impl<F: Future> Future for DroppedAfter<F> {
    /// `None` if the future was dropped.
    type Output = Option<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        match (&mut this.0, this.1) {
            (Some(future), 1..) => {
                this.1 -= 1;
                future.as_mut().poll(cx).map(Some)
            }
            (future, _) => {
                *future = None;
                Poll::Ready(None)
            }
        }
    }
}

fn after_polls<F: Future>(polls: usize, future: F) -> DroppedAfter<F> {
    DroppedAfter(Some(Box::pin(future)), polls)
}

/// Runs a call and its whole body, dropped after one poll, two polls and so on, until the call completes.
async fn at_every_poll(protocol: Protocol, script: impl Fn(usize) -> Answer + Send + Sync + 'static) {
    let server = Server::scripted(protocol, script).await;
    let mut settings = Settings::lasting(Duration::from_secs(5)).with_permits(1);
    // Half of the answers may fail; dropped calls must not count among the failures.
    settings.breaker.failure_rate = 0.9;
    let stack = Stack::new(protocol, settings);
    let mut polls = 1;
    loop {
        let call = async {
            let mut body = stack.get(&server).await.unwrap().into_body();
            drain(&mut body).await.unwrap()
        };
        let done = after_polls(polls, call).await;
        assert_eq!((stack.bulkhead.in_flight(), stack.bulkhead.waiting()), (0, 0), "at poll {polls}");
        assert_eq!(stack.breaker.snapshot().in_flight, 0, "at poll {polls}");
        until(|| server.open() == 0).await;
        if done.is_some() {
            break;
        }
        polls += 1;
    }
    assert!(polls > 3, "the call was dropped in between");
    assert_eq!(stack.breaker.state(), State::Closed);
    // A connection that is still open is idle in the pool, and closes with the pool.
    assert!(server.census.connections() <= 2, "{} connections", server.census.connections());
    drop(stack);
    until(|| server.census.connections() == 0).await;
}

async fn call_dropped_at_any_poll_releases_everything(protocol: Protocol) {
    at_every_poll(protocol, |_| Answer::of(Rest::Trickle(4, Duration::from_millis(2)))).await;
}

async fn retry_dropped_at_any_poll_releases_everything(protocol: Protocol) {
    at_every_poll(protocol, |n| match n % 2 {
        0 => Answer::of(Rest::Trickle(2, Duration::from_millis(2))).with_status(500),
        _ => Answer::of(Rest::Trickle(2, Duration::from_millis(2))),
    })
    .await;
}

async fn each_call_is_counted_once(protocol: Protocol) {
    let server = Server::answering(protocol, Rest::Trickle(4, Duration::from_millis(2))).await;
    let stack = Stack::new(protocol, Settings::lasting(Duration::from_secs(5)));
    let mut calls = 0;
    for read in 0..12 {
        let mut body = stack.get(&server).await.unwrap().into_body();
        for _ in 0..read % 6 {
            let _ = body.frame().await;
        }
        assert_eq!(stack.bulkhead.in_flight(), usize::from(read % 6 < 5), "after {} frames", read % 6);
        drop(body);
        calls += 1;
        let snapshot = stack.breaker.snapshot();
        assert_eq!((snapshot.calls, snapshot.in_flight, snapshot.failures), (calls, 0, 0));
        assert_eq!(stack.bulkhead.in_flight(), 0);
    }
    // A call that was dropped while it waited has no record yet.
    let mut body = stack.get(&server).await.unwrap().into_body();
    assert!(futures::poll!(pin!(drain(&mut body))).is_pending());
    drop(body);
    let snapshot = stack.breaker.snapshot();
    assert_eq!((snapshot.calls, snapshot.in_flight), (calls, 0));
}

async fn dropped_calls_leave_no_task(protocol: Protocol) {
    let server = Server::answering(protocol, Rest::Trickle(4, Duration::from_millis(2))).await;
    let tasks = || Handle::current().metrics().num_alive_tasks();
    let round = async |polls: usize| {
        let stack = Stack::new(protocol, Settings::lasting(Duration::from_secs(5)));
        let calls = (0..5_usize).map(|n| {
            let stack = stack.clone();
            let server = &server;
            after_polls(polls + n, async move {
                // A call that waits for a connection that another call opens and drops may fail.
                if let Ok(response) = stack.get(server).await {
                    let _ = drain(&mut response.into_body()).await;
                }
            })
        });
        futures::future::join_all(calls).await;
        drop(stack);
        until(|| server.census.connections() == 0).await;
    };
    // The first round starts the tasks that live as long as the runtime. The process-wide task that publishes metrics
    // may also start here at any time. A task that is left by one call per round shows in the second round.
    round(100).await;
    let before = tasks() + 1;
    for polls in 1..20 {
        round(polls).await;
        until(|| tasks() <= before).await;
    }
}
