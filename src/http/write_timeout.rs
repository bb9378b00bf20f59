use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::admission::timer::Timer;
use crate::ground::time::{self, Instant};

/// A connection on which a write fails if the peer reads nothing for too long.
///
/// Use it for a server's connections. A layer cuts the body of a response in time, but it cannot reach bytes that the
/// server has already taken: the last piece of a body, a response to a pipelined request, or anything over TLS that
/// encrypts on write. A client that does not read holds these bytes and its connection for as long as it likes. With
/// this wrapper, a write that makes no progress for `timeout` fails with [`ErrorKind::TimedOut`], and the server closes
/// the connection. It does not affect reads or idle connections.
///
/// It implements [`tokio::io::AsyncWrite`], for `hyper_util::rt::TokioIo` and for axum listeners:
///
/// ```
/// use std::{io, net::SocketAddr, time::Duration};
/// use axum::{Router, routing::get, serve::Listener};
/// use seawall::http::WriteTimeout;
/// use tokio::net::{TcpListener, TcpStream};
///
/// struct Bounded(TcpListener);
///
/// impl Listener for Bounded {
///     type Io = WriteTimeout<TcpStream>;
///     type Addr = SocketAddr;
///
///     async fn accept(&mut self) -> (Self::Io, SocketAddr) {
///         let (stream, address) = Listener::accept(&mut self.0).await;
///         (WriteTimeout::new(stream, Duration::from_secs(30)), address)
///     }
///
///     fn local_addr(&self) -> io::Result<SocketAddr> {
///         self.0.local_addr()
///     }
/// }
///
/// # async fn serve() -> io::Result<()> {
/// let listener = Bounded(TcpListener::bind("127.0.0.1:8080").await?);
/// axum::serve(listener, Router::new().route("/", get(|| async { "hello" }))).await
/// # }
/// ```
///
/// Put it under TLS, next to the socket, where a write means that the peer has made progress. Choose a timeout of at
/// least `body_timeout`, and longer than a healthy client may pause.
///
/// # How fast a client must read
/// Every byte that the socket takes is progress and restarts the timeout. But a full socket takes nothing until a large
/// part of its send buffer is free again. On Linux that part is a third, and the buffer grows to 4 MiB
/// (`net.ipv4.tcp_wmem`). Until then, a client that reads slowly and steadily looks as if it read nothing. In each
/// `timeout` it must read about this much:
///
/// | send buffer, on Linux | between two writes | at a timeout of 30 s |
/// |---|---|---|
/// | grows by itself (default) | 1 MB measured, 1.4 MB at most | 50 kB/s |
/// | `SO_SNDBUF` of 64 KiB | 0.2 MB, most of it in the client's receive window | 7 kB/s |
/// | `TCP_NOTSENT_LOWAT` of 16 KiB | the same | 7 kB/s |
///
/// So choose the timeout by the slowest client that you want to serve: 1.4 MB divided by its rate, plus a margin. To
/// serve slower clients with the same timeout, set `TCP_NOTSENT_LOWAT` (the sysctl `net.ipv4.tcp_notsent_lowat` applies
/// to all sockets), and measure what that costs in throughput. Or set `SO_SNDBUF` by
/// `tokio::net::TcpSocket::set_send_buffer_size` before `listen`, which limits each connection to one buffer per round
/// trip.
///
/// **Cost:** nothing while writes succeed; a pooled timer while a write waits.
///
/// # Panics
/// A write that has to wait panics outside a tokio runtime with a time driver.
#[pin_project]
#[derive(Debug)]
pub struct WriteTimeout<IO> {
    #[pin]
    io: IO,
    timeout: Duration,
    /// When the waiting write fails.
    until: Option<Instant>,
    timer: Timer,
}

impl<IO> WriteTimeout<IO> {
    /// Lets a write to `io` wait for at most `timeout`.
    pub fn new(io: IO, timeout: Duration) -> Self {
        Self { io, timeout, until: None, timer: Timer::new() }
    }

    /// The inner connection.
    pub fn get_ref(&self) -> &IO {
        &self.io
    }

    /// The inner connection.
    pub fn get_mut(&mut self) -> &mut IO {
        &mut self.io
    }

    /// The inner connection, without the timeout.
    pub fn into_inner(self) -> IO {
        self.io
    }

    fn bounded<T>(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        write: impl FnOnce(Pin<&mut IO>, &mut Context<'_>) -> Poll<io::Result<T>>,
    ) -> Poll<io::Result<T>> {
        let this = self.project();
        if let Poll::Ready(result) = write(this.io, cx) {
            if this.until.take().is_some() {
                this.timer.disarm();
            }
            return Poll::Ready(result);
        }
        let until = *this.until.get_or_insert_with(|| time::now() + *this.timeout);
        this.timer.poll_until(cx, until).map(|()| Err(io::Error::new(ErrorKind::TimedOut, "the peer reads nothing")))
    }
}

impl<IO: AsyncRead> AsyncRead for WriteTimeout<IO> {
    fn poll_read(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.project().io.poll_read(cx, buf)
    }
}

impl<IO: AsyncWrite> AsyncWrite for WriteTimeout<IO> {
    fn poll_write(self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.bounded(cx, |io, cx| io.poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.bounded(cx, |io, cx| io.poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.bounded(cx, |io, cx| io.poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.bounded(cx, |io, cx| io.poll_shutdown(cx))
    }
}
