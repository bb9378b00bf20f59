//! The attempt that loses against a hedge is cancelled at the server, and the winner's body is read to its end.

use http_body_util::BodyExt;
use seawall::hedge::{HedgeConfig, HedgeDelay, HedgeLayer};
use seawall::registry::Registry;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use tower::Layer;

use crate::client::{Calls, boxed, get, hyper, until};
use crate::servers::{Answer, Protocol, Rest, Server};

both_protocols!(
    loser_is_cancelled_at_the_server,
    failed_body_is_released_while_a_hedge_is_in_flight,
    body_of_the_winner_outlives_the_layer,
    last_failure_of_a_hedged_call_is_handed_on_whole,
);

const DELAY: Duration = Duration::from_millis(20);

fn layer() -> HedgeLayer<seawall::http::ByStatus, seawall::http::ByMethod> {
    let config = HedgeConfig { delay: HedgeDelay::Fixed(DELAY), ..HedgeConfig::default() };
    HedgeLayer::http(config).unwrap()
}

fn hedged(protocol: Protocol) -> Calls {
    boxed(layer().layer(hyper(protocol)))
}

/// The stream of the loser is reset (its connection closed, over HTTP/1.1) as soon as the winner answers.
async fn loser_is_cancelled_at_the_server(protocol: Protocol) {
    let silent = |n| if n == 0 { Answer::of(Rest::Silence) } else { Answer::whole("well") };
    let server = Server::scripted(protocol, silent).await;
    let calls = hedged(protocol);
    let start = Instant::now();
    let response = get(&calls, &server).await.unwrap();
    assert!(start.elapsed() < 2 * DELAY, "{:?}", start.elapsed());
    assert_eq!(server.census.most_answers(), 2, "both are in flight");
    until(|| server.open() == 0).await;
    assert!(start.elapsed() < 2 * DELAY, "the server sees it at once: {:?}", start.elapsed());
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "well");
    assert_eq!(server.census.requests(), 2);
    // Over HTTP/2 the connection goes on.
    let accepted = server.census.accepted();
    get(&calls, &server).await.unwrap();
    if protocol == Protocol::Http2 {
        assert_eq!((accepted, server.census.accepted()), (1, 1));
    }
}

async fn failed_body_is_released_while_a_hedge_is_in_flight(protocol: Protocol) {
    // The first answer fails after the hedge was sent, with a body that never ends. The second one is slow.
    let answers = |n| match n {
        0 => Answer::of(Rest::Stall).with_status(503),
        _ => Answer::of(Rest::Trickle(3, Duration::from_millis(500))),
    };
    let server = Server::scripted(protocol, answers).await;
    let response = get(&hedged(protocol), &server).await.unwrap();
    assert_eq!(response.status(), 200);
    until(|| server.open() == 1).await;
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes().len(), 3);
}

/// Nothing of the call that the layer keeps may end with it.
async fn body_of_the_winner_outlives_the_layer(protocol: Protocol) {
    let answers = |n| match n {
        0 => Answer::of(Rest::Silence),
        _ => Answer::of(Rest::Trickle(10, Duration::from_millis(100))),
    };
    let server = Server::scripted(protocol, answers).await;
    let calls = hedged(protocol);
    let response = get(&calls, &server).await.unwrap();
    drop(calls);
    sleep(Duration::from_millis(50)).await;
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes().len(), 10);
    until(|| server.open() == 0).await;
}

async fn last_failure_of_a_hedged_call_is_handed_on_whole(protocol: Protocol) {
    let answers = |n| Answer::whole(if n == 0 { "first" } else { "second" }).with_status(503);
    let server = Server::scripted(protocol, answers).await;
    let registry = Registry::new();
    let layer = layer().named_in(&registry, "callee").unwrap();
    let response = get(&boxed(layer.layer(hyper(protocol))), &server).await.unwrap();
    assert_eq!(response.status(), 503);
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "second");
    assert_eq!(registry.snapshot().components[0].calls, [("transient", 1)].into());
}
