//! The live page: its responses, and how a real browser renders it.
#![cfg(feature = "dashboard")]
#![allow(clippy::disallowed_methods, reason = "tests sleep and look at the clock as users do")]

#[allow(dead_code, reason = "the example asks more of it")]
mod browser;
mod commands;
mod endpoints;
mod history;
mod pages;
mod rendering;
mod storm;

use std::io::{self, Write};
use std::sync::Once;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::{BodyExt, Full};
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
use seawall::dashboard::{Body, Dashboard};
use seawall::registry::Registry;
use tower::ServiceExt;

use crate::browser::{Browser, program};

/// A breaker and a bulkhead of one name. The page shows them for as long as this value lives.
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

/// Starts a browser. Without one it returns `None`, and prints once which tests are skipped.
///
/// # Panics
/// If `SEAWALL_BROWSER` is set and does not start.
fn browser() -> Option<Browser> {
    static SKIPPED: Once = Once::new();
    if let Some(program) = program::find() {
        return Some(Browser::start(&program));
    }
    // Written to the stderr of the process: test output of a passing test is not shown.
    SKIPPED.call_once(|| {
        let _ = io::stderr().write_all(
            b"\nnote: no Chromium here, the browser tests of the live page are left out; `cargo xtask test` includes them, \
              or SEAWALL_BROWSER=/path/to/chromium\n",
        );
    });
    None
}
