//! The assembled stacks as users use them: a service that calls another one, over connections in memory.
#![cfg(feature = "http")]

#[path = "pipes/mod.rs"]
#[allow(dead_code, reason = "other tests ask more of it")]
mod pipes;

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use axum::Router;
use axum::routing::{any, get};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use seawall::bulkhead::BulkheadConfig;
use seawall::circuit_breaker::{CircuitBreakerConfig, State};
use seawall::context;
use seawall::deadline::DeadlineConfig;
use seawall::error::{Reason, rejection};
#[cfg(feature = "grpc")]
use seawall::grpc::{ByCall, ByCode, ByTimeout, propagation::GrpcPropagator};
#[cfg(feature = "reqwest")]
use seawall::http::reqwest::ReqwestService;
use seawall::http::{ByStatus, ReplayBody};
#[cfg(feature = "grpc")]
use seawall::http::{MapRequestBody, MapRequestBodyLayer};
use seawall::load_shed::LoadShedConfig;
use seawall::retry::{Backoff, RetryConfig};
use seawall::stack::{self, ClientConfig, ServerConfig};
use seawall::verdict::Verdict;
use tokio::net::TcpListener;
#[cfg(feature = "grpc")]
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
#[cfg(feature = "grpc")]
use tower::Layer;
use tower::{BoxError, ServiceExt, service_fn};

use crate::pipes::{Connector, serve, unused_address};

const SECOND: Duration = Duration::from_secs(1);

fn request(to: SocketAddr) -> Request<Full<Bytes>> {
    Request::get(format!("http://{to}/")).body(Full::default()).unwrap()
}

/// Sends one request through the layers.
async fn send(layers: &stack::ClientLayer, to: SocketAddr) -> Result<(StatusCode, Bytes), BoxError> {
    let client = layers.service(Client::builder(TokioExecutor::new()).build(Connector));
    let response = client.oneshot(request(to)).await?;
    let status = response.status();
    Ok((status, response.into_body().collect().await?.to_bytes()))
}

fn quick() -> ClientConfig {
    let backoff = Backoff::exponential(Duration::from_millis(2), 2.0);
    ClientConfig { deadline: SECOND.into(), retry: RetryConfig { backoff, ..Default::default() }, ..Default::default() }
}

#[test]
fn every_fault_of_a_stack_is_listed_with_its_path() {
    let mut config = quick();
    config.deadline.timeout = Duration::ZERO;
    config.retry.budget.ratio = f64::NAN;
    config.bulkhead.max_concurrent = 0;
    config.circuit_breaker.failure_rate = 2.0;
    config.propagation.max_timeout = Duration::ZERO;
    let error = stack::client(&config).unwrap_err();
    let paths: Vec<_> = error.faults().iter().map(|fault| fault.path()).collect();
    let expected = [
        "deadline.timeout",
        "retry.budget.ratio",
        "bulkhead.max_concurrent",
        "circuit_breaker.failure_rate",
        "propagation.max_timeout",
    ];
    assert_eq!(paths, expected);

    let mut config = ServerConfig::default();
    config.deadline.body_timeout = Some(Duration::ZERO);
    config.load_shed.max_in_flight = 0;
    let error = stack::server(&config).unwrap_err();
    let paths: Vec<_> = error.faults().iter().map(|fault| fault.path()).collect();
    assert_eq!(paths, ["deadline.body_timeout", "load_shed.max_in_flight"]);
}

#[tokio::test(start_paused = true)]
async fn service_that_names_its_body_type_gets_that_type() {
    let answer = |request: Request<Full<Bytes>>| async move { Ok::<_, BoxError>(Response::new(request.into_body())) };
    let plain = stack::server(&ServerConfig::default()).unwrap().service(service_fn(answer));
    #[cfg(feature = "grpc")]
    let grpc = stack::grpc::server(&ServerConfig::default()).unwrap().service(service_fn(answer));
    let request = || Request::post("http://x/").body(Full::from("sent")).unwrap();
    assert_eq!(plain.oneshot(request()).await.unwrap().into_body().collect().await.unwrap().to_bytes(), "sent");
    #[cfg(feature = "grpc")]
    assert_eq!(grpc.oneshot(request()).await.unwrap().into_body().collect().await.unwrap().to_bytes(), "sent");
}

#[tokio::test(start_paused = true)]
async fn call_passes_both_stacks_with_its_deadline() {
    let server = stack::server(&ServerConfig::default()).unwrap();
    let app = Router::new().route("/", get(|| async { format!("{:?}", context::time_left()) })).layer(server);
    let address = serve(app);
    let (status, left) = send(&stack::client(&quick()).unwrap(), address).await.unwrap();
    assert_eq!(status, 200);
    assert!(left.starts_with(b"Some(99"), "nearly a second is left, not ten: {left:?}");
}

#[tokio::test(start_paused = true)]
async fn transient_failure_is_retried() {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let app = Router::new().fallback(any(move || {
        let attempt = count.fetch_add(1, Ordering::SeqCst);
        async move { if attempt == 0 { StatusCode::SERVICE_UNAVAILABLE } else { StatusCode::OK } }
    }));
    let layers = stack::client(&quick()).unwrap();
    let before = layers.budget().balance();
    assert_eq!(send(&layers, serve(app)).await.unwrap().0, 200);
    assert_eq!((seen.load(Ordering::SeqCst), layers.budget().balance()), (2, before - 1));
}

#[tokio::test(start_paused = true)]
async fn verdict_of_a_status_can_be_set_for_the_whole_stack() {
    let seen = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&seen);
    let app = Router::new().fallback(any(move || {
        count.fetch_add(1, Ordering::SeqCst);
        std::future::ready(StatusCode::NOT_FOUND)
    }));
    let address = serve(app);
    let not_yet = ByStatus::new().with_status(StatusCode::NOT_FOUND, Verdict::Transient);
    let circuit_breaker = CircuitBreakerConfig { consecutive_failures: Some(3), ..Default::default() };
    let layers = stack::client(&ClientConfig { circuit_breaker, ..quick() }).unwrap();
    assert_eq!(send(&layers, address).await.unwrap().0, 404);
    assert_eq!((seen.load(Ordering::SeqCst), layers.circuit_breaker().state()), (1, State::Closed));
    let layers = layers.with_classifier(not_yet);
    assert_eq!(send(&layers, address).await.unwrap().0, 404);
    assert_eq!((seen.load(Ordering::SeqCst), layers.circuit_breaker().state()), (4, State::Open));
}

#[tokio::test(start_paused = true)]
async fn dead_host_is_refused_alone_with_state_per_host() {
    let (alive, dead) = (serve(Router::new().fallback(any(|| async {}))), unused_address());
    for per_authority in [true, false] {
        let circuit_breaker = CircuitBreakerConfig { consecutive_failures: Some(3), ..Default::default() };
        let layers = stack::client(&ClientConfig { circuit_breaker, per_authority, ..quick() }).unwrap();
        while rejection(&send(&layers, dead).await.unwrap_err()).map(|rejected| rejected.reason())
            != Some(Reason::CircuitOpen)
        {}
        assert_eq!(send(&layers, alive).await.is_ok(), per_authority);
    }
}

#[tokio::test(start_paused = true)]
async fn full_server_answers_503_with_retry_after() {
    let load_shed = LoadShedConfig { max_in_flight: 1, queue_ratio: 0.0, ..Default::default() };
    // Well before the client's deadline, so that the server answers.
    let deadline = DeadlineConfig::from(SECOND / 2);
    let layers = stack::server(&ServerConfig { load_shed, deadline, ..Default::default() }).unwrap();
    let handle = layers.load_shed();
    let app = Router::new().fallback(any(std::future::pending::<()>)).layer(layers);
    let address = serve(app);
    let config = ClientConfig { retry: RetryConfig { max_attempts: 1, ..Default::default() }, ..quick() };
    let layers = stack::client(&config).unwrap();
    let calls: Vec<_> = (0..3).map(|_| send(&layers, address)).collect();
    let results = futures::future::join_all(calls).await;
    let refused = results.iter().filter(|result| matches!(result, Ok((status, _)) if *status == 503)).count();
    assert_eq!(refused, 2, "one with a full queue, and one after a wait: {results:?}");
    let cut = results.iter().filter(|result| matches!(result, Ok((status, _)) if *status == 504)).count();
    assert_eq!(cut, 1, "the hanging call, at its deadline: {results:?}");
    // The hanging call has left no permit in use, on either side.
    assert_eq!(layers.bulkhead().in_flight(), 0);
    while handle.in_flight() > 0 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn queued_call_is_not_admitted_by_the_breaker_yet() {
    let app = Router::new().fallback(any(std::future::pending::<()>));
    let address = serve(app);
    let bulkhead = BulkheadConfig { max_concurrent: 1, ..Default::default() };
    let deadline = Duration::from_millis(200).into();
    let layers = stack::client(&ClientConfig { bulkhead, deadline, ..quick() }).unwrap();
    let calls: Vec<_> = (0..4).map(|_| send(&layers, address)).collect();
    assert!(futures::future::join_all(calls).await.iter().all(Result::is_err));
    assert!(layers.circuit_breaker().snapshot().calls <= 1, "{:?}", layers.circuit_breaker().snapshot());
}

/// A missing trait bound would otherwise show only in a user's code.
#[tokio::test]
async fn every_client_can_be_named_cloned_and_spawned() {
    fn is_shared<T: Clone + Send + Sync + 'static>(_: &T) {}

    struct Http {
        client: stack::Client<Client<Connector, ReplayBody<Full<Bytes>>>>,
    }
    // Over real sockets, where the time depends on the machine.
    let config = ClientConfig { deadline: (300 * SECOND).into(), ..quick() };
    let layers = stack::client(&config).unwrap();
    let http = Http { client: layers.service(Client::builder(TokioExecutor::new()).build(Connector)) };
    is_shared(&layers);
    is_shared(&http.client);
    is_shared(&stack::server(&ServerConfig::default()).unwrap());
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let app = Router::new().fallback(any(|| async { "hello" }));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let call = async move {
        let response = http.client.oneshot(request(address)).await?;
        Ok::<_, BoxError>(response.into_body().collect().await?.to_bytes())
    };
    assert_eq!(tokio::spawn(call).await.unwrap().unwrap(), "hello");

    #[cfg(feature = "reqwest")]
    {
        let client: stack::Client<ReqwestService> =
            layers.service(reqwest::Client::builder().no_proxy().build().unwrap().into());
        is_shared(&client);
        let call = async move { Ok::<_, BoxError>(client.oneshot(request(address)).await?.status()) };
        assert_eq!(tokio::spawn(call).await.unwrap().unwrap(), 200);
    }
    #[cfg(feature = "grpc")]
    {
        type ToTonic = fn(ReplayBody<tonic::body::Body>) -> tonic::body::Body;
        type Channel = MapRequestBody<tonic::transport::Channel, ToTonic>;
        type Stack = stack::Client<Channel, ByCode, ByCall, GrpcPropagator, ByTimeout>;

        let layers = stack::grpc::client(&config).unwrap();
        let channel = tonic::transport::Endpoint::from_static("http://127.0.0.1:9").connect_lazy();
        let map = MapRequestBodyLayer::new(tonic::body::Body::new as ToTonic);
        let mut client: HealthClient<Stack> = HealthClient::new(layers.service(map.layer(channel)));
        is_shared(&client);
        is_shared(&stack::grpc::server(&ServerConfig::default()).unwrap());
        let call = async move { client.check(HealthCheckRequest::default()).await };
        assert!(tokio::spawn(call).await.unwrap().is_err(), "nothing listens there");
    }
}
