//! A reader polls for a frame and is busy when the frame comes: the delay until it reads is not time of the
//! dependency.

use std::time::Duration;

use http_body_util::BodyExt;
use seawall::bulkhead::BulkheadConfig;
use seawall::circuit_breaker::{CircuitBreakerConfig, State};
use seawall::deadline::DeadlineConfig;
use tokio::time::sleep;

use crate::client::{Body, Settings, Stack, drain, until};
use crate::servers::{Protocol, Rest, Server};

both_protocols!(
    timely_frame_read_late_is_not_slow,
    timely_frame_read_late_is_not_idle,
    body_cut_during_a_reader_pause_is_no_timeout,
);

const SLOW: Duration = Duration::from_millis(300);

fn stack(protocol: Protocol, deadline: DeadlineConfig) -> Stack {
    let breaker = CircuitBreakerConfig { slow_after: Some(SLOW), minimum_calls: 5, ..CircuitBreakerConfig::default() };
    let bulkhead = BulkheadConfig { max_concurrent: 100, ..BulkheadConfig::default() };
    Stack::new(protocol, Settings { breaker, bulkhead, ..Settings::lasting(deadline) })
}

/// As `select!` does: polls for a frame, and drops the poll before the frame is there.
async fn poll_once_and_leave(body: &mut Body, away: Duration) {
    assert!(futures::poll!(body.frame()).is_pending());
    sleep(away).await;
}

async fn timely_frame_read_late_is_not_slow(protocol: Protocol) {
    let server = Server::answering(protocol, Rest::Trickle(2, Duration::from_millis(20))).await;
    let stack = stack(protocol, Duration::from_secs(10).into());
    let calls = (0..10).map(|_| async {
        let mut body = stack.get(&server).await.unwrap().into_body();
        poll_once_and_leave(&mut body, 2 * SLOW).await;
        assert_eq!(drain(&mut body).await.unwrap(), 2);
    });
    futures::future::join_all(calls).await;
    let snapshot = stack.breaker.snapshot();
    assert_eq!((snapshot.state, snapshot.calls, snapshot.slow), (State::Closed, 10, 0));
}

async fn timely_frame_read_late_is_not_idle(protocol: Protocol) {
    let server = Server::answering(protocol, Rest::Trickle(2, Duration::from_millis(20))).await;
    let deadline =
        DeadlineConfig { timeout: Duration::from_secs(10), idle_timeout: Some(SLOW / 2), ..DeadlineConfig::default() };
    let stack = stack(protocol, deadline);
    let mut body = stack.get(&server).await.unwrap().into_body();
    poll_once_and_leave(&mut body, 2 * SLOW).await;
    assert_eq!(drain(&mut body).await.unwrap(), 2);
}

async fn body_cut_during_a_reader_pause_is_no_timeout(protocol: Protocol) {
    let server = Server::answering(protocol, Rest::Drip(Duration::from_millis(20))).await;
    let stack = stack(protocol, (2 * SLOW).into());
    let calls = (0..10).map(|_| async {
        let mut body = stack.get(&server).await.unwrap().into_body();
        poll_once_and_leave(&mut body, 3 * SLOW).await;
    });
    futures::future::join_all(calls).await;
    until(|| server.open() == 0).await;
    let snapshot = stack.breaker.snapshot();
    assert_eq!((snapshot.state, snapshot.failures, snapshot.slow), (State::Closed, 0, 0));
}
