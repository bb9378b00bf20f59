//! Hedged calls over real connections: what the servers and the body of the winner see.

use std::convert::Infallible;
use std::net::SocketAddr;

use bytes::Bytes;
use futures::stream;
use http::{Request, Response};
use http_body::Frame;
use http_body_util::{BodyExt, Empty, StreamBody};
use hyper::body::Incoming;
use hyper_util::client::legacy::Client as HyperClient;
use hyper_util::rt::{TokioExecutor, TokioIo};
use seawall::balance::AtEndpoint;
use seawall::hedge::{HedgeConfig, HedgeDelay, HedgeLayer};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tower::Layer;

use super::*;

const PIECES: usize = 64;
const PIECE: Bytes = Bytes::from_static(&[7; 16 * 1024]);

/// Told when the handler of the first request is dropped.
struct Hanging(mpsc::UnboundedSender<()>);

impl Drop for Hanging {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}

/// Two servers. The first request of all hangs, and others get a large body that takes its time.
async fn servers(http2: bool, dropped: mpsc::UnboundedSender<()>) -> Vec<SocketAddr> {
    let requests = Arc::new(AtomicUsize::new(0));
    let mut addresses = Vec::new();
    for _ in 0..2 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        addresses.push(listener.local_addr().unwrap());
        let (requests, dropped) = (Arc::clone(&requests), dropped.clone());
        let answer = move |_: Request<Incoming>| {
            let hangs = requests.fetch_add(1, Ordering::SeqCst) == 0;
            let hanging = hangs.then(|| Hanging(dropped.clone()));
            async move {
                if hanging.is_some() {
                    std::future::pending::<()>().await;
                }
                let pieces = stream::unfold(0, |sent| async move {
                    sleep(5 * MS).await;
                    (sent < PIECES).then(|| (Ok::<_, Infallible>(Frame::data(PIECE)), sent + 1))
                });
                Ok::<_, Infallible>(Response::new(StreamBody::new(pieces).boxed_unsync()))
            }
        };
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (io, service) = (TokioIo::new(stream), hyper::service::service_fn(answer.clone()));
                if http2 {
                    let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new());
                    tokio::spawn(connection.serve_connection(io, service));
                } else {
                    tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(io, service));
                }
            }
        });
    }
    addresses
}

/// The winner's body is whole, whenever its loser is cancelled. And the server of the loser is told at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn winner_keeps_its_body_and_the_loser_ends_at_its_server() {
    for http2 in [false, true] {
        let (dropped, mut is_dropped) = mpsc::unbounded_channel();
        let endpoints = servers(http2, dropped).await.into_iter().map(|address| Endpoint::new(address.to_string()));
        let layer = BalanceLayer::http(BalanceConfig::default()).unwrap().with_endpoints(endpoints).unwrap();
        let handle = layer.handle();
        let hyper = HyperClient::builder(TokioExecutor::new()).http2_only(http2).build_http();
        let balance = layer.service(move |endpoint| AtEndpoint::new(endpoint, hyper.clone()));
        let config = HedgeConfig { delay: HedgeDelay::Fixed(50 * MS), ..HedgeConfig::default() };
        let service = HedgeLayer::http(config).unwrap().layer(balance);
        let request = Request::builder().uri("http://orders.internal/").body(Empty::<Bytes>::new()).unwrap();
        let response = service.oneshot(request).await.unwrap();
        let guard = tokio::time::timeout(120 * SECOND, is_dropped.recv());
        assert_eq!(guard.await.expect("the server is told"), Some(()), "http2: {http2}");
        assert_eq!(handle.in_flight(), 1, "the loser holds no permit");
        let body = response.into_body().collect().await.expect("the body is whole").to_bytes();
        assert_eq!((body.len(), handle.in_flight()), (PIECES * PIECE.len(), 0), "http2: {http2}");
    }
}
