use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use pin_project::pin_project;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::admission::timer::Timer;
use crate::ground::time::{self, Instant};

/// A connection on which a write fails if the peer takes nothing for too long.
///
/// For a server's connections. A layer cuts the body of a response in time, but bytes that the server has taken already are out
/// of its reach: the last piece of a body, an answer to a pipelined request, everything over TLS that encrypts on write. A
/// client that does not read keeps them, and its connection, for as long as it likes. Here a write that has made no progress
/// for `timeout` fails with [`ErrorKind::TimedOut`], and the server closes the connection. Reads are untouched, and so is a
/// connection that is idle.
///
/// It is a [`tokio::io::AsyncWrite`], for `hyper_util::rt::TokioIo` and for a listener of axum's:
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
/// Put it under TLS, next to the socket, where a write means progress of the peer. Take at least as long as `body_timeout`, and
/// longer than a healthy client may pause.
///
/// # How fast a client must read
/// Every byte that the socket takes is progress, and the time begins anew. But a socket that was full takes nothing until a good part of
/// its send buffer is free again: on Linux a third, and the buffer grows to 4 MiB (`net.ipv4.tcp_wmem`). A client that reads slowly and
/// steadily looks for so long as if it read nothing. It must read about this much in each `timeout`:
///
/// | send buffer, on Linux | between two writes | at a timeout of 30 s |
/// |---|---|---|
/// | as it grows by itself | 1 MB as measured; 1.4 MB is the most | 50 kB/s |
/// | `SO_SNDBUF` of 64 KiB | 0.2 MB, most of it in the client's receive window | 7 kB/s |
/// | `TCP_NOTSENT_LOWAT` of 16 KiB | the same | 7 kB/s |
///
/// So choose the timeout by the slowest client that is to be served: 1.4 MB divided by its rate, and some more. To serve slower ones in the
/// same time, set `TCP_NOTSENT_LOWAT` (the sysctl `net.ipv4.tcp_notsent_lowat` is for all sockets), and measure what that
/// costs you in throughput; or `SO_SNDBUF`, by `tokio::net::TcpSocket::set_send_buffer_size` before `listen`, which limits each connection to one
/// buffer in a round trip.
///
/// **Cost:** nothing while writes succeed; a pooled timer while one waits.
///
/// # Panics
/// A write that has to wait panics outside a tokio runtime with a time driver.
#[pin_project]
#[derive(Debug)]
pub struct WriteTimeout<IO> {
    #[pin]
    io: IO,
    timeout: Duration,
    /// When the write that waits fails.
    until: Option<Instant>,
    timer: Timer,
}

impl<IO> WriteTimeout<IO> {
    /// Lets a write to `io` wait for `timeout` at the most.
    pub fn new(io: IO, timeout: Duration) -> Self {
        Self { io, timeout, until: None, timer: Timer::new() }
    }

    /// The connection inside.
    pub fn get_ref(&self) -> &IO {
        &self.io
    }

    /// The connection inside.
    pub fn get_mut(&mut self) -> &mut IO {
        &mut self.io
    }

    /// The connection inside, without the bound.
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
