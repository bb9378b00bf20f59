//! Clients that send requests and do not read: their connections are closed, or their streams reset, within the body
//! timeout.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::response::Response;
use axum::routing::get;
use axum::serve::Listener;
use bytes::Bytes;
use http_body_util::BodyExt;
use seawall::http::WriteTimeout;
use seawall::stack::{self, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::pipes::{PipeListener, connect};

const BODY: Duration = Duration::from_millis(300);
/// Far more than the kernel buffers.
const LARGE: usize = 32 << 20;
/// Far more than any test takes.
const LONG: Duration = Duration::from_secs(300);

#[derive(Default)]
struct Counts {
    /// The number of accepted connections.
    accepted: AtomicUsize,
    /// The number of open connections.
    open: AtomicUsize,
}

impl Counts {
    /// Waits until this many connections have been accepted.
    async fn accepted(&self, connections: usize) {
        let start = Instant::now();
        while self.accepted.load(Ordering::SeqCst) < connections {
            assert!(start.elapsed() < LONG, "a connection is not accepted");
            sleep(Duration::from_millis(1)).await;
        }
    }

    /// Waits until all connections are closed.
    async fn closed(&self) {
        let start = Instant::now();
        while self.open.load(Ordering::SeqCst) > 0 {
            assert!(start.elapsed() < LONG, "a connection is still open");
            sleep(Duration::from_millis(5)).await;
        }
    }
}

/// Counts its connections.
struct Counted(TcpListener, Arc<Counts>);

struct Connection(TcpStream, Arc<Counts>);

impl Listener for Counted {
    type Io = Connection;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Connection, SocketAddr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        self.1.open.fetch_add(1, Ordering::SeqCst);
        self.1.accepted.fetch_add(1, Ordering::SeqCst);
        (Connection(stream, Arc::clone(&self.1)), address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.1.open.fetch_sub(1, Ordering::SeqCst);
    }
}

impl AsyncRead for Connection {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

/// A body whose next frame is always ready.
fn endless(frame: usize) -> Body {
    let frame = Bytes::from(vec![0; frame]);
    Body::from_stream(futures::stream::repeat_with(move || Ok::<_, io::Error>(frame.clone())))
}

fn app() -> Router {
    let mut config = ServerConfig::default();
    config.deadline.body_timeout = Some(BODY);
    Router::new()
        .route("/large", get(|| async { vec![0_u8; LARGE] }))
        .route("/endless", get(|| async { endless(64 << 10) }))
        .route("/crumbs", get(|| async { endless(100) }))
        .layer(stack::server(&config).unwrap())
}

struct Server {
    address: SocketAddr,
    counts: Arc<Counts>,
    stop: Option<oneshot::Sender<()>>,
    task: JoinHandle<io::Result<()>>,
}

impl Server {
    async fn start() -> Self {
        Self::serve(app()).await
    }

    async fn serve(app: Router) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let counts = Arc::default();
        let listener = Counted(listener, Arc::clone(&counts));
        let (stop, stopped) = oneshot::channel::<()>();
        let server = axum::serve(listener, app).with_graceful_shutdown(async { drop(stopped.await) });
        Self { address, counts, stop: Some(stop), task: tokio::spawn(async move { server.await }) }
    }

    async fn get(&self, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).await.unwrap();
        stream.write_all(format!("GET {path} HTTP/1.1\r\nhost: server\r\n\r\n").as_bytes()).await.unwrap();
        stream
    }
}

const PATHS: [&str; 3] = ["/large", "/endless", "/crumbs"];

#[tokio::test]
async fn connection_of_a_client_that_does_not_read_is_closed() {
    let server = Server::start().await;
    for (n, path) in PATHS.into_iter().enumerate() {
        let start = Instant::now();
        let _client = server.get(path).await;
        server.counts.accepted(n + 1).await;
        server.counts.closed().await;
        assert!(start.elapsed() >= BODY, "{path}: not before the body timeout");
    }
}

/// Each byte wakes the connection, which finds its buffers full.
#[tokio::test]
async fn connection_of_a_client_that_only_writes_is_closed() {
    let server = Server::start().await;
    let mut clients = Vec::new();
    for path in PATHS {
        clients.push(server.get(path).await);
    }
    for _ in 0..5 {
        sleep(BODY / 10).await;
        for client in &mut clients {
            // The connection may be closed by now.
            drop(client.write_all(b"G").await);
        }
    }
    server.counts.accepted(PATHS.len()).await;
    server.counts.closed().await;
}

#[tokio::test]
async fn graceful_shutdown_ends_despite_a_stalled_client() {
    let mut server = Server::start().await;
    let mut clients = Vec::new();
    for path in PATHS {
        clients.push(server.get(path).await);
    }
    sleep(BODY / 3).await;
    server.stop.take().unwrap().send(()).unwrap();
    timeout(LONG, &mut server.task).await.expect("it ends").unwrap().unwrap();
}

/// An HTTP/2 client with windows of this many bytes.
async fn http2(address: SocketAddr, window: u32) -> h2::client::SendRequest<Bytes> {
    let stream = connect(address, |_| Ok(())).await.unwrap();
    let mut builder = h2::client::Builder::new();
    let (send, connection) =
        builder.initial_window_size(window).initial_connection_window_size(1 << 30).handshake(stream).await.unwrap();
    tokio::spawn(async move { drop(connection.await) });
    send
}

#[tokio::test(start_paused = true)]
async fn http2_stream_with_a_closed_window_is_reset() {
    let listener = PipeListener::bind();
    let address = listener.address();
    let (stop, stopped) = oneshot::channel::<()>();
    let server = axum::serve(listener, app()).with_graceful_shutdown(async { drop(stopped.await) });
    let server = tokio::spawn(async move { server.await });
    for window in [65_535, 100_000, 2 << 20] {
        let mut send = http2(address, window).await;
        for path in PATHS {
            let request = http::Request::get(format!("http://server{path}")).body(()).unwrap();
            let (answer, _) = send.send_request(request, true).unwrap();
            let mut body = answer.await.unwrap().into_body();
            let error = timeout(LONG, async {
                loop {
                    match body.data().await {
                        Some(Ok(_)) => {}
                        end => break end,
                    }
                }
            });
            let end = error.await.unwrap_or_else(|_| panic!("{path} with {window} is still open"));
            assert!(end.is_some_and(|end| end.unwrap_err().is_reset()), "{path} with {window}");
        }
    }
    stop.send(()).unwrap();
    timeout(LONG, server).await.expect("it ends").unwrap().unwrap();
}

/// Clients that read get the same bytes as before, however they read.
#[tokio::test]
async fn client_that_reads_gets_everything() {
    let payload: Bytes = (0..LARGE / 4).map(|n| (n / 3) as u8).collect();
    let whole = payload.clone();
    let mut pieces = payload.clone();
    let route = get(move || {
        let whole = whole.clone();
        async move { whole }
    });
    let frames: Vec<_> =
        std::iter::from_fn(|| (!pieces.is_empty()).then(|| pieces.split_to(pieces.len().min(5_000)))).collect();
    let streamed = get(move || {
        let frames: Vec<_> = frames.iter().cloned().map(Ok::<_, io::Error>).collect();
        async move { Body::from_stream(futures::stream::iter(frames)) }
    });
    // Middleware outside of the stack that buffers all frames.
    let collects = axum::middleware::map_response(|response: Response| async move {
        let (head, body) = response.into_parts();
        Response::from_parts(head, Body::from(body.collect().await.unwrap().to_bytes()))
    });
    let layers = stack::server(&ServerConfig::default()).unwrap();
    let plain = Router::new().route("/", route.clone()).route("/streamed", streamed.clone()).layer(layers.clone());
    let app = plain
        .nest("/collected", Router::new().route("/", route).route("/streamed", streamed).layer(layers).layer(collects));
    let server = Server::serve(app).await;
    for path in ["/", "/streamed", "/collected", "/collected/streamed"] {
        let url = format!("http://{}{path}", server.address);
        let request = || http::Request::get(&url).body(http_body_util::Empty::<Bytes>::new()).unwrap();
        let mut builder = hyper_util::client::legacy::Client::builder(hyper_util::rt::TokioExecutor::new());
        for http2 in [false, true] {
            let client = builder.http2_only(http2).build_http();
            let body = client.request(request()).await.unwrap().into_body();
            let read = timeout(LONG, body.collect()).await.expect(path).unwrap().to_bytes();
            assert!(read == payload, "{path} {http2}: {} bytes", read.len());
        }
    }
}

/// As in the documentation.
struct Bounded(Counted);

impl Listener for Bounded {
    type Io = WriteTimeout<Connection>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        let (stream, address) = self.0.accept().await;
        (WriteTimeout::new(stream, BODY), address)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// Only the write timeout of the connection, without layers: the server has taken a whole body, and responses are
/// queued.
#[tokio::test]
async fn write_timeout_closes_a_connection_without_layers() {
    let app = Router::new().route("/large", get(|| async { vec![0_u8; LARGE] }));
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let counts = Arc::<Counts>::default();
    let listener = Bounded(Counted(listener, Arc::clone(&counts)));
    tokio::spawn(async move { axum::serve(listener, app).await });
    let mut client = TcpStream::connect(address).await.unwrap();
    client
        .write_all(b"GET /large HTTP/1.1\r\nhost: server\r\n\r\nGET /large HTTP/1.1\r\nhost: server\r\n\r\n")
        .await
        .unwrap();
    let start = Instant::now();
    counts.accepted(1).await;
    counts.closed().await;
    assert!(start.elapsed() >= BODY);
}

#[tokio::test(start_paused = true)]
async fn write_timeout_restarts_with_progress_and_ignores_reads() {
    let (ours, mut peer) = tokio::io::duplex(8);
    let mut ours = WriteTimeout::new(ours, 10 * BODY);
    for _ in 0..5 {
        let start = Instant::now();
        ours.write_all(b"12345678").await.unwrap();
        let (written, read) = tokio::join!(ours.write_all(b"1"), async {
            sleep(9 * BODY).await;
            peer.read_exact(&mut [0; 9]).await
        });
        assert!(written.is_ok() && read.is_ok() && start.elapsed() < 10 * BODY);
    }
    assert!(timeout(1000 * BODY, ours.read_u8()).await.is_err(), "a read has no timeout");
    ours.write_all(b"12345678").await.unwrap();
    let start = Instant::now();
    assert_eq!(ours.write_all(b"1").await.unwrap_err().kind(), io::ErrorKind::TimedOut);
    assert!((10 * BODY..11 * BODY).contains(&start.elapsed()));
}
