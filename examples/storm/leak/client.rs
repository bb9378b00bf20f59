//! The client of the dependency, once [bare] and once [protected] by seawall.

use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{Request, Response};
use http_body_util::Empty;
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
use seawall::deadline::DeadlineLayer;
use seawall::retry::{RetryConfig, RetryLayer};
use tower::timeout::TimeoutLayer;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, ServiceBuilder};

use super::Script;
use crate::Error;
use crate::load::http_client;
use crate::run::Contestant;

/// Either client.
pub(crate) type Client = BoxCloneSyncService<Request<Empty<Bytes>>, Response<Body>, BoxError>;

pub(crate) fn client(contestant: Contestant, script: &Script) -> Result<Client, Error> {
    match contestant {
        Contestant::Bare => Ok(bare(script.deadline)),
        Contestant::Seawall => protected(script),
    }
}

/// A pool and a timeout, the usual setup. The timeout ends with the head.
fn bare(timeout: Duration) -> Client {
    let client = ServiceBuilder::new()
        .map_response(|response: Response<_>| response.map(Body::new))
        .layer(TimeoutLayer::new(timeout))
        .service(http_client());
    BoxCloneSyncService::new(client)
}

/// The recommended stack. The client sets only the deadline and the concurrency.
fn protected(script: &Script) -> Result<Client, Error> {
    let at_most = BulkheadConfig { max_concurrent: script.bulkhead, ..BulkheadConfig::default() };
    let client = ServiceBuilder::new()
        .map_response(boxed)
        .layer(DeadlineLayer::http(script.deadline)?)
        .layer(RetryLayer::http(RetryConfig::default())?)
        .layer(BulkheadLayer::http(at_most)?)
        .layer(CircuitBreakerLayer::http(CircuitBreakerConfig::default())?)
        .service(http_client());
    Ok(BoxCloneSyncService::new(client))
}

fn boxed<B>(response: Response<B>) -> Response<Body>
where
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    response.map(Body::new)
}
