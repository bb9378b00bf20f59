//! The service in the middle: axum in front, hyper-util's client behind. It only proxies requests to the dependency,
//! once [bare](bare::service) and once [protected](protected::service) by seawall.

pub(crate) mod bare;
pub(crate) mod protected;

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{self, Request};
use http_body_util::Empty;
use tokio::time::Instant;

/// The request that the service sends to the dependency.
fn query(dependency: SocketAddr, request: usize) -> http::Result<Request<Empty<Bytes>>> {
    Request::get(format!("http://{dependency}/{request}")).body(Empty::new())
}

/// A request that a layer refused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Refusal {
    /// Counted from the start of the run.
    pub(crate) at: Duration,
    pub(crate) layer: &'static str,
}

/// The refusals of a run, as the service saw them.
#[derive(Clone, Debug)]
pub(crate) struct Refusals {
    start: Instant,
    seen: Arc<Mutex<Vec<Refusal>>>,
}

impl Refusals {
    pub(crate) fn since(start: Instant) -> Self {
        Self { start, seen: Arc::default() }
    }

    pub(crate) fn note(&self, layer: &'static str) {
        let refusal = Refusal { at: self.start.elapsed(), layer };
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).push(refusal);
    }

    pub(crate) fn seen(&self) -> Vec<Refusal> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
