#![cfg(feature = "grpc")]
#![allow(clippy::disallowed_methods, reason = "x")]
use axum::Router;
use bytes::Bytes;
use http::{Request, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::client::legacy::{self, connect::HttpConnector};
use hyper_util::rt::TokioExecutor;
use seawall::grpc::{ByCall, ByCode, ByTimeout, propagation::GrpcPropagator};
use seawall::http::{MapRequestBody, MapRequestBodyLayer, ReplayBody};
use seawall::stack::{self, ClientConfig, ServerConfig};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::{HealthCheckRequest, health_client::HealthClient};
use tower::{BoxError, Layer, ServiceExt};

type Mapped = MapRequestBody<Channel, fn(ReplayBody<tonic::body::Body>) -> tonic::body::Body>;
struct Names {
    http: stack::Client<legacy::Client<HttpConnector, ReplayBody<Full<Bytes>>>>,
    grpc: HealthClient<stack::Client<Mapped, ByCode, ByCall, GrpcPropagator, ByTimeout>>,
    #[cfg(feature = "reqwest")]
    reqwest: stack::Client<seawall::http::reqwest::ReqwestService>,
}
fn everything<T: Send + Sync + Clone + 'static>(_: &T) {}

#[tokio::test]
async fn spawn() {
    let layers = stack::client(&ClientConfig::default()).unwrap();
    let channel = Endpoint::from_static("http://127.0.0.1:9").connect_lazy();
    let map: fn(ReplayBody<tonic::body::Body>) -> tonic::body::Body = tonic::body::Body::new;
    let names = Names {
        http: layers.service(legacy::Client::builder(TokioExecutor::new()).build_http()),
        grpc: HealthClient::new(
            stack::grpc::client(&ClientConfig::default())
                .unwrap()
                .service(MapRequestBodyLayer::new(map).layer(channel)),
        ),
        #[cfg(feature = "reqwest")]
        reqwest: layers.service(reqwest::Client::new().into()),
    };
    everything(&names.http);
    everything(&names.grpc);
    #[cfg(feature = "reqwest")]
    everything(&names.reqwest);
    everything(&layers);
    let http = names.http.clone();
    tokio::spawn(async move {
        let request = Request::get("http://127.0.0.1:9/").body(Full::default())?;
        let r = http.oneshot(request).await?;
        r.into_body().collect().await?;
        Ok::<(), BoxError>(())
    })
    .await
    .unwrap()
    .unwrap_err();
    let mut grpc = names.grpc.clone();
    tokio::spawn(async move { grpc.check(HealthCheckRequest::default()).await.map(drop) }).await.unwrap().unwrap_err();
    #[cfg(feature = "reqwest")]
    {
        let rq = names.reqwest.clone();
        tokio::spawn(async move {
            let request = Request::get("http://127.0.0.1:9/").body(Full::<Bytes>::default())?;
            rq.oneshot(request).await?;
            Ok::<(), BoxError>(())
        })
        .await
        .unwrap()
        .unwrap_err();
    }
    let server = stack::server(&ServerConfig::default()).unwrap();
    everything(&server);
    let gs = stack::grpc::server(&ServerConfig::default()).unwrap();
    everything(&gs);
}

async fn raw(to: std::net::SocketAddr, request: &[u8]) -> String {
    let mut s = TcpStream::connect(to).await.unwrap();
    s.write_all(request).await.unwrap();
    let mut v = Vec::new();
    let _ = tokio::time::timeout(Duration::from_secs(3), s.read_to_end(&mut v)).await;
    String::from_utf8_lossy(&v).into_owned()
}

#[tokio::test]
async fn odd_requests() {
    let (_, health) = tonic_health::server::health_reporter();
    let mut config = ServerConfig::default();
    config.deadline.timeout = Duration::from_millis(200);
    let routes = tonic::service::Routes::new(health)
        .into_axum_router()
        .route("/hang", axum::routing::any(std::future::pending::<()>))
        .route(
            "/half",
            axum::routing::any(|| async {
                use tokio_stream::StreamExt;
                let s =
                    tokio_stream::once(Ok::<_, std::io::Error>(Bytes::from("hello"))).chain(tokio_stream::pending());
                axum::body::Body::from_stream(s)
            }),
        );
    for (name, app) in [
        ("grpc", Router::new().merge(routes.clone()).layer(stack::grpc::server(&config).unwrap())),
        (
            "http",
            Router::new().merge(routes).layer({
                let mut c = config.clone();
                c.deadline.body_timeout = None;
                stack::server(&c).unwrap()
            }),
        ),
    ] {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        tokio::spawn(async move { axum::serve(listener, app).await });
        for (method, path) in [
            ("HEAD", "/hang"),
            ("OPTIONS", "/hang"),
            ("GET", "/hang"),
            ("GET", "/nothing"),
            ("HEAD", "/half"),
            ("GET", "/half"),
            ("POST", "/grpc.health.v1.Health/Check"),
        ] {
            let r =
                raw(address, format!("{method} {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").as_bytes())
                    .await;
            println!("--- {name} {method} {path}\n{r}");
        }
        let r = raw(address, b"GET /half HTTP/1.0\r\nhost: x\r\n\r\n").await;
        println!("--- {name} GET /half 1.0\n{r}");
    }
}

#[tokio::test]
async fn hostile_answers() {
    for head in [
        &b"retry-after: 99999999999999999999999999\r\n"[..],
        b"retry-after: \xff\xfe\r\n",
        b"retry-after: 1\r\nretry-after: 2\r\n",
        b"retry-after: Fri, 31 Dec 9999 23:59:59 GMT\r\n",
        b"retry-after: -1\r\nx-should-retry: \xff\r\n",
        b"x-should-retry: false\r\nx-should-retry: true\r\n",
        b"retry-after: 18446744073709551615\r\n",
        b"retry-after: 0\r\n",
    ] {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let n = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
        let m = n.clone();
        let head = head.to_vec();
        let h2 = head.clone();
        tokio::spawn(async move {
            loop {
                let (mut s, _) = listener.accept().await.unwrap();
                m.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                let head = head.clone();
                tokio::spawn(async move {
                    let mut b = [0; 2048];
                    let _ = s.read(&mut b).await;
                    let _ = s
                        .write_all(
                            &[b"HTTP/1.1 503 no\r\ncontent-length: 0\r\nconnection: close\r\n", &head[..], b"\r\n"]
                                .concat(),
                        )
                        .await;
                });
            }
        });
        let layers = stack::client(&ClientConfig::default()).unwrap();
        let client = layers.service(legacy::Client::builder(TokioExecutor::new()).build_http());
        let start = std::time::Instant::now();
        let (r, report) = seawall::retry::report(
            client.oneshot(Request::get(format!("http://{address}/")).body(Full::<Bytes>::default()).unwrap()),
        )
        .await;
        println!(
            "{:?} -> {:?} {:?} {:?} {}",
            String::from_utf8_lossy(&h2),
            r.map(|r| r.status()).map_err(|e| e.to_string()),
            report,
            start.elapsed(),
            n.load(std::sync::atomic::Ordering::SeqCst)
        );
        let _ = StatusCode::OK;
    }
}
