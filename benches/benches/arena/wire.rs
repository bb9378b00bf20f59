//! The way from a client's layers to a server's: the head travels, the context of the caller's task does not.
//!
//! Each request is handled in a task of its own, as by a server in another process. If the client drops its call, the task is aborted, as
//! when a connection closes. A wire may have a pool of connections, each of which is held until the response's body ends or is dropped; and
//! its server may be down, or die with all that it has in flight.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering::Relaxed};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use bytes::Bytes;
use http::{HeaderValue, Request, Response};
use http_body_util::{BodyExt, Full};
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tower::{BoxError, Service, ServiceExt};

use crate::body::{Body, OnConnection};
use crate::clock::{Clock, Ms};
use crate::contestants::ServerStack;
use crate::server::{ATTEMPT, CALL, Reached, Server, lock, number};

/// The wire to one server. Clones are handles of the same one.
#[derive(Clone)]
pub(crate) struct Wire(Arc<Inner>);

struct Inner {
    clock: Clock,
    server: Server,
    stack: Mutex<ServerStack>,
    /// How many attempts of each call the server has seen.
    seen: Vec<AtomicU16>,
    /// When each attempt arrived, and of which call it was.
    arrived: Mutex<Vec<(Ms, u32)>>,
    pool: Option<Arc<Semaphore>>,
    is_down: AtomicBool,
    killed: Notify,
}

impl Wire {
    /// The wire to `server` behind the layers `stack`, for calls with numbers below `calls`.
    pub(crate) fn new(clock: Clock, server: &Server, stack: ServerStack, calls: usize) -> Self {
        Self::with_pool(clock, server, stack, calls, None)
    }

    /// With a pool of so many connections.
    pub(crate) fn with_pool(
        clock: Clock,
        server: &Server,
        stack: ServerStack,
        calls: usize,
        connections: Option<usize>,
    ) -> Self {
        Self(Arc::new(Inner {
            clock,
            server: server.clone(),
            stack: Mutex::new(stack),
            seen: (0..calls).map(|_| AtomicU16::new(0)).collect(),
            arrived: Mutex::default(),
            pool: connections.map(|connections| Arc::new(Semaphore::new(connections))),
            is_down: AtomicBool::new(false),
            killed: Notify::new(),
        }))
    }

    /// When each attempt arrived at the server, and of which call it was.
    pub(crate) fn attempts(&self) -> Vec<(Ms, u32)> {
        lock(&self.0.arrived).clone()
    }

    /// How many attempts arrived at the server within a time.
    pub(crate) fn attempts_within(&self, time: std::ops::Range<Ms>) -> usize {
        lock(&self.0.arrived).iter().filter(|(at, _)| time.contains(at)).count()
    }

    /// The server dies: all that it has in flight is lost, and connections are refused until [`restart`](Self::restart).
    pub(crate) fn kill(&self) {
        self.0.is_down.store(true, Relaxed);
        self.0.killed.notify_waiters();
    }

    pub(crate) fn restart(&self) {
        self.0.is_down.store(false, Relaxed);
    }

    async fn send(self, mut head: Request<Full<Bytes>>) -> Result<Response<Body>, BoxError> {
        let inner = &*self.0;
        if inner.is_down.load(Relaxed) {
            return Err(io::Error::from(io::ErrorKind::ConnectionRefused).into());
        }
        let connection = match &inner.pool {
            Some(pool) => Some(Arc::clone(pool).acquire_owned().await?),
            None => None,
        };
        let call = number(head.headers(), CALL);
        let attempt = inner.seen.get(call as usize).map_or(0, |seen| seen.fetch_add(1, Relaxed));
        lock(&inner.arrived).push((inner.clock.now(), call));
        head.headers_mut().insert(ATTEMPT, HeaderValue::from(attempt));
        let reached = Reached::default();
        head.extensions_mut().insert(reached.clone());
        let killed = inner.killed.notified();
        let stack = lock(&inner.stack).clone();
        let handled = AbortOnDrop(tokio::spawn(stack.oneshot(head)));
        let handled = tokio::select! {
            biased;
            handled = handled => handled,
            () = killed => return Err(io::Error::from(io::ErrorKind::ConnectionReset).into()),
        };
        if !reached.0.load(Relaxed) {
            inner.server.charge_refusal();
        }
        let response = handled??;
        Ok(response.map(|body| match connection {
            None => body,
            connection => OnConnection { body, connection }.boxed_unsync(),
        }))
    }
}

impl<B> Service<Request<B>> for Wire {
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, BoxError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let (parts, _) = request.into_parts();
        let mut head = Request::new(Full::default());
        *head.method_mut() = parts.method;
        *head.uri_mut() = parts.uri;
        *head.headers_mut() = parts.headers;
        Box::pin(self.clone().send(head))
    }
}

/// A task that ends when its handle is dropped.
struct AbortOnDrop<T>(JoinHandle<T>);

impl<T> Future for AbortOnDrop<T> {
    type Output = Result<T, tokio::task::JoinError>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.0).poll(context)
    }
}

impl<T> Drop for AbortOnDrop<T> {
    fn drop(&mut self) {
        self.0.abort();
    }
}
