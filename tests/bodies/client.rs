//! hyper-util's client with layers around it, and what one does with its answers.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Empty};
use hyper_util::client::legacy::Client;
use hyper_util::rt::TokioExecutor;
use seawall::bulkhead::{BulkheadConfig, BulkheadHandle, BulkheadLayer};
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

/// After this, in virtual time or in real time, something hangs. How exact the bounds are is tested in virtual time.
pub(crate) const LATEST: Duration = Duration::from_secs(300);

pub(crate) type Body = UnsyncBoxBody<Bytes, BoxError>;
pub(crate) type Calls = BoxCloneService<Request<Empty<Bytes>>, Response<Body>, BoxError>;

/// The bare client.
pub(crate) fn hyper<B>(protocol: Protocol) -> Client<Connector, B>
where
    B: http_body::Body<Data: Send> + Send,
{
    Client::builder(TokioExecutor::new()).http2_only(protocol == Protocol::Http2).build(Connector)
}

/// Any stack of layers, with the type of its body forgotten.
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
    /// Where all layers are known as `callee`, if they have a name.
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

/// The whole stack of a client: deadline, retry, bulkhead, breaker.
#[derive(Clone)]
pub(crate) struct Stack {
    pub(crate) calls: Calls,
    pub(crate) bulkhead: BulkheadHandle,
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

/// Reads to the end: how many bytes there were, or what ended it. Panics if nothing does.
pub(crate) async fn drain(body: &mut Body) -> Result<usize, BoxError> {
    timeout(LATEST, read(body)).await.expect("it ends, one way or the other")
}

/// The same without a timer, for where there is no runtime.
pub(crate) async fn read(body: &mut Body) -> Result<usize, BoxError> {
    let mut bytes = 0;
    while let Some(frame) = body.frame().await {
        bytes += frame?.data_ref().map_or(0, Bytes::len);
    }
    Ok(bytes)
}

/// The layer and the reason, if a layer of ours made the error.
pub(crate) fn told(error: &BoxError) -> Option<(&'static str, Reason)> {
    rejection(error).map(|rejected| (rejected.layer(), rejected.reason()))
}

/// Waits until something holds, and says how long that took.
///
/// # Panics
/// If it does not hold after [`LATEST`].
pub(crate) async fn until(mut holds: impl FnMut() -> bool) -> Duration {
    let start = Instant::now();
    while start.elapsed() < LATEST {
        if holds() {
            return start.elapsed();
        }
        sleep(Duration::from_millis(1)).await;
    }
    panic!("it does not come to hold");
}
