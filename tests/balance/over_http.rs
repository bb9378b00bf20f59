//! Over HTTP: bodies, and real servers of which one is killed.

use std::convert::Infallible;
use std::net::SocketAddr;

use axum::Router;
use axum::routing::get;
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Empty, Full};
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::rt::TokioExecutor;
use seawall::balance::AtEndpoint;
use seawall::deadline::DeadlineLayer;
use seawall::retry::{Backoff, BudgetConfig, RetryConfig, RetryLayer};
use tokio::net::TcpListener;
use tower::{Layer, service_fn};

use super::*;

#[tokio::test(start_paused = true)]
async fn call_is_at_its_endpoint_until_the_body_ends() {
    let layer = BalanceLayer::http(BalanceConfig::default()).unwrap().with_endpoints([Endpoint::new("a")]).unwrap();
    let client = service_fn(|_: Request<Empty<Bytes>>| async {
        Ok::<_, BoxError>(Response::new(http_body_util::Full::new(Bytes::from("hello"))))
    });
    let (handle, service) = (layer.handle(), layer.service(move |_| client));
    let response = service.clone().oneshot(Request::new(Empty::new())).await.unwrap();
    assert_eq!(handle.in_flight(), 1, "the head is there, and the body is not read");
    assert_eq!(response.into_body().collect().await.unwrap().to_bytes(), "hello");
    assert_eq!(handle.in_flight(), 0);
    let response = service.oneshot(Request::new(Empty::new())).await.unwrap();
    assert_eq!(handle.in_flight(), 1);
    drop(response);
    assert_eq!(handle.in_flight(), 0, "dropped");
}

pub(super) async fn server() -> (SocketAddr, tokio::task::JoinHandle<()>) {
    let hello = get(|| async {
        sleep(2 * MS).await;
        "hello"
    });
    let host = get(|headers: HeaderMap| async move { format!("{:?}", headers.get(http::header::HOST)) });
    let app = Router::new().route("/", hello).route("/host", host);
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    // Connections are tasks of their own, which end with the set.
    let serving = async move {
        let mut connections = tokio::task::JoinSet::new();
        while let Ok((stream, _)) = listener.accept().await {
            let service = hyper_util::service::TowerToHyperService::new(app.clone());
            let io = hyper_util::rt::TokioIo::new(stream);
            connections.spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, service));
        }
    };
    (address, tokio::spawn(serving))
}

/// Three servers over TCP. One is killed under load, with its connections: no idempotent call fails, and nothing is left in flight.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_server_fails_no_idempotent_call() {
    let mut servers = Vec::new();
    for _ in 0..3 {
        servers.push(server().await);
    }
    let layer = BalanceLayer::http(BalanceConfig::default()).unwrap();
    let endpoints = servers.iter().map(|(address, _)| Endpoint::new(address.to_string()));
    let layer = layer.with_endpoints(endpoints).unwrap();
    let handle = layer.handle();
    let balance =
        layer.service(|endpoint| AtEndpoint::new(endpoint, HyperClient::builder(TokioExecutor::new()).build_http()));
    let budget = BudgetConfig { reserve_per_second: 1000.0, reserve_burst: 1000, ..BudgetConfig::default() };
    let retry = RetryConfig { budget, backoff: Backoff::constant(MS), ..RetryConfig::default() };
    let service = DeadlineLayer::http(10 * SECOND).unwrap().layer(RetryLayer::http(retry).unwrap().layer(balance));
    let callers: Vec<_> = (0..8)
        .map(|_| {
            let service = service.clone();
            tokio::spawn(async move {
                let mut failed = Vec::new();
                for _ in 0..100 {
                    let request = Request::builder().uri("/").body(Empty::<Bytes>::new()).unwrap();
                    let answer = async { service.clone().oneshot(request).await?.into_body().collect().await };
                    match answer.await {
                        Ok(body) => assert_eq!(body.to_bytes(), "hello"),
                        Err(error) => failed.push(error.to_string()),
                    }
                }
                failed
            })
        })
        .collect();
    sleep(50 * MS).await;
    servers[0].1.abort();
    for caller in callers {
        assert_eq!(caller.await.unwrap(), [""; 0]);
    }
    assert_eq!(handle.in_flight(), 0);
}

async fn host_of<S, B>(service: S) -> String
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error = BoxError>,
    B: http_body::Body<Data = Bytes, Error: std::fmt::Debug>,
{
    let request = Request::builder().uri("http://orders.internal/host").body(Empty::new()).unwrap();
    let body = service.oneshot(request).await.unwrap().into_body().collect().await.unwrap();
    String::from_utf8(body.to_bytes().to_vec()).unwrap()
}

/// The request goes to the address of the endpoint. The `Host` is that of the endpoint, or the user's by choice.
#[tokio::test]
async fn requests_are_sent_to_the_address_with_the_chosen_host() {
    let (address, _server) = server().await;
    let layer = BalanceLayer::http(BalanceConfig::default()).unwrap();
    let layer = layer.with_endpoints([Endpoint::new(address.to_string())]).unwrap();
    let hyper = HyperClient::builder(TokioExecutor::new()).build_http::<Empty<Bytes>>();
    let client = hyper.clone();
    let own = layer.service(move |endpoint| AtEndpoint::new(endpoint, client.clone()));
    assert_eq!(host_of(own).await, format!("Some({:?})", address.to_string()));
    let kept = layer.service(move |endpoint| AtEndpoint::new(endpoint, hyper.clone()).keep_host());
    assert_eq!(host_of(kept).await, "Some(\"orders.internal\")");
}

#[cfg(feature = "reqwest")]
#[tokio::test]
async fn requests_through_reqwest_are_sent_to_the_address() {
    let (address, _server) = server().await;
    let layer = BalanceLayer::http(BalanceConfig::default()).unwrap();
    let layer = layer.with_endpoints([Endpoint::new(format!("http://{address}"))]).unwrap();
    let client = seawall::http::reqwest::ReqwestService::new(reqwest::Client::new());
    let kept = layer.service(move |endpoint| AtEndpoint::new(endpoint, client.clone()).keep_host());
    assert_eq!(host_of(kept).await, "Some(\"orders.internal\")");
}

/// An answer of one of two endpoints that are equally fast, and of which one reports the calls of other clients.
async fn answer(
    endpoint: &'static str,
    header: &'static str,
    report: &'static str,
    in_trailers: bool,
) -> Result<Response<BoxBody<Bytes, Infallible>>, BoxError> {
    sleep(10 * MS).await;
    let report = HeaderMap::from_iter([(HeaderName::from_static(header), HeaderValue::from_static(report))]);
    let mut trailers = HeaderMap::from_iter([(HeaderName::from_static("grpc-status"), HeaderValue::from_static("0"))]);
    let mut response = Response::builder().header("endpoint", endpoint);
    if in_trailers {
        trailers.extend(report);
    } else {
        response.headers_mut().unwrap().extend(report);
    }
    let body = Full::new(Bytes::from("hello")).with_trailers(async { Some(Ok(trailers)) });
    Ok(response.body(body.boxed())?)
}

/// How many of 200 calls go to the endpoint that is called `busy`.
async fn calls_of_busy<S, B>(service: S) -> usize
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error = BoxError, Future: Send> + Clone + Send + 'static,
    B: http_body::Body<Data = Bytes, Error: std::fmt::Debug> + Send + 'static,
{
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..200 {
        let call = service.clone().oneshot(Request::new(Empty::new()));
        calls.spawn(async {
            let (head, body) = call.await.unwrap().into_parts();
            body.collect().await.unwrap();
            head.headers["endpoint"] == "busy"
        });
        sleep(5 * MS).await;
    }
    calls.join_all().await.into_iter().filter(|is_busy| *is_busy).count()
}

/// A header, and its values for twenty other calls and for none.
const REPORTS: [(&str, &str, &str); 4] = [
    ("endpoint-load-metrics", "TEXT named_metrics.in_flight=20", "TEXT named_metrics.in_flight=0"),
    (
        "endpoint-load-metrics",
        r#"JSON {"named_metrics":{"in_flight":20}}"#,
        r#"JSON {"named_metrics":{"in_flight":0}}"#,
    ),
    ("endpoint-load-metrics", "BIN QhQKCWluX2ZsaWdodBEAAAAAAAA0QA==", "BIN QhQKCWluX2ZsaWdodBEAAAAAAAAAAA=="),
    ("endpoint-load-metrics-bin", "QhQKCWluX2ZsaWdodBEAAAAAAAA0QA", "QhQKCWluX2ZsaWdodBEAAAAAAAAAAA"),
];

/// Two endpoints are equally fast, and one of them reports the calls of other clients: it gets fewer of ours.
#[tokio::test(start_paused = true)]
async fn endpoint_that_reports_more_calls_gets_fewer() {
    for ((header, busy, idle), in_trailers) in REPORTS.into_iter().flat_map(|report| [(report, false), (report, true)])
    {
        let layer = BalanceLayer::http(BalanceConfig::default()).unwrap();
        let layer = layer.with_endpoints(["busy", "idle"].map(Endpoint::new)).unwrap();
        let service = layer.service(move |endpoint| {
            let (key, report) = if endpoint.key() == "busy" { ("busy", busy) } else { ("idle", idle) };
            service_fn(move |_: Request<Empty<Bytes>>| answer(key, header, report, in_trailers))
        });
        let calls = calls_of_busy(service).await;
        assert!(calls < 60, "{calls} of 200 calls, {busy}, in trailers: {in_trailers}");
    }
}

/// As servers of gRPC do (gRFC A51).
#[cfg(feature = "grpc")]
#[tokio::test(start_paused = true)]
async fn grpc_endpoint_that_reports_more_calls_in_trailers_gets_fewer() {
    let (header, busy, idle) = REPORTS[3];
    let layer = BalanceLayer::grpc(BalanceConfig::default()).unwrap();
    let layer = layer.with_endpoints(["busy", "idle"].map(Endpoint::new)).unwrap();
    let service = layer.service(move |endpoint| {
        let (key, report) = if endpoint.key() == "busy" { ("busy", busy) } else { ("idle", idle) };
        service_fn(move |_: Request<Empty<Bytes>>| answer(key, header, report, true))
    });
    let calls = calls_of_busy(service).await;
    assert!(calls < 60, "{calls} of 200 calls");
}
