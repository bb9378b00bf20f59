//! The assembled stacks over HTTP: the server's stack refuses, and the client's throttles.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use seawall::http::propagation::{ExtractLayer, PropagationConfig};
use seawall::http::respond::RespondLayer;
use seawall::load_shed::LoadShedConfig;
use seawall::retry::RetryConfig;
use seawall::stack::{self, ClientConfig, ServerConfig};
use tokio::task::JoinSet;
use tower::ServiceBuilder;

use super::*;
use crate::pipes::{Connector, serve};

/// A server that serves two calls at once, each for 20 ms, and refuses the others. Counts the requests that it gets.
fn server() -> (SocketAddr, Arc<AtomicU32>) {
    let seen = Arc::new(AtomicU32::new(0));
    let counted = Arc::clone(&seen);
    let shed = LoadShedConfig { max_in_flight: 2, queue_ratio: 0.0, ..LoadShedConfig::default() };
    let layers = stack::server(&ServerConfig { load_shed: shed, ..ServerConfig::default() }).unwrap();
    let handler = || async {
        sleep(20 * MS).await;
        "done"
    };
    let count = axum::middleware::map_request(move |request: axum::extract::Request| {
        counted.fetch_add(1, Ordering::Relaxed);
        async move { request }
    });
    (serve(Router::new().route("/", get(handler)).layer(layers).layer(count)), seen)
}

fn throttled() -> stack::ClientLayer {
    // Retries would go on after the overload.
    let retry = RetryConfig { max_attempts: 1, ..RetryConfig::default() };
    let config = ClientConfig { throttle: ThrottleConfig::default(), retry, ..ClientConfig::default() };
    stack::client(&config).unwrap()
}

async fn send(layers: stack::ClientLayer, to: SocketAddr) -> Result<StatusCode, BoxError> {
    let client = layers.service(Client::builder(TokioExecutor::new()).build(Connector));
    let request = Request::get(format!("http://{to}/")).body(Full::<Bytes>::default())?;
    let response = client.oneshot(request).await?;
    let status = response.status();
    response.into_body().collect().await?;
    Ok(status)
}

/// A call each millisecond: ten times the capacity.
async fn overload(layers: &stack::ClientLayer, to: SocketAddr, calls: u32) -> Vec<Result<StatusCode, BoxError>> {
    let mut running = JoinSet::new();
    for _ in 0..calls {
        running.spawn(send(layers.clone(), to));
        sleep(MS).await;
    }
    running.join_all().await
}

#[tokio::test(start_paused = true)]
async fn client_refuses_what_its_server_would_and_recovers() {
    let ((address, seen), layers) = (server(), throttled());
    overload(&layers, address, 500).await;
    let before = seen.load(Ordering::Relaxed);
    let answers = overload(&layers, address, 2000).await;
    let sent = seen.load(Ordering::Relaxed) - before;
    let served = answers.iter().flatten().filter(|status| **status == 200).count();
    let refused_here =
        answers.into_iter().filter(|answer| answer.as_ref().is_err()).map(is_throttled).filter(|is| *is).count();
    assert!(served >= 160, "{served} of 200 that the server can serve");
    assert!(sent < 600, "{sent} of 2000 are sent");
    assert!(refused_here > 1400, "{refused_here} of 2000 are refused here");
    assert!(layers.throttle().share() > 0.7, "{}", layers.throttle().share());

    for _ in 0..300 {
        let _ = send(layers.clone(), address).await;
        sleep(20 * MS).await;
    }
    for _ in 0..100 {
        assert_eq!(send(layers.clone(), address).await.unwrap(), StatusCode::OK);
    }
    assert_eq!(layers.throttle().share(), 0.0);
}

#[tokio::test(start_paused = true)]
async fn stack_does_not_throttle_by_default() {
    let (address, seen) = server();
    let layers = stack::client(&ClientConfig::default()).unwrap();
    let answers = overload(&layers, address, 500).await;
    assert!(answers.iter().all(Result::is_ok) && seen.load(Ordering::Relaxed) >= 500);
    assert_eq!(layers.throttle().requests(), 0);
    layers.reload(&ClientConfig { throttle: ThrottleConfig::default(), ..layers.config() }).unwrap();
    let answers = overload(&layers, address, 500).await;
    assert!(answers.into_iter().any(is_throttled));
}

/// A service in between, whose client throttles, tells its own clients not to retry. They do not take its refusals for its own overload.
#[tokio::test(start_paused = true)]
async fn tiers_above_are_told_not_to_retry() {
    let ((address, _), layers) = (server(), throttled());
    overload(&layers, address, 1000).await;
    let inner = layers.clone();
    let handler = service_fn(move |_: Request<axum::body::Body>| {
        let client = inner.service(Client::builder(TokioExecutor::new()).build(Connector));
        async move {
            let request = Request::get(format!("http://{address}/")).body(Full::<Bytes>::default()).unwrap();
            client.oneshot(request).await
        }
    });
    let middle = ServiceBuilder::new()
        .layer(ExtractLayer::http(PropagationConfig::default()).unwrap())
        .layer(RespondLayer::new())
        .service(handler);
    let response = loop {
        let response = middle.clone().oneshot(Request::new(axum::body::Body::empty())).await.unwrap();
        let body = response.into_parts();
        let is_throttled = body.0.status == 503 && body.0.headers.get("x-should-retry").is_some();
        let text = body.1.collect().await.unwrap().to_bytes();
        if is_throttled && text == "throttled" {
            break body.0;
        }
    };
    assert_eq!(
        (&response.headers["x-should-retry"], response.status),
        (&"false".parse().unwrap(), StatusCode::SERVICE_UNAVAILABLE)
    );
    assert!(response.headers.contains_key("retry-after"));
}
