//! Servers that misbehave, and know what is still open at their end.

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

/// What a server does with a request.
#[derive(Clone, Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(&'static str, &'static str)>,
    pub(crate) rest: Rest,
}

/// What follows on the head of an answer.
#[derive(Clone, Debug)]
pub(crate) enum Rest {
    /// Not even a head.
    Silence,
    /// The whole body, with its length.
    Whole(Bytes),
    /// A body without a length, and trailers.
    Trailers(Bytes, (&'static str, &'static str)),
    /// A byte, then nothing for ever.
    Stall,
    /// A byte every so often, for ever.
    Drip(Duration),
    /// So many bytes, one every so often, and the end.
    Trickle(usize, Duration),
    /// As fast as the connection takes it, with a pause now and then, for ever.
    Endless,
    /// A byte, then the connection or the stream is reset.
    Reset,
    /// A byte of a thousand, then the end of the connection or, for HTTP/2, a `GOAWAY` and the end.
    Close,
    /// The protocol is changed to one that sends back what it gets. HTTP/1.1 only.
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

/// How long what goes on without end pauses now and then. A clock that stands still moves on only when nothing else happens.
const PAUSE: Duration = Duration::from_millis(1);

type Script = Arc<dyn Fn(usize) -> Answer + Send + Sync>;

/// A server on a port of its own, for as long as this lives.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) census: Arc<Census>,
    accepting: AbortHandle,
}

impl Server {
    /// Every request gets this answer.
    pub(crate) async fn answering(protocol: Protocol, rest: Rest) -> Self {
        Self::scripted(protocol, move |_| Answer::of(rest.clone())).await
    }

    /// Each request gets the answer to its number, 0 being the first.
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

    /// As [`answering`](Self::answering), for tests of sockets and of several runtimes. The clock must not stand still.
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

    /// How many answers are not over: connections that serve one for HTTP/1.1, streams for HTTP/2.
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
