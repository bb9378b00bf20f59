use std::fmt;
use std::task::{Context, Poll};

use crate::layers::call::accessors::accessors;
use ::http::Request;
use tower::{Layer, Service};

/// Converts each request's body into the one type that a client accepts.
///
/// A [`RetryLayer::http`](crate::retry::RetryLayer::http) sends its requests with a [`ReplayBody`](super::ReplayBody).
/// If a client accepts only another type, put this layer right around it:
///
/// ```
/// use std::time::Duration;
/// use seawall::deadline::DeadlineLayer;
/// use seawall::http::MapRequestBodyLayer;
/// use seawall::retry::{RetryConfig, RetryLayer};
/// use tonic::transport::Endpoint;
/// use tower::ServiceBuilder;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), tower::BoxError> {
/// let channel = ServiceBuilder::new()
///     .layer(DeadlineLayer::http(Duration::from_secs(2))?)
///     .layer(RetryLayer::http(RetryConfig::default())?)
///     .layer(MapRequestBodyLayer::new(tonic::body::Body::new))
///     .service(Endpoint::from_static("http://health.test").connect_lazy());
/// # fn is_service<S: tower::Service<http::Request<tonic::body::Body>>>(_: &S) {}
/// # is_service(&channel);
/// # Ok(())
/// # }
/// ```
///
/// Readiness, errors and the response are the inner service's. Cost: that of the function, here one box per call.
#[derive(Clone, Copy)]
pub struct MapRequestBodyLayer<F> {
    map: F,
}

impl<F> MapRequestBodyLayer<F> {
    /// Sends `map(body)` for each body.
    pub const fn new(map: F) -> Self {
        Self { map }
    }
}

impl<S, F: Clone> Layer<S> for MapRequestBodyLayer<F> {
    type Service = MapRequestBody<S, F>;

    fn layer(&self, inner: S) -> Self::Service {
        MapRequestBody { inner, map: self.map.clone() }
    }
}

impl<F> fmt::Debug for MapRequestBodyLayer<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapRequestBodyLayer").finish_non_exhaustive()
    }
}

/// A client whose request bodies are converted to another type. See [`MapRequestBodyLayer`].
#[derive(Clone, Copy)]
pub struct MapRequestBody<S, F> {
    inner: S,
    map: F,
}

accessors!([S, F] MapRequestBody<S, F>, forwards_readiness);

impl<S, F, A, B> Service<Request<A>> for MapRequestBody<S, F>
where
    S: Service<Request<B>>,
    F: FnMut(A) -> B,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = S::Future;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<A>) -> Self::Future {
        self.inner.call(request.map(&mut self.map))
    }
}

impl<S: fmt::Debug, F> fmt::Debug for MapRequestBody<S, F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapRequestBody").field("inner", &self.inner).finish_non_exhaustive()
    }
}
