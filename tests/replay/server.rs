//! A server with a scripted action for each request, which notes what it saw.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use tokio::net::TcpListener;

use Act::{Answer, Die, Early};

/// What the server does with a request.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Act {
    /// Reads all of it and answers.
    Answer(u16),
    /// Answers once this many bytes have come, and reads on until the end.
    Early(u16, usize),
    /// Reads this many bytes, or all, and ends without an answer.
    Die(usize),
}

/// A request as the server saw it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Seen {
    pub(crate) method: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) trailers: Option<HeaderMap>,
    /// `None` while more may come; otherwise whether the body came to its end.
    pub(crate) complete: Option<bool>,
}

#[derive(Clone)]
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    open: Arc<AtomicUsize>,
}

impl Server {
    /// Runs one action after another; the last action repeats.
    pub(crate) async fn new(script: &'static [Act]) -> Self {
        Self::on(TcpListener::bind(("127.0.0.1", 0)).await.expect("a port"), script)
    }

    pub(crate) fn on(listener: TcpListener, script: &'static [Act]) -> Self {
        let address = listener.local_addr().expect("an address");
        let server = Self { address, seen: Arc::default(), open: Arc::default() };
        let accepting = server.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let server = accepting.clone();
                server.open.fetch_add(1, Ordering::SeqCst);
                tokio::spawn(async move {
                    let serving = server.clone();
                    let answer = service_fn(move |request| {
                        let server = serving.clone();
                        async move { server.serve(request, script).await }
                    });
                    let builder = auto::Builder::new(TokioExecutor::new());
                    let _ = builder.serve_connection(TokioIo::new(stream), answer).await;
                    server.open.fetch_sub(1, Ordering::SeqCst);
                });
            }
        });
        server
    }

    /// Each request that came, as far as it has come.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    pub(crate) fn bodies(&self) -> Vec<String> {
        self.seen().into_iter().map(|seen| String::from_utf8(seen.body).expect("text")).collect()
    }

    /// The number of connections that were accepted and are not closed.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::SeqCst)
    }

    async fn serve(&self, request: Request<Incoming>, script: &[Act]) -> io::Result<Response<Full<Bytes>>> {
        let (head, mut body) = request.into_parts();
        let number = {
            let mut seen = self.seen.lock().unwrap();
            seen.push(Seen { method: head.method.to_string(), headers: head.headers, ..Seen::default() });
            seen.len() - 1
        };
        let act = script[number.min(script.len() - 1)];
        let enough = match act {
            Answer(_) => usize::MAX,
            Early(_, bytes) | Die(bytes) => bytes,
        };
        while self.seen.lock().unwrap()[number].body.len() < enough && self.read(number, &mut body).await {}
        match act {
            Answer(status) => Ok(answer(status)),
            Early(status, _) => {
                let server = self.clone();
                tokio::spawn(async move { while server.read(number, &mut body).await {} });
                Ok(answer(status))
            }
            Die(_) => Err(io::Error::other("scripted failure")),
        }
    }

    /// Reads a frame. Returns whether more may come.
    async fn read(&self, number: usize, body: &mut Incoming) -> bool {
        let frame = body.frame().await;
        let seen = &mut self.seen.lock().unwrap()[number];
        match frame {
            Some(Ok(frame)) => match frame.into_data() {
                Ok(data) => seen.body.extend_from_slice(&data),
                Err(frame) => seen.trailers = frame.into_trailers().ok(),
            },
            Some(Err(_)) => seen.complete = Some(false),
            None => seen.complete = Some(true),
        }
        seen.complete.is_none()
    }
}

fn answer(status: u16) -> Response<Full<Bytes>> {
    Response::builder().status(status).body(Full::from(format!("answered {status}"))).expect("a response")
}
