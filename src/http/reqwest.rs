//! reqwest's [`Client`] as a service of `http` requests, so that layers can wrap it.
//!
//! reqwest's client is a service too, but of its own request type, which no HTTP layer accepts. [`ReqwestService`]
//! takes requests with any body and streams both ways.
//!
//! # How it behaves
//! - **Readiness:** always ready, as reqwest is.
//! - **Cancellation:** dropping the call drops reqwest's call.
//! - **Clones** share the connection pool.
//! - **Errors** are reqwest's own, as [`BoxError`]. One case is wrapped, in [`MaybeSent`].
//! - **Settings** of the client stay in force: its timeouts, redirects and default headers. An outer deadline layer
//!   ends a call if its deadline is earlier. The version of a request is passed on: a request that came in over HTTP/2
//!   is refused if the client does not support HTTP/2.
//! - **Cost:** three allocations for a request with a body. The URI is parsed again, because reqwest has a type of its
//!   own for it.
//!
//! # Paths are normalised
//! reqwest's `Url` resolves `..` and `.` in a path, even when written as `%2e`: `/public/%2e%2e/admin` is sent as
//! `/admin`. A proxy must not authorise a request by a path that it forwards through this service. It must refuse such
//! paths, or authorise by the path of the normalised URL.
//!
//! # reqwest's own retries
//! Since 0.12.23 reqwest retries by itself. By default it sends a request up to twice more, at once and without a
//! budget, if an HTTP/2 server has refused its stream (`REFUSED_STREAM`) or has closed the connection gracefully. Such
//! a request was not processed, so nothing is executed twice. But reqwest's attempts multiply with those of a [retry
//! layer](crate::retry): three times three. reqwest's attempts are not charged to any budget, no breaker sees them, and
//! `x-envoy-attempt-count` does not count them. This affects only requests without a body: this service streams bodies,
//! and reqwest cannot repeat a stream. It does not affect HTTP/1.1.
//!
//! A retry layer treats both cases as [unsent](crate::verdict::Verdict::Unsent) and repeats them itself. Under such a
//! layer, switch reqwest's retries off:
//!
//! ```
//! # use seawall::http::reqwest::ReqwestService;
//! # fn main() -> Result<(), reqwest::Error> {
//! let client = reqwest::Client::builder().retry(reqwest::retry::never()).build()?;
//! # let _ = ReqwestService::new(client);
//! # Ok(())
//! # }
//! ```
//! The same holds for a custom policy (`reqwest::retry::for_host`), which may repeat more than that.
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

    /// The client.
    pub fn get_ref(&self) -> &Client {
        &self.client
    }

    /// The client.
    pub fn get_mut(&mut self) -> &mut Client {
        &mut self.client
    }

    /// Consumes this service, and returns the client.
    pub fn into_inner(self) -> Client {
        self.client
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
        // Such a request gets reqwest's own empty body: reqwest follows a 307 or 308 redirect only with that.
        let (body, sent) = if body.is_end_stream() {
            (Body::default(), Sent::Unknown)
        } else {
            let body = Streamed::new(body);
            let begun = Arc::clone(&body.begun);
            (Body::wrap(body), Sent::IfBegun(begun))
        };
        let state = match ::reqwest::Request::try_from(Request::from_parts(head, body)) {
            Ok(request) => ReqwestCallState::Calling(self.client.call(request)),
            Err(error) => ReqwestCallState::Invalid(Some(error)),
        };
        ResponseFuture { state, sent: if is_idempotent { Sent::AsOftenAsYouLike } else { sent } }
    }
}

/// A call of [`ReqwestService`].
#[pin_project]
pub struct ResponseFuture {
    #[pin]
    state: ReqwestCallState,
    sent: Sent,
}

#[pin_project(project = ReqwestCallStateProj)]
enum ReqwestCallState {
    Calling(#[pin] <Client as Service<::reqwest::Request>>::Future),
    /// reqwest cannot send this request.
    Invalid(Option<::reqwest::Error>),
}

/// Whether the request may have been executed before a connection could not be made.
#[derive(Debug)]
enum Sent {
    /// Executing it twice does no harm.
    AsOftenAsYouLike,
    /// Without a body there is no way to tell.
    Unknown,
    /// If something polled its body.
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
            ReqwestCallStateProj::Calling(call) => match ready!(call.poll(cx)) {
                Ok(response) => return Poll::Ready(Ok(response.into())),
                Err(error) => error,
            },
            ReqwestCallStateProj::Invalid(error) => match error.take() {
                Some(error) => error,
                // Polled after completion: stays pending, as fused futures do.
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

/// No connection could be made, but the request may have been executed: reqwest follows redirects by itself, and the
/// missing host may be the second one. This error is used only for requests where it matters. Its source is reqwest's
/// error.
///
/// A POST that was answered by a redirect to a dead host must not be sent again because of that. A client without
/// redirects (`reqwest::redirect::Policy::none()`) also gets this error for a request without a body, because the two
/// cases look the same.
#[derive(Debug, thiserror::Error)]
#[error("connection failed; the request may have been executed before a redirect")]
pub struct MaybeSent(#[source] ::reqwest::Error);

/// A request body that reqwest accepts: it must be `Sync`, which axum's and tonic's bodies are not. So only the polling
/// thread touches the inner body, and all other queries get the answers that were stored at the last poll.
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
