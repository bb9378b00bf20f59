//! reqwest's [`Client`] as a service of `http` requests, so that the layers go around it.
//!
//! reqwest's client is a service too, but one of its own request type, which no layer for HTTP knows. [`ReqwestService`]
//! takes requests with any body and streams both ways.
//!
//! # How it behaves
//! - **Readiness:** always ready, as reqwest is.
//! - **Cancellation:** dropping the call drops reqwest's.
//! - **Clones** share the connection pool.
//! - **Errors** are reqwest's own, as [`BoxError`]; wrapped in one case, [`MaybeSent`].
//! - **Settings** of the client are untouched: its timeouts, redirects and default headers do what they do. A deadline
//!   layer around it ends a call when that is sooner. The version of a request is passed on: one that came in over HTTP/2 and
//!   is sent on by a client without it is refused.
//! - **Cost:** three allocations for a request with a body, and the URI is parsed again, since reqwest has a type of its own
//!   for it.
//!
//! # Paths are normalised
//! reqwest's `Url` resolves `..` and `.` in a path, written as `%2e` too: `/public/%2e%2e/admin` is sent as `/admin`. A proxy must not
//! authorise a request by a path that it forwards through this service. Let it refuse such paths, or authorise by the path of
//! the normalised URL.
//!
//! # reqwest's own retries
//! Since 0.12.23 reqwest retries by itself. Unless it is told otherwise, it sends a request up to twice more, at once and without a
//! budget, if an HTTP/2 server has refused its stream (`REFUSED_STREAM`) or has closed the connection gracefully. Such a request
//! was not processed, so nothing is executed twice; but the attempts of a [retry layer](crate::retry) multiply with reqwest's:
//! three times three. No budget is charged for reqwest's attempts, no breaker sees them, and `x-envoy-attempt-count` does not
//! count them. Only a request without a body is concerned: this service streams bodies, and reqwest cannot repeat a stream.
//! HTTP/1.1 is not concerned.
//!
//! Under a retry layer, which knows both cases as [unsent](crate::verdict::Verdict::Unsent) and repeats them itself, switch it off:
//!
//! ```
//! # use seawall::http::reqwest::ReqwestService;
//! # fn main() -> Result<(), reqwest::Error> {
//! let client = reqwest::Client::builder().retry(reqwest::retry::never()).build()?;
//! # let _ = ReqwestService::new(client);
//! # Ok(())
//! # }
//! ```
//! The same holds for a policy of one's own (`reqwest::retry::for_host`), which may repeat more than that.
//!
//! # Example
//! ```
//! use std::time::Duration;
//! use seawall::deadline::DeadlineLayer;
//! use seawall::http::reqwest::ReqwestService;
//! use seawall::retry::{RetryConfig, RetryLayer};
//! use tower::ServiceBuilder;
//!
//! # fn main() -> Result<(), tower::BoxError> {
//! let client = ServiceBuilder::new()
//!     .layer(DeadlineLayer::http(Duration::from_secs(2))?)
//!     .layer(RetryLayer::http(RetryConfig::default())?)
//!     .service(ReqwestService::new(reqwest::Client::new()));
//! # fn is_service<S: tower::Service<http::Request<String>>>(_: &S) {}
//! # is_service(&client);
//! # Ok(())
//! # }
//! ```

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, ready};

use ::http::{Request, Response};
use ::reqwest::{Body, Client};
use bytes::{Buf, Bytes};
use http_body::{Frame, SizeHint};
use pin_project::pin_project;
use tower::{BoxError, Service};

use crate::ground::sync::{self, Mutex};

/// A [`Client`] that takes [`Request`]s. See the [module](self).
#[derive(Clone, Debug, Default)]
pub struct ReqwestService {
    client: Client,
}

impl ReqwestService {
    /// Sends requests through `client`.
    pub fn new(client: Client) -> Self {
        Self { client }
    }
}

impl From<Client> for ReqwestService {
    fn from(client: Client) -> Self {
        Self::new(client)
    }
}

impl<B> Service<Request<B>> for ReqwestService
where
    B: http_body::Body + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<Body>;
    type Error = BoxError;
    type Future = ResponseFuture;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.client.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let is_idempotent = request.method().is_idempotent();
        let (head, body) = request.into_parts();
        // An empty one of reqwest's own: only such a request is sent on to where a 307 or 308 redirects it.
        let (body, sent) = if body.is_end_stream() {
            (Body::default(), Sent::Unknown)
        } else {
            let body = Streamed::new(body);
            let begun = Arc::clone(&body.begun);
            (Body::wrap(body), Sent::IfBegun(begun))
        };
        let state = match ::reqwest::Request::try_from(Request::from_parts(head, body)) {
            Ok(request) => State::Calling(self.client.call(request)),
            Err(error) => State::Invalid(Some(error)),
        };
        ResponseFuture { state, sent: if is_idempotent { Sent::AsOftenAsYouLike } else { sent } }
    }
}

/// A call of [`ReqwestService`].
#[pin_project]
pub struct ResponseFuture {
    #[pin]
    state: State,
    sent: Sent,
}

#[pin_project(project = StateProj)]
enum State {
    Calling(#[pin] <Client as Service<::reqwest::Request>>::Future),
    /// reqwest cannot ask this.
    Invalid(Option<::reqwest::Error>),
}

/// Whether the request may have been executed, by the time that a connection could not be made.
#[derive(Debug)]
enum Sent {
    /// It does no harm.
    AsOftenAsYouLike,
    /// There is no body to know it by.
    Unknown,
    /// If someone asked for its body.
    IfBegun(Arc<AtomicBool>),
}

impl Sent {
    fn is_possible(&self) -> bool {
        match self {
            Self::AsOftenAsYouLike => false,
            Self::Unknown => true,
            Self::IfBegun(begun) => begun.load(Ordering::Relaxed),
        }
    }
}

impl Future for ResponseFuture {
    type Output = Result<Response<Body>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let error = match this.state.project() {
            StateProj::Calling(call) => match ready!(call.poll(cx)) {
                Ok(response) => return Poll::Ready(Ok(response.into())),
                Err(error) => error,
            },
            StateProj::Invalid(error) => match error.take() {
                Some(error) => error,
                // Polled after it was over: as fused futures do.
                None => return Poll::Pending,
            },
        };
        Poll::Ready(Err(if error.is_connect() && this.sent.is_possible() {
            MaybeSent(error).into()
        } else {
            error.into()
        }))
    }
}

impl fmt::Debug for ResponseFuture {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResponseFuture").field("sent", &self.sent).finish_non_exhaustive()
    }
}

/// No connection could be made, and still the request may have been executed: reqwest follows redirects by itself, and it
/// may be the second host that is not there. It is only said of requests of which it matters; the source is reqwest's error.
///
/// A POST that was answered by a redirect to a dead host must not be sent again because of that. A client without
/// redirects (`reqwest::redirect::Policy::none()`) still gets this for a request without a body, since it is not told apart.
#[derive(Debug, thiserror::Error)]
#[error("no connection, and the request may have been executed before it was redirected there")]
pub struct MaybeSent(#[source] ::reqwest::Error);

/// A request body as reqwest wants it: one that may be looked at from several threads, which axum's and tonic's bodies do not
/// allow. So they are only touched by whoever polls, and what they said then is the answer to everybody else.
struct Streamed<B> {
    /// Never locked.
    body: Mutex<Pin<Box<B>>>,
    begun: Arc<AtomicBool>,
    is_end_stream: bool,
    size_hint: SizeHint,
}

impl<B: http_body::Body> Streamed<B> {
    fn new(body: B) -> Self {
        let (is_end_stream, size_hint) = (body.is_end_stream(), body.size_hint());
        Self { body: Mutex::new(Box::pin(body)), begun: Arc::default(), is_end_stream, size_hint }
    }
}

impl<B> http_body::Body for Streamed<B>
where
    B: http_body::Body,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = self.get_mut();
        this.begun.store(true, Ordering::Relaxed);
        let body = sync::get_mut(&mut this.body);
        let frame = body
            .as_mut()
            .poll_frame(cx)
            .map_ok(|frame| frame.map_data(|mut data| data.copy_to_bytes(data.remaining())));
        (this.is_end_stream, this.size_hint) = (body.is_end_stream(), body.size_hint());
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.is_end_stream
    }

    #[allow(clippy::clone_on_copy, reason = "not `Copy` in http-body 1.0")]
    fn size_hint(&self) -> SizeHint {
        self.size_hint
    }
}
