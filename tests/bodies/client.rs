//! hyper-util's client with layers around it, and helpers that read its responses.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use seawall::bulkhead::{BulkheadConfig, BulkheadLayer, PermitsHandle};
use seawall::circuit_breaker::{CircuitBreakerConfig, CircuitBreakerHandle, CircuitBreakerLayer};
use seawall::deadline::{DeadlineConfig, DeadlineLayer};
use seawall::error::{Reason, rejection};
use seawall::registry::Registry;
use seawall::retry::{Backoff, RetryConfig, RetryLayer};
use tokio::time::{Instant, sleep, timeout};
use tower::util::BoxCloneService;
use tower::{BoxError, Service, ServiceBuilder, ServiceExt};

use crate::pipes::Connector;
use crate::servers::{Protocol, Server};

/// A call that takes longer hangs, in virtual or real time. Tests in virtual time check how exact the bounds are.
pub(crate) const LATEST: Duration = Duration::from_secs(300);

pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;
pub(crate) type Calls = BoxCloneService<Request<Empty<Bytes>>, Response<Body>, BoxError>;

/// The client without layers.
pub(crate) fn hyper<B>(protocol: Protocol) -> Client<Connector, B>
where
    B: http_body::Body<Data: Send> + Send,
{
    Client::builder(TokioExecutor::new()).http2_only(protocol == Protocol::Http2).build(Connector)
}

/// Erases the type of any stack of layers.
pub(crate) fn boxed<S, B>(service: S) -> Calls
where
    S: Service<Request<Empty<Bytes>>, Response = Response<B>, Error = BoxError, Future: Send> + Clone + Send + 'static,
    B: http_body::Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    service
        .map_response(|response: Response<B>| response.map(|body| body.map_err(Into::into).boxed_unsync()))
        .boxed_clone()
}

#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) deadline: DeadlineConfig,
    pub(crate) retry: RetryConfig,
    pub(crate) bulkhead: BulkheadConfig,
    pub(crate) breaker: CircuitBreakerConfig,
    /// The name of all layers is `callee`, if they have one.
    pub(crate) registry: Option<Registry>,
}

impl Settings {
    pub(crate) fn lasting(deadline: impl Into<DeadlineConfig>) -> Self {
        let backoff = Backoff::exponential(Duration::from_millis(2), 2.0);
        Self {
            deadline: deadline.into(),
            retry: RetryConfig { backoff, ..RetryConfig::default() },
            bulkhead: BulkheadConfig::default(),
            breaker: CircuitBreakerConfig::default(),
            registry: None,
        }
    }

    pub(crate) fn with_permits(mut self, permits: u32) -> Self {
        self.bulkhead.max_concurrent = permits;
        self
    }
}

/// The whole client stack: deadline, retry, bulkhead, breaker.
#[derive(Clone)]
pub(crate) struct Stack {
    pub(crate) calls: Calls,
    pub(crate) bulkhead: PermitsHandle,
    pub(crate) breaker: CircuitBreakerHandle,
}

impl Stack {
    pub(crate) fn new(protocol: Protocol, settings: Settings) -> Self {
        let mut deadline = DeadlineLayer::http(settings.deadline).unwrap();
        let mut retry = RetryLayer::http(settings.retry).unwrap();
        let mut bulkhead = BulkheadLayer::http(settings.bulkhead).unwrap();
        let mut breaker = CircuitBreakerLayer::http(settings.breaker).unwrap();
        if let Some(registry) = &settings.registry {
            deadline = deadline.named_in(registry, "callee").unwrap();
            retry = retry.named_in(registry, "callee").unwrap();
            bulkhead = bulkhead.named_in(registry, "callee").unwrap();
            breaker = breaker.named_in(registry, "callee").unwrap();
        }
        let handles = (bulkhead.handle(), breaker.handle());
        let layers = ServiceBuilder::new().layer(deadline).layer(retry).layer(bulkhead).layer(breaker);
        let calls = layers.service(hyper(protocol));
        Self { calls: boxed(calls), bulkhead: handles.0, breaker: handles.1 }
    }

    pub(crate) async fn get(&self, server: &Server) -> Result<Response<Body>, BoxError> {
        get(&self.calls, server).await
    }
}

pub(crate) fn request(server: &Server) -> Request<Empty<Bytes>> {
    Request::get(server.uri()).body(Empty::new()).unwrap()
}

pub(crate) async fn get(calls: &Calls, server: &Server) -> Result<Response<Body>, BoxError> {
    calls.clone().oneshot(request(server)).await
}

/// Reads to the end and returns the number of bytes, or the error that ended the body. Panics if the body hangs.
pub(crate) async fn drain(body: &mut Body) -> Result<usize, BoxError> {
    timeout(LATEST, read(body)).await.expect("the body ends")
}

/// Like `drain`, but without a timer, for use outside a runtime.
pub(crate) async fn read(body: &mut Body) -> Result<usize, BoxError> {
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame?.data_ref().map_or(0, Bytes::len);
    }
    Ok(bytes)
}

/// The layer and the reason of a refusal, `None` if the error is not ours.
pub(crate) fn refusal(error: &BoxError) -> Option<(&'static str, Reason)> {
    rejection(error).map(|rejected| (rejected.layer(), rejected.reason()))
}

/// Waits until a condition holds, and returns how long that took.
///
/// # Panics
/// If the condition does not hold after [`LATEST`].
pub(crate) async fn until(mut holds: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while start.elapsed() < LATEST {
        if holds() {
            return start.elapsed();
        }
        sleep(Duration::from_millis(1)).await;
    }
    panic!("the condition did not hold in time");
}
