//! A router on a port of its own, and clients that read by hand.

use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use bytes::Bytes;
use http_body::{Body, Frame};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::{Instant, Sleep, sleep};

use crate::pipes::{self, Stream, connect};

pub(crate) async fn serve(app: Router) -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move { axum::serve(listener, app).await });
    address
}

/// Like [`serve`], over connections in memory, for tests with a paused clock.
pub(crate) async fn serve_in_memory(app: Router) -> SocketAddr {
    pipes::serve(app)
}

/// A client that controls what it reads, and when.
pub(crate) struct Reader(Stream);

impl Reader {
    /// Requests `path`. The kernel buffers what the client does not read, but not much of it.
    pub(crate) async fn get(address: SocketAddr, path: &str) -> Self {
        let mut stream = connect(address, |socket| socket.set_recv_buffer_size(4096)).await.unwrap();
        let request = format!("GET {path} HTTP/1.1\r\nhost: server\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await.unwrap();
        Self(stream)
    }

    /// Reads up to this many bytes; 0 at the end of the connection, however it ends.
    pub(crate) async fn read(&mut self, bytes: usize) -> usize {
        self.0.read(&mut vec![0; bytes]).await.unwrap_or(0)
    }

    /// Reads to the end of the connection, however it ends.
    pub(crate) async fn rest(mut self) -> Vec<u8> {
        let mut all = Vec::new();
        let _ = self.0.read_to_end(&mut all).await;
        all
    }
}

/// An endless body with a frame at a fixed interval. It sends a message when it is dropped.
pub(crate) struct Endless {
    every: Duration,
    wait: Pin<Box<Sleep>>,
    dropped: Option<tokio::sync::oneshot::Sender<Instant>>,
}

impl Endless {
    pub(crate) fn new(every: Duration) -> (Self, tokio::sync::oneshot::Receiver<Instant>) {
        let (tell, told) = tokio::sync::oneshot::channel();
        (Self { every, wait: Box::pin(sleep(every)), dropped: Some(tell) }, told)
    }
}

impl Body for Endless {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if !self.every.is_zero() {
            std::task::ready!(self.wait.as_mut().poll(cx));
            self.wait = Box::pin(sleep(self.every));
        }
        Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(&[b'x'; 16 * 1024])))))
    }
}

impl Drop for Endless {
    fn drop(&mut self) {
        if let Some(tell) = self.dropped.take() {
            let _ = tell.send(Instant::now());
        }
    }
}

/// Waits until the condition holds.
///
/// # Panics
/// If it does not hold after five minutes; tests of bounds measure the time themselves.
pub(crate) async fn until(mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while start.elapsed() < Duration::from_secs(300) {
        if holds() {
            return;
        }
        sleep(Duration::from_millis(1)).await;
    }
    panic!("the condition did not hold in time");
}
