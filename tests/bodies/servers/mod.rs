//! Servers that misbehave, and count what is still open on their side.

mod census;
mod http1;
mod http2;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use crate::pipes::{PipeListener, Stream};

pub(crate) use census::Census;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http1,
    Http2,
}

/// How a server answers a request.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    pub(crate) rest: Rest,
}

/// What follows the head of an answer.
#[derive(Clone, Debug)]
pub(crate) enum Rest {
    /// No head at all.
    Silence,
    /// The whole body, with its length.
    Whole(Bytes),
    /// A body without a length, and trailers.
    Trailers(Bytes, (&'static str, &'static str)),
    /// A byte, and then nothing more.
    Stall,
    /// A byte at a fixed interval, without end.
    Drip(Duration),
    /// A number of bytes, one at a fixed interval, and then the end.
    Trickle(usize, Duration),
    /// As fast as the connection takes it, with a pause now and then, without end.
    Endless,
    /// A byte, then the connection or the stream is reset.
    Reset,
    /// One byte of a thousand, then the end of the connection or, for HTTP/2, a `GOAWAY` and the end.
    Close,
    /// Upgrades the connection to a protocol that echoes. HTTP/1.1 only.
    Echo,
}

impl Answer {
    pub(crate) fn of(rest: Rest) -> Self {
        Self { status: 200, headers: Vec::new(), rest }
    }

    pub(crate) fn whole(body: impl Into<Bytes>) -> Self {
        Self::of(Rest::Whole(body.into()))
    }

    pub(crate) fn with_status(self, status: u16) -> Self {
        Self { status, ..self }
    }

    pub(crate) fn with_header(mut self, name: &'static str, value: &'static str) -> Self {
        self.headers.push((name, value));
        self
    }
}

/// The pause that an endless body makes now and then. A paused clock moves on only when nothing else happens.
const PAUSE: Duration = Duration::from_millis(1);

type Script = Arc<dyn Fn(usize) -> Answer + Send + Sync>;

/// A server on an address of its own, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) census: Arc<Census>,
    accepting: AbortHandle,
}

impl Server {
    /// Gives this answer to every request.
    pub(crate) async fn answering(protocol: Protocol, rest: Rest) -> Self {
        Self::scripted(protocol, move |_| Answer::of(rest.clone())).await
    }

    /// Answers each request by its number, from 0.
    pub(crate) async fn scripted(protocol: Protocol, script: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        let mut listener = PipeListener::bind();
        let (address, census) = (listener.address(), Arc::new(Census::default()));
        let (script, counting): (Script, _) = (Arc::new(script), Arc::clone(&census));
        let accepting = tokio::spawn(async move {
            loop {
                serve(protocol, Stream::Pipe(listener.accept().await), &counting, &script);
            }
        });
        Self { address, census, accepting: accepting.abort_handle() }
    }

    /// Like [`answering`](Self::answering), for tests of sockets and of several runtimes. The clock must not be
    /// paused.
    pub(crate) async fn on_a_socket(protocol: Protocol, rest: Rest) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let (address, census) = (listener.local_addr().unwrap(), Arc::new(Census::default()));
        let (script, counting): (Script, _) = (Arc::new(move |_| Answer::of(rest.clone())), Arc::clone(&census));
        let accepting = tokio::spawn(async move {
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                let _ = stream.set_nodelay(true);
                serve(protocol, Stream::Socket(stream), &counting, &script);
            }
        });
        Self { address, census, accepting: accepting.abort_handle() }
    }

    /// The number of open answers: connections that serve one for HTTP/1.1, streams for HTTP/2.
    pub(crate) fn open(&self) -> usize {
        self.census.answers()
    }

    pub(crate) fn uri(&self) -> String {
        format!("http://{}/", self.address)
    }
}

fn serve(protocol: Protocol, stream: Stream, census: &Arc<Census>, script: &Script) {
    let connection = census.connection();
    let (census, script) = (Arc::clone(census), Arc::clone(script));
    tokio::spawn(async move {
        let _connection = connection;
        match protocol {
            Protocol::Http1 => http1::serve(stream, census, script).await,
            Protocol::Http2 => http2::serve(stream, census, script).await,
        }
    });
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}
