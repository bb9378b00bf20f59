//! Hedges of gRPC calls by the rules of proposal A6, through a tonic client.

use std::time::Duration;

use seawall::hedge::{HedgeConfig, HedgeDelay, HedgeLayer};
use seawall::http::{Idempotent, MapRequestBodyLayer};
use seawall::retry::{Stop, report};
use tokio::time::Instant;
use tonic::{Code, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower::ServiceBuilder;

use crate::fault::{Answer, Fault, Headers, channel};

const DELAY: Duration = Duration::from_millis(20);

/// One unary call, whose first attempts get these answers and the next ones OK: its result, how many attempts the server saw, why no
/// further one was made, and how long it took.
async fn check(answers: &'static [Answer], idempotent: bool) -> (Result<i32, Status>, usize, Stop, Duration) {
    let fault = Fault::serve(move |n| answers.get(n).cloned().unwrap_or_else(Answer::ok)).await;
    let config = HedgeConfig { delay: HedgeDelay::Fixed(DELAY), ..HedgeConfig::default() };
    let stack = ServiceBuilder::new()
        .layer(HedgeLayer::grpc(config).unwrap())
        .layer(MapRequestBodyLayer::new(tonic::body::Body::new))
        .service(channel(fault.address));
    let mut request = tonic::Request::new(HealthCheckRequest { service: "the one".into() });
    if idempotent {
        request.extensions_mut().insert(Idempotent(true));
    }
    let start = Instant::now();
    let (result, report) = report(HealthClient::new(stack).check(request)).await;
    let stopped = report.expect("there is a hedge layer").stopped;
    (result.map(|answer| answer.into_inner().status), fault.calls(), stopped, start.elapsed())
}

const INVALID: Headers = &[("grpc-status", "3")];
const UNAVAILABLE: Headers = &[("grpc-status", "14")];
const STOP: Headers = &[("grpc-status", "14"), ("grpc-retry-pushback-ms", "-1")];
const LATER: Headers = &[("grpc-status", "14"), ("grpc-retry-pushback-ms", "300")];

#[tokio::test(start_paused = true)]
async fn fatal_status_ends_the_call() {
    let (result, calls, stopped, _) = check(&[Answer::Head(INVALID)], true).await;
    assert_eq!((result.unwrap_err().code(), calls, stopped), (Code::InvalidArgument, 1, Stop::Verdict));
}

#[tokio::test(start_paused = true)]
async fn other_status_starts_the_next_attempt_at_once() {
    let (result, calls, stopped, took) = check(&[Answer::Head(UNAVAILABLE)], false).await;
    assert_eq!((result.unwrap(), calls, stopped), (1, 2, Stop::Succeeded));
    assert!(took < DELAY, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn negative_pushback_stops_the_attempts() {
    let (result, calls, stopped, _) = check(&[Answer::Head(STOP)], true).await;
    assert_eq!((result.unwrap_err().code(), calls, stopped), (Code::Unavailable, 1, Stop::Verdict));
}

#[tokio::test(start_paused = true)]
async fn pushback_delays_the_next_attempt() {
    let (result, calls, _, took) = check(&[Answer::Head(LATER)], true).await;
    assert_eq!((result.unwrap(), calls), (1, 2));
    assert!((300..310).contains(&took.as_millis()), "{took:?}");
}

/// What a slow call does is unknown, so only an idempotent one is sent a second time.
#[tokio::test(start_paused = true)]
async fn slow_call_is_hedged_if_it_is_idempotent() {
    let (result, calls, _, took) = check(&[Answer::Never], true).await;
    assert_eq!((result.unwrap(), calls), (1, 2));
    assert!(took < 2 * DELAY, "{took:?}");
}
