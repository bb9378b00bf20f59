//! The live page: its answers, and what a real browser makes of it.
#![cfg(feature = "dashboard")]
#![allow(clippy::disallowed_methods, reason = "tests sleep and look at the clock as users do")]

#[allow(dead_code, reason = "the example asks more of it")]
mod browser;
mod history;
mod looks;
mod orders;
mod pages;
mod storm;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
use seawall::dashboard::{Body, Dashboard};
use seawall::registry::Registry;
use tower::ServiceExt;

/// A breaker and a bulkhead of one name, to be kept for as long as they are to be seen.
#[allow(dead_code, reason = "what is kept is not read")]
struct Payments(BulkheadLayer, CircuitBreakerLayer);

fn payments_in(registry: &Registry) -> Payments {
    Payments(
        BulkheadLayer::new(BulkheadConfig::default()).unwrap().named_in(registry, "payments").unwrap(),
        CircuitBreakerLayer::new(CircuitBreakerConfig::default()).unwrap().named_in(registry, "payments").unwrap(),
    )
}

fn payments() -> (Dashboard, Payments) {
    let registry = Registry::new();
    let payments = payments_in(&registry);
    (Dashboard::new(registry), payments)
}

async fn ask(dashboard: &Dashboard, request: Request<Full<Bytes>>) -> (Response<Body>, Bytes) {
    let (parts, body) = dashboard.clone().oneshot(request).await.unwrap().into_parts();
    let bytes = body.collect().await.unwrap().to_bytes();
    (Response::from_parts(parts, Body::default()), bytes)
}
