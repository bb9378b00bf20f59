//! Faults of gRPC calls, between tonic's client and server.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use seawall::chaos::{ChaosFault, ChaosLayer};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
use seawall::deadline::DeadlineLayer;
use seawall::error::rejection_in;
use seawall::http::{Idempotent, MapRequestBodyLayer};
use seawall::retry::{RetryConfig, RetryLayer};
use tokio::time::Instant;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Request, Status};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tower::ServiceBuilder;

use crate::pipes::{Connector, PipeListener};
use crate::{MS, always};

const DEADLINE: Duration = Duration::from_millis(2000);

fn channel(to: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{to}")).unwrap().connect_with_connector_lazy(Connector)
}

async fn serve() -> SocketAddr {
    let listener = PipeListener::bind();
    let address = listener.address();
    let (_, health) = tonic_health::server::health_reporter();
    tokio::spawn(Server::builder().add_service(health).serve_with_incoming(listener.into_stream()));
    address
}

/// Serves with this fault on the server's side.
async fn serve_with(fault: ChaosFault) -> SocketAddr {
    let listener = PipeListener::bind();
    let address = listener.address();
    let (_, health) = tonic_health::server::health_reporter();
    let layers = ServiceBuilder::new().layer(ChaosLayer::http(always(fault)).unwrap());
    let server = Server::builder().layer(layers).add_service(health);
    tokio::spawn(async move { server.serve_with_incoming(listener.into_stream()).await });
    address
}

/// One call with this fault, on either side: what tonic sees, and how many failures a breaker around sees.
async fn call(fault: ChaosFault, is_client: bool) -> (Result<i32, Status>, u64) {
    let breaker = CircuitBreakerLayer::grpc(CircuitBreakerConfig::default()).unwrap();
    let handle = breaker.handle();
    let outer = ServiceBuilder::new().layer(DeadlineLayer::grpc(DEADLINE).unwrap()).layer(breaker);
    let request = HealthCheckRequest::default();
    let result = if is_client {
        let chaos = ChaosLayer::http(always(fault)).unwrap();
        HealthClient::new(outer.layer(chaos).service(channel(serve().await))).check(request).await
    } else {
        HealthClient::new(outer.service(channel(serve_with(fault).await))).check(request).await
    };
    tokio::time::sleep(MS).await;
    (result.map(|response| response.into_inner().status), handle.snapshot().failures)
}

#[tokio::test(start_paused = true)]
async fn code_with_pushback_reaches_the_caller() {
    for is_client in [true, false] {
        let fault = ChaosFault::Code { code: 14, pushback: Some(250 * MS) };
        let (result, _) = call(fault, is_client).await;
        let status = result.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable);
        assert_eq!(status.metadata().get("grpc-retry-pushback-ms").unwrap(), "250");
    }
}

#[tokio::test(start_paused = true)]
async fn retry_obeys_an_injected_pushback() {
    let count = Arc::new(AtomicUsize::new(0));
    let counts = Arc::clone(&count);
    let chaos = ChaosLayer::http(always(ChaosFault::Code { code: 14, pushback: Some(250 * MS) })).unwrap();
    let first_only = chaos.only(move |_: &http::Request<_>| counts.fetch_add(1, Ordering::SeqCst) == 0);
    let stack = ServiceBuilder::new()
        .layer(DeadlineLayer::grpc(DEADLINE).unwrap())
        .layer(RetryLayer::grpc(RetryConfig::default()).unwrap())
        .layer(MapRequestBodyLayer::new(tonic::body::Body::new))
        .layer(first_only)
        .service(channel(serve().await));
    let start = Instant::now();
    let mut request = Request::new(HealthCheckRequest::default());
    request.extensions_mut().insert(Idempotent(true));
    HealthClient::new(stack).check(request).await.unwrap();
    assert_eq!(count.load(Ordering::SeqCst), 2);
    assert!(start.elapsed() >= 250 * MS, "{:?}", start.elapsed());
}

/// A call that ends without its trailers has no status: a failure of the dependency.
#[tokio::test(start_paused = true)]
async fn missing_trailers_are_a_failure() {
    for is_client in [true, false] {
        let (_, failures) = call(ChaosFault::NoTrailers, is_client).await;
        assert_eq!(failures, 1, "on the client: {is_client}");
    }
}

#[tokio::test(start_paused = true)]
async fn damaged_messages_fail_the_call() {
    for is_client in [true, false] {
        for fault in [ChaosFault::Truncate { after: 3 }, ChaosFault::Reset { after: 3 }, ChaosFault::Drop] {
            let (result, failures) = call(fault, is_client).await;
            assert!(result.is_err() && failures == 1, "{fault:?}, on the client: {is_client}: {result:?}, {failures}");
        }
        for fault in [ChaosFault::Hang, ChaosFault::Stall { after: 3 }] {
            let start = Instant::now();
            let (result, _) = call(fault, is_client).await;
            let status = result.unwrap_err();
            // The client's deadline, or the server's own by `grpc-timeout`.
            assert!(rejection_in(&status).is_some() || status.code() == Code::Cancelled, "{fault:?}: {status:?}");
            assert!(start.elapsed() <= DEADLINE + 50 * MS, "{fault:?}");
        }
        let (result, failures) = call(ChaosFault::Drip { bytes: 1, every: 10 * MS }, is_client).await;
        assert!(result.is_ok() && failures == 0, "{result:?}");
    }
}
