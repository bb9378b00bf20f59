//! A tonic server and a tonic client, each behind its layers: `cargo run --example grpc --features grpc`.
//!
//! The service is tonic-health's, which needs no Protobuf compiler. Three of the names that it knows cause trouble:
//! one fails twice before it answers, one never answers, and one always fails.
#![allow(clippy::disallowed_methods, reason = "an example looks at the clock as users do")]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{Request, Response};
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerLayer};
use seawall::deadline::DeadlineLayer;
use seawall::error::{InvalidConfig, Reason, rejection_in};
use seawall::http::respond::RespondLayer;
use seawall::http::{LongLived, MapRequestBodyLayer};
use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
use seawall::retry::{Backoff, RetryConfig, RetryLayer, report};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::body::Body;
use tonic::transport::{Channel, Endpoint, Server};
use tonic::{Code, Status};
use tonic_health::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_health::pb::health_server::{Health, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};
use tonic_health::server::{HealthReporter, HealthService};
use tower::{BoxError, Service, ServiceBuilder};

const SERVING: i32 = 1;
const NOT_SERVING: i32 = 2;

#[tokio::main]
async fn main() -> Result<(), BoxError> {
    let reporter = HealthReporter::new();
    let calls = Arc::new(AtomicUsize::new(0));
    let address = serve(&reporter, Arc::clone(&calls)).await?;
    let channel = Endpoint::from_shared(format!("http://{address}"))?.connect_lazy();
    let mut client = HealthClient::new(client(channel)?);

    // What goes well goes through.
    let answer = client.check(about("")).await?.into_inner();
    assert_eq!(answer.status, SERVING);
    println!("checked health: serving");

    // The caller does not see a transient failure; a report shows it.
    let (answer, told) = report(client.check(about("stumbles"))).await;
    assert_eq!(answer?.into_inner().status, SERVING);
    let told = told.ok_or("there is a retry layer")?;
    assert_eq!(told.attempts, 3);
    println!("unavailable twice: serving, after {} attempts in {:.0?}", told.attempts, told.elapsed);

    // A hanging call is cut, and the status says why.
    let start = Instant::now();
    let status = client.check(about("hangs")).await.expect_err("nobody answers");
    let refusal = rejection_in(&status).ok_or("a layer refused or cut the call")?;
    assert_eq!((refusal.layer(), refusal.reason()), ("deadline", Reason::DeadlineExceeded));
    assert!(start.elapsed() < Duration::from_secs(2));
    println!("a server that hangs: {refusal}, after {:.0?}", start.elapsed());

    // A long-lived stream is marked as such, and has a timeout of its own.
    let mut request = tonic::Request::new(about(""));
    request.extensions_mut().insert(LongLived::new(Duration::from_secs(60)));
    let mut stream = client.watch(request).await?.into_inner();
    assert_eq!(stream.message().await?.map(|answer| answer.status), Some(SERVING));
    tokio::time::sleep(Duration::from_millis(600)).await;
    reporter.set_service_status("", ServingStatus::NotServing).await;
    assert_eq!(stream.message().await?.map(|answer| answer.status), Some(NOT_SERVING));
    drop(stream);
    println!("a watch of more than the deadline: receives that it is not serving any more");

    // The breaker opens on a dependency that always fails, although each response has HTTP status 200.
    let before = calls.load(Ordering::SeqCst);
    let mut refused = 0;
    for _ in 0..200 {
        let status = client.check(about("fails")).await.expect_err("it always fails");
        match rejection_in(&status).map(|refusal| refusal.reason()) {
            Some(Reason::CircuitOpen) => refused += 1,
            _ => assert_eq!(status.code(), Code::Unavailable),
        }
    }
    let sent = calls.load(Ordering::SeqCst) - before;
    assert!(sent < 50 && refused > 150, "{sent} calls got through, {refused} were refused");
    println!("200 calls to a server that fails: {sent} attempts got through, then the circuit was open");
    Ok(())
}

/// The client's layers, outermost first.
fn client(
    channel: Channel,
) -> Result<
    impl Service<
        Request<Body>,
        Response = Response<impl http_body::Body<Data = Bytes, Error = BoxError> + Send + 'static>,
        Error = BoxError,
        Future: Send,
    > + Clone,
    InvalidConfig,
> {
    let retry = RetryConfig { backoff: Backoff::exponential(Duration::from_millis(5), 2.0), ..RetryConfig::default() };
    Ok(ServiceBuilder::new()
        .layer(DeadlineLayer::grpc(Duration::from_millis(500))?)
        .layer(RetryLayer::grpc(retry)?)
        // The channel has a body type of its own.
        .layer(MapRequestBodyLayer::new(Body::new))
        .layer(BulkheadLayer::grpc(BulkheadConfig::default())?)
        .layer(CircuitBreakerLayer::grpc(CircuitBreakerConfig::default())?)
        .service(channel))
}

/// The server, with its layers, outermost first.
async fn serve(reporter: &HealthReporter, calls: Arc<AtomicUsize>) -> Result<SocketAddr, BoxError> {
    let health = Troubled { health: HealthService::from_health_reporter(reporter.clone()), calls, stumbles: 2.into() };
    let layers = ServiceBuilder::new()
        // Refusals become statuses, so tonic needs no error handling.
        .layer(RespondLayer::grpc())
        .layer(DeadlineLayer::grpc(Duration::from_secs(5))?)
        .layer(LoadShedLayer::grpc(LoadShedConfig::default())?);
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let address = listener.local_addr()?;
    let server = Server::builder().layer(layers).add_service(HealthServer::new(health));
    tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
    Ok(address)
}

fn about(service: &str) -> HealthCheckRequest {
    HealthCheckRequest { service: service.to_owned() }
}

/// tonic-health's service, with failures.
struct Troubled {
    health: HealthService,
    calls: Arc<AtomicUsize>,
    /// How often it will still fail.
    stumbles: AtomicUsize,
}

#[tonic::async_trait]
impl Health for Troubled {
    async fn check(
        &self,
        request: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<HealthCheckResponse>, Status> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        match request.get_ref().service.as_str() {
            "stumbles" => {
                let take = |left: usize| left.checked_sub(1);
                match self.stumbles.fetch_update(Ordering::SeqCst, Ordering::SeqCst, take) {
                    Ok(_) => Err(Status::unavailable("not yet")),
                    Err(_) => self.health.check(tonic::Request::new(about(""))).await,
                }
            }
            "hangs" => std::future::pending().await,
            "fails" => Err(Status::unavailable("out of order")),
            _ => self.health.check(request).await,
        }
    }

    type WatchStream = <HealthService as Health>::WatchStream;

    async fn watch(
        &self,
        request: tonic::Request<HealthCheckRequest>,
    ) -> Result<tonic::Response<Self::WatchStream>, Status> {
        self.health.watch(request).await
    }
}
