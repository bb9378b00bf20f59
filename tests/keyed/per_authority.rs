//! A stack with a state for each host.

use std::future::pending;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use seawall::circuit_breaker::CircuitBreakerConfig;
use seawall::error::Reason;
use seawall::stack::{self, ClientConfig};
use tower::{BoxError, ServiceExt, service_fn};

use crate::{breaker, reason};

/// Hosts whose names begin with "down" fail, and hosts whose names begin with "slow" never answer.
async fn host<B>(request: Request<B>) -> Result<Response<Full<Bytes>>, BoxError> {
    let host = request.uri().host().unwrap_or_default();
    if host.starts_with("slow") {
        return pending().await;
    }
    let status = if host.starts_with("down") { StatusCode::INTERNAL_SERVER_ERROR } else { StatusCode::OK };
    Ok(Response::builder().status(status).body(Full::default())?)
}

fn get(host: &str) -> Request<Full<Bytes>> {
    Request::get(format!("http://{host}.test/")).body(Full::default()).unwrap()
}

fn config(max_keys: usize) -> ClientConfig {
    let mut config = ClientConfig { per_authority: true, ..ClientConfig::default() };
    config.circuit_breaker = CircuitBreakerConfig { consecutive_failures: Some(3), ..breaker(max_keys) };
    config.retry.max_attempts = 1;
    config.bulkhead.max_keys = max_keys;
    config.retry.max_keys = max_keys;
    config
}

#[tokio::test(start_paused = true)]
async fn open_breaker_of_a_host_survives_calls_to_many_others() {
    let client = stack::client(&config(64)).unwrap().service(service_fn(host));
    for _ in 0..3 {
        assert_eq!(reason(client.clone().oneshot(get("down")).await), None);
    }
    for other in 0..1000 {
        drop(client.clone().oneshot(get(&format!("up{other}"))).await);
        drop(client.clone().oneshot(get(&format!("down{other}"))).await);
    }
    assert_eq!(reason(client.clone().oneshot(get("down")).await), Some(Reason::CircuitOpen));
}

#[tokio::test(start_paused = true)]
async fn dead_host_in_a_shared_state_refuses_few_others() {
    let client = stack::client(&config(64)).unwrap().service(service_fn(host));
    let mut held = Vec::new();
    for slow in 0..64 {
        let mut call = Box::pin(client.clone().oneshot(get(&format!("slow{slow}"))));
        assert!(futures::poll!(&mut call).is_pending());
        held.push(call);
    }
    for _ in 0..4 {
        drop(client.clone().oneshot(get("down")).await);
    }
    assert_eq!(reason(client.clone().oneshot(get("down")).await), Some(Reason::CircuitOpen));
    let mut refused = 0;
    for up in 0..200 {
        refused += usize::from(client.clone().oneshot(get(&format!("up{up}"))).await.is_err());
    }
    assert!(refused < 20, "{refused} of 200 healthy hosts were refused");
}
