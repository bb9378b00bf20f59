//! Long-lived calls: streams with a timeout of their own, and upgraded connections.

use std::time::Duration;

use hyper_util::rt::TokioIo;
use seawall::error::Reason;
use seawall::http::LongLived;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep};
use tower::ServiceExt;

use crate::client::{Body, LATEST, Settings, Stack, drain, refusal, request, until};
use crate::servers::{Protocol, Rest, Server};

both_protocols!(
    long_lived_call_lasts_for_its_own_timeout,
    long_lived_call_without_an_answer_is_cut_at_its_timeout,
    long_lived_call_with_a_head_time_is_cut_at_it,
    long_lived_call_holds_its_permit,
);

const DEADLINE: Duration = Duration::from_millis(300);

async fn long_lived(stack: &Stack, server: &Server, long: LongLived) -> Result<http::Response<Body>, tower::BoxError> {
    let mut request = request(server);
    request.extensions_mut().insert(long);
    stack.calls.clone().oneshot(request).await
}

async fn long_lived_call_lasts_for_its_own_timeout(protocol: Protocol) {
    let server = Server::answering(protocol, Rest::Drip(DEADLINE / 10)).await;
    let stack = Stack::new(protocol, Settings::lasting(DEADLINE));
    let start = Instant::now();
    let mut body = long_lived(&stack, &server, LongLived::new(4 * DEADLINE)).await.unwrap().into_body();
    let error = drain(&mut body).await.unwrap_err();
    let lasted = start.elapsed();
    assert!(lasted >= 4 * DEADLINE && lasted < LATEST, "{lasted:?}");
    assert_eq!(refusal(&error).map(|(_, reason)| reason), Some(Reason::DeadlineExceeded));
    until(|| server.open() == 0).await;

    let start = Instant::now();
    let mut body = stack.get(&server).await.unwrap().into_body();
    assert!(drain(&mut body).await.is_err());
    assert!(start.elapsed() < LATEST);
}

/// The server never answers: the call is cut at its own timeout and not at the layer's.
async fn long_lived_call_without_an_answer_is_cut_at_its_timeout(protocol: Protocol) {
    let server = Server::answering(protocol, Rest::Silence).await;
    let stack = Stack::new(protocol, Settings::lasting(DEADLINE));
    let start = Instant::now();
    let error = long_lived(&stack, &server, LongLived::new(4 * DEADLINE)).await.unwrap_err();
    assert!(start.elapsed() >= 4 * DEADLINE, "{:?}", start.elapsed());
    assert_eq!(refusal(&error).map(|(_, reason)| reason), Some(Reason::DeadlineExceeded));
    until(|| server.open() == 0).await;
}

async fn long_lived_call_with_a_head_time_is_cut_at_it(protocol: Protocol) {
    let server = Server::answering(protocol, Rest::Silence).await;
    let stack = Stack::new(protocol, Settings::lasting(DEADLINE));
    let start = Instant::now();
    let long = LongLived::new(Duration::from_secs(60)).with_head(2 * DEADLINE);
    let error = long_lived(&stack, &server, long).await.unwrap_err();
    assert!((2 * DEADLINE..20 * DEADLINE).contains(&start.elapsed()), "{:?}", start.elapsed());
    assert_eq!(refusal(&error), Some(("deadline", Reason::HeadTimeout)));
    until(|| server.open() == 0).await;
}

async fn long_lived_call_holds_its_permit(protocol: Protocol) {
    let server = Server::answering(protocol, Rest::Stall).await;
    let stack = Stack::new(protocol, Settings::lasting(DEADLINE));
    let parked = long_lived(&stack, &server, LongLived::new(3 * DEADLINE)).await.unwrap();
    sleep(2 * DEADLINE).await;
    assert_eq!((stack.bulkhead.in_flight(), server.open()), (1, 1));
    until(|| server.open() == 0).await;
    assert_eq!(stack.bulkhead.in_flight(), 0);
    drop(parked);
}

#[tokio::test(start_paused = true)]
async fn upgraded_connection_outlives_its_call() {
    let server = Server::answering(Protocol::Http1, Rest::Echo).await;
    let stack = Stack::new(Protocol::Http1, Settings::lasting(DEADLINE).with_permits(1));
    let mut request = request(&server);
    request.headers_mut().insert("connection", "upgrade".parse().unwrap());
    request.headers_mut().insert("upgrade", "echo".parse().unwrap());
    let response = stack.calls.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 101);
    let upgraded = hyper::upgrade::on(response).await.unwrap();
    assert_eq!(stack.bulkhead.in_flight(), 0, "the call is over");
    let mut stream = TokioIo::new(upgraded);
    for _ in 0..4 {
        sleep(DEADLINE / 2).await;
        stream.write_all(b"hello").await.unwrap();
        let mut echo = [0; 5];
        stream.read_exact(&mut echo).await.unwrap();
        assert_eq!(&echo, b"hello");
    }
    assert_eq!(server.open(), 1);
    drop(stream);
    until(|| server.census.connections() == 0).await;
}
