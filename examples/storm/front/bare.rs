//! What most services do: a timeout for each attempt, and up to three immediate retries.

use std::net::SocketAddr;

use axum::Router;
use axum::body::Bytes;
use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::get;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use tokio::time::timeout;

use crate::Error;
use crate::load::http_client;
use crate::scenario::Scenario;

type HttpClient = Client<HttpConnector, Empty<Bytes>>;

pub(crate) fn service(scenario: &Scenario, dependency: SocketAddr) -> Router {
    let client = http_client();
    let (attempt_timeout, retries) = (scenario.attempt_timeout, scenario.retries);
    let handler = async move |Path(request): Path<usize>| {
        for _ in 0..=retries {
            if let Ok(Ok(StatusCode::OK)) = timeout(attempt_timeout, attempt(&client, dependency, request)).await {
                return StatusCode::OK;
            }
        }
        StatusCode::GATEWAY_TIMEOUT
    };
    Router::new().route("/{request}", get(handler))
}

async fn attempt(client: &HttpClient, dependency: SocketAddr, request: usize) -> Result<StatusCode, Error> {
    let response = client.request(super::query(dependency, request)?).await?;
    let status = response.status();
    response.into_body().collect().await?;
    Ok(status)
}
