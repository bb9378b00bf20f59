//! A provably unsent request is no evidence against a dependency that answers other calls. Rolling restarts and a
//! maximum connection age end connections gracefully all day.

use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use seawall::circuit_breaker::{Snapshot, State};
use tokio::io::{AsyncWriteExt, DuplexStream, copy, sink, split};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::*;

/// An HTTP/2 server that gives each connection a short life and ends it gracefully: it sends `GOAWAY` and completes
/// the streams that it has begun.
async fn short_lived(grpc: bool) -> SocketAddr {
    let (listener, address) = listen().await;
    tokio::spawn(async move {
        while let Ok((socket, _)) = listener.accept().await {
            socket.set_nodelay(true).unwrap();
            tokio::spawn(async move {
                let service = service_fn(move |_| async move {
                    sleep(2 * MS).await;
                    let response = Response::builder();
                    let response = if grpc { response.header("content-type", "application/grpc") } else { response };
                    let frames = grpc.then(ok_message).unwrap_or_default();
                    let body = http_body_util::StreamBody::new(tokio_stream::iter(
                        frames.into_iter().map(Ok::<_, std::convert::Infallible>),
                    ));
                    Ok::<_, std::convert::Infallible>(response.body(body).unwrap())
                });
                let server = http2::Builder::new(TokioExecutor::new());
                let (inside, outside) = tokio::io::duplex(64 * 1024);
                tokio::spawn(relay(socket, outside));
                let mut connection = pin!(server.serve_connection(TokioIo::new(inside), service));
                tokio::select! {
                    _ = &mut connection => return,
                    () = sleep(200 * MS) => connection.as_mut().graceful_shutdown(),
                }
                let _ = connection.await;
            });
        }
    });
    address
}

/// Relays both directions, and reads what the client still sends after the server's end. A socket that is closed with
/// unread data is reset, and on a busy machine the reset can discard the `GOAWAY` before the client has seen it.
async fn relay(socket: TcpStream, server: DuplexStream) {
    let (mut from_client, mut to_client) = socket.into_split();
    let (mut from_server, mut to_server) = split(server);
    let down = async {
        let _ = copy(&mut from_server, &mut to_client).await;
        let _ = to_client.shutdown().await;
    };
    let up = async {
        let _ = copy(&mut from_client, &mut to_server).await;
        let _ = copy(&mut from_client, &mut sink()).await;
    };
    futures::join!(down, up);
}

fn ok_message() -> Vec<http_body::Frame<Bytes>> {
    let trailers = http::HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
    let trailers: http::HeaderMap = trailers;
    vec![http_body::Frame::data(Bytes::from_static(&[0, 0, 0, 0, 2, 8, 1])), http_body::Frame::trailers(trailers)]
}

/// With and without retries. On a busy machine calls are slow, which is not what this tests.
fn configs() -> [ClientConfig; 2] {
    let mut config = ClientConfig { deadline: (60 * SECOND).into(), ..ClientConfig::default() };
    config.circuit_breaker.slow_floor = 30 * SECOND;
    let mut without_retries = config.clone();
    without_retries.retry.max_attempts = 1;
    [config, without_retries]
}

/// Fifty workers call for at least two seconds, and until a hundred calls were answered.
async fn fifty_workers<F: Future<Output = Result<(), String>> + Send>(
    call: impl Fn() -> F + Clone + Send + Sync + 'static,
    breaker: impl Fn() -> Snapshot,
) {
    let over = Arc::new(AtomicBool::new(false));
    let (answered, failed) = (Arc::new(AtomicU32::new(0)), Arc::new(Mutex::new(BTreeMap::<String, u32>::new())));
    let workers: Vec<_> = (0..50)
        .map(|_| {
            let (over, answered, failed, call) = (over.clone(), answered.clone(), failed.clone(), call.clone());
            tokio::spawn(async move {
                while !over.load(Ordering::Relaxed) {
                    match call().await {
                        Ok(()) => drop(answered.fetch_add(1, Ordering::Relaxed)),
                        Err(error) => *failed.lock().unwrap().entry(error).or_default() += 1,
                    }
                    // A loop of immediate refusals would starve the timers and connections.
                    tokio::task::yield_now().await;
                }
            })
        })
        .collect();
    let start = Instant::now();
    while start.elapsed() < 2 * SECOND || answered.load(Ordering::Relaxed) <= 100 {
        let seen = breaker();
        assert_eq!(seen.state, State::Closed, "{seen:?}: {answered:?} answered, not: {failed:?}");
        assert!(start.elapsed() < 300 * SECOND, "{answered:?} answered, not: {failed:?}");
        sleep(MS).await;
    }
    over.store(true, Ordering::Relaxed);
    for worker in workers {
        worker.await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn graceful_connection_ends_open_nothing_over_http2() {
    let to = short_lived(false).await;
    for config in configs() {
        let layers = stack::client(&config).unwrap();
        let http2 = legacy::Client::builder(TokioExecutor::new()).http2_only(true).build(Connector);
        let (client, breaker) = (layers.service(http2), layers.circuit_breaker());
        let call = move || {
            let client = client.clone();
            async move {
                let status = get(&client, to).await.map_err(|error| format!("{error:?}"))?;
                (status == 200).then_some(()).ok_or(status.to_string())
            }
        };
        fifty_workers(call, || breaker.snapshot()).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn graceful_connection_ends_open_nothing_over_grpc() {
    let to = short_lived(true).await;
    for config in configs() {
        let (client, layers) = grpc_client(&config, to);
        let breaker = layers.circuit_breaker();
        let call = move || {
            let client = client.clone();
            async move { check(&client).await.map_err(|status| format!("{status:?}")) }
        };
        fifty_workers(call, || breaker.snapshot()).await;
    }
}
