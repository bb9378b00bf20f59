//! Ready-made active checks, with real servers.

use std::net::SocketAddr;
use std::sync::atomic::AtomicU16;

use axum::Router;
use axum::routing::get;
use http::StatusCode;
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::rt::TokioExecutor;
use seawall::balance::{AtEndpoint, CheckConfig, http_check};
use seawall::circuit_breaker::State;
use seawall::registry::Registry;
use tokio::net::TcpListener;

use super::breakers::{fail, opens_at_once};
use super::by_hand::listed;
use super::*;

fn often() -> CheckConfig {
    CheckConfig { interval: 100 * MS, jitter: 0.0, timeout: SECOND }
}

/// Two endpoints, of which the one at this address fails its first call. Its breaker opens for 30 s.
async fn with_open(address: SocketAddr) -> (Registry, BalanceLayer) {
    let registry = Registry::new();
    let layer = BalanceLayer::new(opens_at_once()).unwrap().named_in(&registry, "payments").unwrap();
    let layer = layer.with_endpoints([address.to_string(), "127.0.0.1:9".to_owned()].map(Endpoint::new)).unwrap();
    let servers = Servers::new([Behaviour::Fails(MS), Behaviour::Answers(MS)]);
    let service = layer.service(move |endpoint| Client {
        servers: servers.clone(),
        number: usize::from(endpoint.address() == "127.0.0.1:9"),
    });
    fail(&service, 1).await;
    assert_eq!(listed(&registry)[0].breaker, State::Open);
    (registry, layer)
}

/// Waits until the breaker is half-open.
async fn is_back(registry: &Registry) {
    while listed(registry)[0].breaker != State::HalfOpen {
        sleep(10 * MS).await;
    }
}

/// The health route answers with the status that is set.
async fn http_server(status: Arc<AtomicU16>, requests: Arc<AtomicUsize>) -> SocketAddr {
    let health = get(move || async move {
        requests.fetch_add(1, Ordering::SeqCst);
        StatusCode::from_u16(status.load(Ordering::SeqCst)).unwrap()
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, Router::new().route("/healthz", health)).into_future());
    address
}

#[tokio::test]
async fn http_check_passes_on_a_success_status_only() {
    let (status, requests) = (Arc::new(AtomicU16::new(503)), Arc::new(AtomicUsize::new(0)));
    let (registry, layer) = with_open(http_server(Arc::clone(&status), Arc::clone(&requests)).await).await;
    let client = HyperClient::builder(TokioExecutor::new()).build_http();
    let connect = move |endpoint: &Endpoint| AtEndpoint::new(endpoint, client.clone());
    layer.handle().check(often(), http_check(connect, "/healthz?deep=1").unwrap()).unwrap();
    for bad in [503, 302, 404] {
        status.store(bad, Ordering::SeqCst);
        let before = requests.load(Ordering::SeqCst);
        while requests.load(Ordering::SeqCst) < before + 3 {
            sleep(10 * MS).await;
        }
        assert_eq!(listed(&registry)[0].breaker, State::Open, "{bad}");
    }
    status.store(204, Ordering::SeqCst);
    is_back(&registry).await;
}

#[tokio::test]
async fn http_check_needs_an_absolute_path() {
    let check = |path| {
        let client = HyperClient::builder(TokioExecutor::new()).build_http();
        http_check(move |endpoint| AtEndpoint::new(endpoint, client.clone()), path).map(drop)
    };
    assert!(check("/").is_ok());
    for bad in ["", "healthz", "*", "http://a/healthz", "/a b"] {
        let invalid = check(bad).unwrap_err();
        let expected = format!("path: invalid value: {bad:?}, must be a path such as \"/healthz\"");
        assert_eq!(invalid.faults()[0].to_string(), expected);
    }
}

#[cfg(feature = "grpc")]
mod grpc {
    use std::convert::Infallible;
    use std::time::Duration;

    use bytes::Bytes;
    use http::{HeaderMap, HeaderValue, Request, Response};
    use http_body::Frame;
    use http_body_util::StreamBody;
    use seawall::balance::{CheckBody, grpc_check};
    use seawall::http::MapRequestBodyLayer;
    use tokio_stream::wrappers::TcpListenerStream;
    use tonic::transport::{Channel, Server};
    use tonic_health::ServingStatus;
    use tower::{Layer, service_fn};

    use super::*;

    #[tokio::test]
    async fn grpc_check_passes_while_the_service_is_serving() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (registry, layer) = with_open(listener.local_addr().unwrap()).await;
        let (reporter, health) = tonic_health::server::health_reporter();
        reporter.set_service_status("orders.Orders", ServingStatus::NotServing).await;
        tokio::spawn(Server::builder().add_service(health).serve_with_incoming(TcpListenerStream::new(listener)));
        let checked = Arc::new(AtomicUsize::new(0));
        let counting = Arc::clone(&checked);
        let connect = move |endpoint: &Endpoint| {
            counting.fetch_add(1, Ordering::SeqCst);
            let channel = Channel::builder(format!("http://{}", endpoint.address()).parse().unwrap()).connect_lazy();
            MapRequestBodyLayer::new(tonic::body::Body::new).layer(channel)
        };
        let handle = layer.handle();
        // A service that is not known: NOT_FOUND.
        handle.check(often(), grpc_check(connect.clone(), "unknown")).unwrap();
        while checked.load(Ordering::SeqCst) < 3 {
            sleep(10 * MS).await;
        }
        handle.check(often(), grpc_check(connect, "orders.Orders")).unwrap();
        while checked.load(Ordering::SeqCst) < 6 {
            sleep(10 * MS).await;
        }
        assert_eq!(listed(&registry)[0].breaker, State::Open);
        reporter.set_service_status("orders.Orders", ServingStatus::Serving).await;
        is_back(&registry).await;
    }

    type Frames = Vec<Result<Frame<Bytes>, Infallible>>;

    fn data(bytes: &[u8]) -> Result<Frame<Bytes>, Infallible> {
        Ok(Frame::data(Bytes::copy_from_slice(bytes)))
    }

    fn status(code: &'static str) -> Result<Frame<Bytes>, Infallible> {
        Ok(Frame::trailers(HeaderMap::from_iter([(
            http::HeaderName::from_static("grpc-status"),
            HeaderValue::from_static(code),
        )])))
    }

    /// The result of a check that gets this response.
    async fn checked(status: u16, headers: &[(&'static str, &'static str)], frames: Frames) -> Result<(), String> {
        let headers = headers.to_vec();
        let connect = move |_: &Endpoint| {
            let (headers, frames) = (headers.clone(), Arc::new(std::sync::Mutex::new(frames_of(&frames))));
            service_fn(move |request: Request<CheckBody>| {
                let (headers, frames) = (headers.clone(), std::mem::take(&mut *frames.lock().unwrap()));
                async move {
                    assert_eq!(request.uri(), "/grpc.health.v1.Health/Check");
                    let mut response = Response::builder().status(status);
                    for (name, value) in headers {
                        response = response.header(name, value);
                    }
                    Ok::<_, BoxError>(response.body(StreamBody::new(futures::stream::iter(frames))).unwrap())
                }
            })
        };
        let check = grpc_check(connect, "");
        let result = tokio::time::timeout(Duration::from_secs(1), check(&Endpoint::new("a"))).await.unwrap();
        result.map_err(|error| error.to_string())
    }

    fn frames_of(frames: &Frames) -> Frames {
        let again = |frame: &Result<Frame<Bytes>, Infallible>| match frame.as_ref().unwrap() {
            frame if frame.is_data() => Ok(Frame::data(frame.data_ref().unwrap().clone())),
            frame => Ok(Frame::trailers(frame.trailers_ref().unwrap().clone())),
        };
        frames.iter().map(again).collect()
    }

    #[tokio::test]
    async fn wrong_or_oversized_answers_fail_the_grpc_check() {
        let serving = [0, 0, 0, 0, 2, 8, 1];
        assert_eq!(checked(200, &[], vec![data(&serving), status("0")]).await, Ok(()));
        assert_eq!(checked(200, &[], vec![data(&serving[..3]), data(&serving[3..]), status("0")]).await, Ok(()));
        // An unknown field after the known one.
        assert_eq!(checked(200, &[], vec![data(&[0, 0, 0, 0, 4, 8, 1, 16, 7]), status("0")]).await, Ok(()));
        for (http_status, headers, frames, expected) in [
            (503, vec![], vec![], "the HTTP status is 503 Service Unavailable"),
            (200, vec![("grpc-status", "12")], vec![], "the status is UNIMPLEMENTED"),
            (200, vec![("grpc-status", "0")], vec![], "the answer has no message"),
            (200, vec![], vec![], "the answer has no status"),
            (200, vec![], vec![data(&serving)], "the answer has no status"),
            (200, vec![], vec![data(&serving), status("14")], "the status is UNAVAILABLE"),
            (200, vec![], vec![data(&[0, 0, 0, 0, 2, 8, 2]), status("0")], "the serving status is NOT_SERVING"),
            (200, vec![], vec![data(&[0, 0, 0, 0, 0]), status("0")], "the serving status is UNKNOWN"),
            (200, vec![], vec![data(&[0, 0, 0, 0, 2, 8, 9]), status("0")], "the serving status is unknown"),
            (200, vec![], vec![data(&[1, 0, 0, 0, 2, 8, 1]), status("0")], "not one uncompressed message"),
            (200, vec![], vec![data(&[0, 0, 0, 0, 3, 8, 1]), status("0")], "not one uncompressed message"),
            (200, vec![], vec![data(&serving), data(&serving), status("0")], "not one uncompressed message"),
            (200, vec![], vec![data(&serving[..4]), status("0")], "the answer has no message"),
            (200, vec![], vec![data(&[0, 0, 0, 0, 2, 8, 255]), status("0")], "varint"),
            (200, vec![], vec![data(&[0; 1000]), data(&[0; 25])], "larger than 1024 bytes"),
        ] {
            let error = checked(http_status, &headers, frames).await.unwrap_err();
            assert!(error.contains(expected), "{error}, expected {expected}");
        }
    }
}
