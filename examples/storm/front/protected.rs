//! The same service with seawall's layers: around its client, and in front of its handlers.
//!
//! The service sets only the deadline and the concurrency; everything else is a default.

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::Router;
use axum::body::{Body, Bytes, HttpBody};
use axum::extract::Path;
use axum::http::{Request, Response, StatusCode};
use axum::routing::get;
use http_body_util::Empty;
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
use seawall::deadline::DeadlineLayer;
use seawall::error::rejection;
use seawall::http::respond::RespondLayer;
use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
use seawall::retry::{RetryConfig, RetryLayer};
use tower::util::MapErrLayer;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};

use super::Refusals;
use crate::Error;
use crate::load::http_client;
use crate::scenario::Scenario;

pub(crate) fn service(scenario: &Scenario, dependency: SocketAddr, refusals: &Refusals) -> Result<Router, Error> {
    let at_most = |max_concurrent| BulkheadConfig { max_concurrent, ..BulkheadConfig::default() };
    let client = ServiceBuilder::new()
        .layer(RespondLayer::new())
        .layer(counted(refusals.clone()))
        .layer(DeadlineLayer::http(scenario.deadline)?)
        .layer(RetryLayer::http(RetryConfig::default())?)
        // As many as the dependency works on at once: the other calls wait here, where the wait has a bound.
        .layer(BulkheadLayer::http(at_most(scenario.slots))?)
        .layer(CircuitBreakerLayer::http(CircuitBreakerConfig::default())?)
        .service(http_client());
    let app = router(client, dependency).layer(
        ServiceBuilder::new()
            .layer(RespondLayer::new())
            .layer(counted(refusals.clone()))
            .layer(DeadlineLayer::http(scenario.deadline)?)
            .layer(LoadShedLayer::http(LoadShedConfig::default())?),
    );
    Ok(app)
}

/// Proxies each request. Refusals of the client are already responses, and become the service's own.
fn router<C, B>(client: C, dependency: SocketAddr) -> Router
where
    C: Service<Request<Empty<Bytes>>, Response = Response<B>, Error = Infallible> + Clone + Send + Sync + 'static,
    C::Future: Send,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    let handler = async move |Path(request): Path<usize>| {
        let query = super::query(dependency, request).map_err(|_| StatusCode::BAD_REQUEST)?;
        let Ok(answer) = client.clone().oneshot(query).await;
        Ok::<_, StatusCode>(answer.map(Body::new))
    };
    Router::new().route("/{request}", get(handler))
}

/// Passes errors on, and notes which layer refused or cut the call.
fn counted(refusals: Refusals) -> MapErrLayer<impl FnOnce(BoxError) -> BoxError + Clone> {
    MapErrLayer::new(move |error: BoxError| {
        if let Some(rejected) = rejection(&error) {
            refusals.note(rejected.layer());
        }
        error
    })
}
