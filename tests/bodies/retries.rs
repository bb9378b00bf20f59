//! A failed response is released before the next attempt, and the last failure is handed on whole.

use std::time::Duration;

use http_body_util::BodyExt;
use seawall::retry::report;
use seawall::verdict::Verdict;
use tokio::time::{Instant, sleep};

use crate::client::{Settings, Stack, until};
use crate::servers::{Answer, Protocol, Rest, Server};

both_protocols!(
    connection_is_reused_after_a_failed_body_was_read,
    both_attempts_use_one_connection_and_one_permit,
    failed_body_that_is_too_long_is_closed,
    stalled_failed_body_is_closed_and_delays_no_retry,
    last_failure_is_handed_on_whole,
    unretried_failure_is_handed_on_whole,
    last_failure_keeps_its_trailers,
    released_failure_is_handed_on_as_far_as_it_was_kept,
);

fn stack(protocol: Protocol) -> Stack {
    Stack::new(protocol, Settings::lasting(Duration::from_secs(5)).with_permits(1))
}

fn fails_first(failure: Answer) -> impl Fn(usize) -> Answer + Send + Sync {
    move |n| if n == 0 { failure.clone() } else { Answer::whole("well") }
}

async fn read(stack: &Stack, server: &Server) -> (u16, usize) {
    let response = stack.get(server).await.unwrap();
    (response.status().as_u16(), response.into_body().collect().await.unwrap().to_bytes().len())
}

async fn connection_is_reused_after_a_failed_body_was_read(protocol: Protocol) {
    let server = Server::answering(protocol, Rest::Whole("well".into())).await;
    let stack = stack(protocol);
    for _ in 0..10 {
        assert_eq!(read(&stack, &server).await, (200, 4));
        // hyper returns a connection to the pool from a task of its own.
        tokio::task::yield_now().await;
    }
    assert_eq!((server.census.requests(), server.census.accepted()), (10, 1));
}

async fn both_attempts_use_one_connection_and_one_permit(protocol: Protocol) {
    let failure = Answer::whole("not now").with_status(503).with_header("retry-after", "0");
    let server = Server::scripted(protocol, fails_first(failure)).await;
    let stack = stack(protocol);
    assert_eq!(read(&stack, &server).await, (200, 4));
    assert_eq!((server.census.requests(), server.census.accepted()), (2, 1));
}

async fn failed_body_that_is_too_long_is_closed(protocol: Protocol) {
    let server = Server::scripted(protocol, fails_first(Answer::of(Rest::Endless).with_status(503))).await;
    let stack = stack(protocol);
    assert_eq!(read(&stack, &server).await, (200, 4));
    until(|| server.open() == 0).await;
    assert_eq!(
        (server.census.requests(), server.census.most_answers()),
        (2, 1),
        "the first answer ends before the second begins"
    );
    until(|| server.census.connections() == 1).await;
}

async fn stalled_failed_body_is_closed_and_delays_no_retry(protocol: Protocol) {
    let server = Server::scripted(protocol, fails_first(Answer::of(Rest::Stall).with_status(500))).await;
    let stack = stack(protocol);
    let start = Instant::now();
    assert_eq!(read(&stack, &server).await, (200, 4));
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
    until(|| server.open() == 0).await;
    assert_eq!(server.census.most_answers(), 1);
    until(|| server.census.connections() == 1).await;
}

const MEBIBYTE: usize = 1 << 20;

fn a_mebibyte() -> Answer {
    Answer::whole(vec![b'x'; MEBIBYTE]).with_status(503)
}

async fn last_failure_is_handed_on_whole(protocol: Protocol) {
    let server = Server::scripted(protocol, |_| a_mebibyte()).await;
    let stack = stack(protocol);
    let ((status, bytes), report) = report(read(&stack, &server)).await;
    assert_eq!((status, bytes), (503, MEBIBYTE));
    assert_eq!((server.census.requests(), report.unwrap().attempts), (3, 3));
    assert_eq!(stack.bulkhead.in_flight(), 0);
    until(|| server.open() == 0).await;
}

async fn unretried_failure_is_handed_on_whole(protocol: Protocol) {
    let server = Server::scripted(protocol, |_| a_mebibyte()).await;
    let stack = stack(protocol);
    let request = http::Request::post(server.uri()).body(http_body_util::Empty::new()).unwrap();
    let response = tower::ServiceExt::oneshot(stack.calls.clone(), request).await.unwrap();
    assert_eq!(http_body::Body::size_hint(response.body()).exact(), Some(MEBIBYTE as u64));
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes().len(), MEBIBYTE);
    assert_eq!(server.census.requests(), 1);
}

async fn last_failure_keeps_its_trailers(protocol: Protocol) {
    let failure = Answer::of(Rest::Trailers("no".into(), ("x-why", "broken"))).with_status(500);
    let server = Server::scripted(protocol, move |_| failure.clone()).await;
    let stack = stack(protocol);
    let collected = stack.get(&server).await.unwrap().into_body().collect().await.unwrap();
    assert_eq!(collected.trailers().and_then(|trailers| trailers.get("x-why")).unwrap(), "broken");
    assert_eq!((collected.to_bytes().as_ref(), server.census.requests()), (b"no".as_ref(), 3));
}

/// The first failure was released, but no second attempt follows: the caller gets what was kept of it.
async fn released_failure_is_handed_on_as_far_as_it_was_kept(protocol: Protocol) {
    for (failure, length) in [(Answer::whole("not now"), Some(7)), (Answer::of(Rest::Stall), None)] {
        let failure = failure.with_status(500);
        let server =
            Server::scripted(protocol, move |n| if n == 0 { failure.clone() } else { Answer::of(Rest::Silence) }).await;
        let stack = Stack::new(protocol, Settings::lasting(Duration::from_millis(300)));
        let (response, report) = report(stack.get(&server)).await;
        let response = response.unwrap_or_else(|e| panic!("{length:?} {e:?} {report:?}"));
        assert_eq!(response.status(), 500, "the real failure, not a refusal");
        assert_eq!(report.unwrap().verdicts, [Verdict::Transient, Verdict::TimedOut]);
        // The deadline has passed; what was kept of the response is in memory and can still be read.
        sleep(Duration::from_millis(50)).await;
        let body = response.into_body().collect().await;
        match length {
            Some(length) => assert_eq!(body.unwrap().to_bytes().len(), length),
            // Half a body must not look complete.
            None => assert!(body.is_err()),
        }
        until(|| server.open() == 0).await;
    }
}
