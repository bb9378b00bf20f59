//! Connections in memory. A paused clock cannot know whether a socket has data on its way. With pipes it advances only
//! when nothing is pending, and tests take as long on a busy machine as on an idle one.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::task::{Context, Poll};

use futures::future::BoxFuture;
use http::Uri;
use hyper_util::client::legacy::connect::{Connected, Connection};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::mpsc;
use tower::{BoxError, Service};

/// About as much as a socket buffers without a reader.
const BUFFER: usize = 64 * 1024;

static LISTENERS: Mutex<Option<HashMap<Ipv4Addr, mpsc::UnboundedSender<DuplexStream>>>> = Mutex::new(None);

/// Accepts connections to its address, which is outside of any network.
#[derive(Debug)]
pub(crate) struct PipeListener {
    address: Ipv4Addr,
    connections: mpsc::UnboundedReceiver<DuplexStream>,
}

impl PipeListener {
    pub(crate) fn bind() -> Self {
        static LAST: AtomicU32 = AtomicU32::new(u32::from_be_bytes([240, 0, 0, 0]));
        let address = Ipv4Addr::from(LAST.fetch_add(1, Relaxed));
        let (sender, connections) = mpsc::unbounded_channel();
        LISTENERS.lock().unwrap().get_or_insert_default().insert(address, sender);
        Self { address, connections }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (self.address, 80).into()
    }

    pub(crate) async fn accept(&mut self) -> DuplexStream {
        self.connections.recv().await.expect("the sender is in the list")
    }
}

impl PipeListener {
    /// All connections, one after the other.
    pub(crate) fn into_stream(self) -> impl futures::Stream<Item = std::io::Result<DuplexStream>> + Send {
        futures::stream::unfold(self, |mut listener| async move { Some((Ok(listener.accept().await), listener)) })
    }
}

impl axum::serve::Listener for PipeListener {
    type Io = DuplexStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (DuplexStream, SocketAddr) {
        (PipeListener::accept(self).await, self.address())
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        Ok(self.address())
    }
}

/// Serves a router for as long as the runtime lives.
pub(crate) fn serve(app: axum::Router) -> SocketAddr {
    let listener = PipeListener::bind();
    let address = listener.address();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// An address at which nothing ever listens.
pub(crate) fn unused_address() -> SocketAddr {
    PipeListener::bind().address()
}

impl Drop for PipeListener {
    fn drop(&mut self) {
        LISTENERS.lock().unwrap().get_or_insert_default().remove(&self.address);
    }
}

/// Connects to a pipe, or to a socket with these settings, depending on the address.
pub(crate) async fn connect(
    address: SocketAddr,
    settings: impl FnOnce(&TcpSocket) -> std::io::Result<()>,
) -> std::io::Result<Stream> {
    let listening = match address.ip() {
        IpAddr::V4(ip) if ip.octets()[0] >= 240 => LISTENERS.lock().unwrap().get_or_insert_default().get(&ip).cloned(),
        _ => {
            let socket = TcpSocket::new_v4()?;
            settings(&socket)?;
            return socket.connect(address).await.map(Stream::Socket);
        }
    };
    let (ours, theirs) = duplex(BUFFER);
    match listening.map(|listener| listener.send(theirs)) {
        Some(Ok(())) => Ok(Stream::Pipe(ours)),
        _ => Err(std::io::ErrorKind::ConnectionRefused.into()),
    }
}

/// [`connect`] for hyper-util's client.
#[derive(Clone, Debug)]
pub(crate) struct Connector;

impl Service<Uri> for Connector {
    type Response = TokioIo<Stream>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Self::Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        Box::pin(async move {
            let address = uri.authority().ok_or("no authority")?.as_str().parse()?;
            Ok(TokioIo::new(connect(address, |socket| socket.set_nodelay(true)).await?))
        })
    }
}

/// A connection of either kind.
#[derive(Debug)]
pub(crate) enum Stream {
    Pipe(DuplexStream),
    Socket(TcpStream),
}

impl Stream {
    /// Makes the other end see a reset when this is dropped. A pipe cannot reset: it just ends.
    pub(crate) fn reset(&self) {
        if let Self::Socket(socket) = self {
            let _ = socket.set_zero_linger();
        }
    }
}

impl Connection for Stream {
    fn connected(&self) -> Connected {
        Connected::new()
    }
}

macro_rules! either {
    ($stream:expr, $method:ident, $($argument:expr),*) => {
        match $stream.get_mut() {
            Stream::Pipe(pipe) => Pin::new(pipe).$method($($argument),*),
            Stream::Socket(socket) => Pin::new(socket).$method($($argument),*),
        }
    };
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<std::io::Result<()>> {
        either!(self, poll_read, cx, to)
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<std::io::Result<usize>> {
        either!(self, poll_write, cx, from)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        either!(self, poll_flush, cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        either!(self, poll_shutdown, cx)
    }
}
