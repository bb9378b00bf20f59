//! A gRPC server whose responses are scripted frame by frame.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::future::{Future, poll_fn, ready};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::time::{Instant, Sleep};
use tonic::transport::{Channel, Endpoint};

use crate::pipes::{Connector, PipeListener};

pub(crate) type Headers = &'static [(&'static str, &'static str)];

/// A `HealthCheckResponse` with `SERVING`, after its length prefix.
const SERVING: &[u8] = &[0, 0, 0, 0, 2, 0x08, 0x01];

#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    /// One whole message.
    Message,
    Trailers(Headers),
    Wait(Duration),
    /// Nothing more comes.
    Stall,
    /// The stream is reset.
    Reset,
}

#[derive(Clone, Debug)]
pub(crate) enum Answer {
    /// A response with the status in its head.
    Head(Headers),
    /// A response of a proxy that does not speak gRPC.
    Http(StatusCode),
    /// A head of 200, followed by these steps.
    Body(Vec<Step>),
    /// No head comes.
    Never,
    /// The stream is reset with a code that proves that it was not processed.
    Refused,
    /// The stream is reset with a code for too many streams.
    Calm,
    /// The stream is reset with a code that says nothing.
    Broken,
}

impl Answer {
    /// One message and a status of OK.
    pub(crate) fn ok() -> Self {
        Self::Body(vec![Step::Message, Step::Trailers(&[("grpc-status", "0")])])
    }
}

/// The server. Dropping this ends it.
pub(crate) struct Fault {
    pub(crate) address: SocketAddr,
    calls: Arc<AtomicUsize>,
    open: Arc<Count>,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Fault {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fault {
    /// Answers each call by its number, from 0, as `answer` says, at once.
    pub(crate) async fn serve(answer: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        Self::serve_requests(move |n, _| ready(answer(n))).await
    }

    /// Answers each call after it has read the request to its end.
    pub(crate) async fn serve_reading(answer: impl Fn(usize, Bytes) -> Answer + Send + Sync + 'static) -> Self {
        let answer = Arc::new(answer);
        Self::serve_requests(move |n, request| {
            let answer = Arc::clone(&answer);
            async move { answer(n, request.into_body().collect().await.unwrap().to_bytes()) }
        })
        .await
    }

    /// Answers each call once the request handler has returned an answer.
    pub(crate) async fn serve_requests<F>(
        answer: impl Fn(usize, Request<Incoming>) -> F + Send + Sync + 'static,
    ) -> Self
    where
        F: Future<Output = Answer> + Send + 'static,
    {
        let mut listener = PipeListener::bind();
        let address = listener.address();
        let (calls, open) = (Arc::new(AtomicUsize::new(0)), Arc::new(Count::default()));
        let (count, streams, answer) = (Arc::clone(&calls), Arc::clone(&open), Arc::new(answer));
        let task = tokio::spawn(async move {
            let mut connections = tokio::task::JoinSet::new();
            loop {
                let socket = listener.accept().await;
                let (count, streams, answer) = (Arc::clone(&count), Arc::clone(&streams), Arc::clone(&answer));
                let service = service_fn(move |request: Request<Incoming>| {
                    let stream = Open::one(&streams);
                    let answer = answer(count.fetch_add(1, Ordering::SeqCst), request);
                    async move { respond(answer.await, stream).await }
                });
                connections.spawn(
                    hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                        .serve_connection(TokioIo::new(socket), service),
                );
            }
        });
        Self { address, calls, open, task }
    }

    /// The number of calls that have arrived.
    pub(crate) fn calls(&self) -> usize {
        self.calls.load(Ordering::SeqCst)
    }

    /// The number of calls that are neither answered to the end nor reset.
    pub(crate) fn open(&self) -> usize {
        self.open.now.load(Ordering::SeqCst)
    }

    /// The largest number of calls that were open at once.
    pub(crate) fn most_open(&self) -> usize {
        self.open.most.load(Ordering::SeqCst)
    }

    /// Closes the listener and all connections.
    pub(crate) async fn close(mut self) {
        self.task.abort();
        let _ = (&mut self.task).await;
    }

    pub(crate) fn channel(&self) -> Channel {
        channel(self.address)
    }
}

pub(crate) fn channel(to: SocketAddr) -> Channel {
    Endpoint::from_shared(format!("http://{to}")).unwrap().connect_with_connector_lazy(Connector)
}

/// Waits until `holds`, for ten seconds of virtual time. Returns whether it came to hold.
pub(crate) async fn comes_true(holds: impl Fn() -> bool) -> bool {
    let give_up = Instant::now() + Duration::from_secs(10);
    while !holds() {
        if Instant::now() > give_up {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    true
}

async fn respond(answer: Answer, open: Open) -> Result<Response<Script>, h2::Error> {
    let (status, headers, steps) = match answer {
        Answer::Head(headers) => (StatusCode::OK, headers, VecDeque::new()),
        Answer::Http(status) => (status, &[][..], VecDeque::new()),
        Answer::Body(steps) => (StatusCode::OK, &[][..], steps.into()),
        Answer::Never => {
            let _open = open;
            poll_fn(|_| Poll::<Infallible>::Pending).await;
            unreachable!("`Never` has no answer");
        }
        // The server resets the stream with the code of such an error.
        Answer::Calm => return Err(h2::Reason::ENHANCE_YOUR_CALM.into()),
        Answer::Broken => return Err(h2::Reason::INTERNAL_ERROR.into()),
        Answer::Refused => return Err(h2::Reason::REFUSED_STREAM.into()),
    };
    let mut response = Response::new(Script { steps, sleep: None, _open: open });
    *response.status_mut() = status;
    *response.headers_mut() = map(headers);
    response.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    Ok(response)
}

fn map(headers: Headers) -> HeaderMap {
    headers.iter().map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value))).collect()
}

#[derive(Default)]
struct Count {
    now: AtomicUsize,
    most: AtomicUsize,
}

/// Counts one stream while it lives.
struct Open(Arc<Count>);

impl Open {
    fn one(count: &Arc<Count>) -> Self {
        let now = count.now.fetch_add(1, Ordering::SeqCst) + 1;
        count.most.fetch_max(now, Ordering::SeqCst);
        Self(Arc::clone(count))
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::SeqCst);
    }
}

struct Script {
    steps: VecDeque<Step>,
    sleep: Option<Pin<Box<Sleep>>>,
    _open: Open,
}

impl Body for Script {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        loop {
            if let Some(sleep) = &mut self.sleep {
                std::task::ready!(sleep.as_mut().poll(cx));
                self.sleep = None;
            }
            return match self.steps.pop_front() {
                None => Poll::Ready(None),
                Some(Step::Message) => Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(SERVING))))),
                Some(Step::Trailers(trailers)) => Poll::Ready(Some(Ok(Frame::trailers(map(trailers))))),
                Some(Step::Reset) => Poll::Ready(Some(Err("reset on purpose"))),
                Some(Step::Stall) => {
                    self.steps.push_front(Step::Stall);
                    Poll::Pending
                }
                Some(Step::Wait(duration)) => {
                    self.sleep = Some(Box::pin(tokio::time::sleep(duration)));
                    continue;
                }
            };
        }
    }

    fn is_end_stream(&self) -> bool {
        self.steps.is_empty()
    }
}
