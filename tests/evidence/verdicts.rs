//! Which responses the circuit breaker records against the dependency, by protocol.

use std::future::ready;

use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer, Snapshot, State};
use seawall::grpc::ByCode;
use seawall::http::ByStatus;
use tower::service_fn;

use super::*;

/// A hundred calls with this response.
async fn of_http(status: u16, headers: &'static [(&'static str, &'static str)]) -> Snapshot {
    let layer = CircuitBreakerLayer::http(CircuitBreakerConfig::default()).unwrap().with_classifier(ByStatus::new());
    let service = layer.layer(service_fn(move |_: Request<()>| ready(Ok::<_, BoxError>(answer(status, headers)))));
    for _ in 0..100 {
        let _ = service.clone().oneshot(Request::new(())).await;
    }
    layer.handle().snapshot()
}

async fn of_grpc(headers: &'static [(&'static str, &'static str)]) -> Snapshot {
    let layer = CircuitBreakerLayer::grpc(CircuitBreakerConfig::default()).unwrap().with_classifier(ByCode::new());
    let service = layer.layer(service_fn(move |_: Request<()>| ready(Ok::<_, BoxError>(answer(200, headers)))));
    for _ in 0..100 {
        let _ = service.clone().oneshot(Request::new(())).await;
    }
    layer.handle().snapshot()
}

#[tokio::test(start_paused = true)]
async fn explicit_refusals_open_nothing() {
    for (status, headers) in [
        (429, &[][..]),
        (429, &[("retry-after", "1")]),
        (503, &[("retry-after", "1")]),
        (502, &[("retry-after", "1")]),
        (503, &[("x-should-retry", "false")]),
        (502, &[("x-should-retry", "false")]),
        (500, &[("x-should-retry", "false"), ("retry-after", "1")]),
        (504, &[("x-should-retry", "false")]),
    ] {
        let seen = of_http(status, headers).await;
        assert_eq!((seen.state, seen.failures), (State::Closed, 0), "{status} {headers:?}");
    }
    for headers in [
        &[("grpc-status", "8")][..],
        &[("grpc-status", "14"), ("grpc-retry-pushback-ms", "1000")],
        &[("grpc-status", "14"), ("grpc-retry-pushback-ms", "-1")],
        &[("grpc-status", "8"), ("grpc-retry-pushback-ms", "-1")],
        &[("grpc-status", "2"), ("grpc-retry-pushback-ms", "-1")],
        &[("grpc-status", "4"), ("grpc-retry-pushback-ms", "-1")],
    ] {
        let seen = of_grpc(headers).await;
        assert_eq!((seen.state, seen.failures), (State::Closed, 0), "{headers:?}");
    }
}

/// The response forbids the retry, but does not prove that the dependency is alive.
#[tokio::test(start_paused = true)]
async fn own_failure_that_forbids_retries_opens_it() {
    for status in [500, 507] {
        assert_eq!(of_http(status, &[("x-should-retry", "false")]).await.state, State::Open, "{status}");
    }
    for headers in [
        &[("grpc-status", "13"), ("grpc-retry-pushback-ms", "-1")][..],
        &[("grpc-status", "15"), ("grpc-retry-pushback-ms", "-1")],
    ] {
        assert_eq!(of_grpc(headers).await.state, State::Open, "{headers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn client_errors_open_nothing() {
    for status in [400, 401, 403, 404, 408, 409, 413, 421, 425, 429, 431, 451] {
        let seen = of_http(status, &[]).await;
        assert_eq!((seen.state, seen.failures), (State::Closed, 0), "{status}");
    }
    for headers in [
        &[("grpc-status", "1")][..],
        &[("grpc-status", "3")],
        &[("grpc-status", "5")],
        &[("grpc-status", "7")],
        &[("grpc-status", "9")],
        &[("grpc-status", "10")],
        &[("grpc-status", "16")],
    ] {
        let seen = of_grpc(headers).await;
        assert_eq!((seen.state, seen.failures), (State::Closed, 0), "{headers:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn plain_failures_open_it() {
    for status in [500, 502, 503, 504, 507] {
        assert_eq!(of_http(status, &[]).await.state, State::Open, "{status}");
    }
    for headers in [
        &[("grpc-status", "14")][..],
        &[("grpc-status", "13")],
        &[("grpc-status", "2")],
        &[("grpc-status", "15")],
        &[("grpc-status", "4")],
    ] {
        assert_eq!(of_grpc(headers).await.state, State::Open, "{headers:?}");
    }
}

/// A quota per user: one user exceeds it, and others are served.
#[tokio::test(start_paused = true)]
async fn exhausted_quota_of_one_user_opens_nothing_for_others() {
    let layers = stack::client(&ClientConfig::default()).unwrap();
    let client = layers.service(service_fn(|request: Request<ReplayBody<Full<Bytes>>>| {
        ready(Ok::<_, BoxError>(answer(if request.uri().path() == "/over" { 429 } else { 200 }, &[])))
    }));
    let call = |path: &str| {
        let request = Request::get(format!("http://dependency/{path}")).body(Full::default()).unwrap();
        client.clone().oneshot(request)
    };
    for _ in 0..500 {
        assert_eq!(call("over").await.unwrap().status(), 429);
    }
    assert_eq!(call("fine").await.unwrap().status(), 200);
    assert_eq!(layers.circuit_breaker().state(), State::Closed);
}
