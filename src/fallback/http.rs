//! Fallbacks for HTTP and gRPC: the marks of their responses, and the constructors.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use ::http::Response;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project::pin_project;
use tower::BoxError;

use super::answer::{OtherService, service};
use super::config::FallbackConfig;
use super::failure::Failure;
use super::layer::FallbackLayer;
use super::mark::Mark;
use crate::ground::error::{InvalidConfig, Rejected};
use crate::ground::verdict::Verdict;
#[cfg(feature = "grpc")]
use crate::grpc::{ByCall, ByCode};
use crate::http::{ByMethod, ByStatus, SettledBody};

impl<A> FallbackLayer<A, ByStatus, HttpMark> {
    /// A fallback for HTTP: judged by status and transport error. Responses of the fallback carry the extension
    /// [`AnsweredByFallback`].
    ///
    /// # Errors
    /// If a duration is zero or more than ten years.
    pub fn http(config: FallbackConfig, answer: A) -> Result<Self, InvalidConfig> {
        Ok(FallbackLayer::new(config, answer)?.with_classifier(ByStatus::new()).with_mark(HttpMark))
    }
}

#[cfg(feature = "grpc")]
impl<A> FallbackLayer<A, ByCode, HttpMark> {
    /// A fallback for gRPC: judged by the status in head or trailers, and by transport error. Responses of the fallback carry the
    /// extension [`AnsweredByFallback`], which tonic hands on to its caller.
    ///
    /// # Errors
    /// If a duration is zero or more than ten years.
    pub fn grpc(config: FallbackConfig, answer: A) -> Result<Self, InvalidConfig> {
        Ok(FallbackLayer::new(config, answer)?.with_classifier(ByCode::new()).with_mark(HttpMark))
    }
}

/// Sends HTTP requests to `service`, as [`service`](super::service()) does, without cloning their bodies: see [`ByMethod`].
pub fn http_service<S>(service: S) -> OtherService<S, ByMethod> {
    self::service(service).with_replay(ByMethod::default())
}

/// Sends gRPC calls to `service`, as [`service`](super::service()) does, without cloning their messages: see [`ByCall`].
#[cfg(feature = "grpc")]
pub fn grpc_service<S>(service: S) -> OtherService<S, ByCall> {
    self::service(service).with_replay(ByCall::default())
}

/// A response extension: this response is a fallback's, and stands for a failure of the inner service.
///
/// Clones share the failure.
#[derive(Clone, Debug)]
pub struct AnsweredByFallback(Arc<Failure<Response<Bytes>>>);

impl AnsweredByFallback {
    /// What the classifier made of the inner service's result.
    pub fn verdict(&self) -> Verdict {
        self.0.verdict()
    }

    /// The cause in one word: the reason of a refusal or a cut, such as `circuit_open`, otherwise the verdict.
    pub fn cause(&self) -> &'static str {
        self.0.cause()
    }

    /// The refusal or the cut, if a layer of this crate ended the call.
    pub fn rejected(&self) -> Option<&Rejected> {
        self.0.rejected()
    }

    /// The error of the inner service, unless it responded.
    pub fn error(&self) -> Option<&BoxError> {
        self.0.error()
    }

    /// The response of the inner service, if it responded, with as much of its body as came quickly: up to 64 KiB.
    pub fn response(&self) -> Option<&Response<Bytes>> {
        self.0.response()
    }
}

/// A response extension: the inner service answered with this failed response, and its fallback failed, too.
///
/// Clones share the error.
#[derive(Clone, Debug)]
pub struct FallbackError(Arc<BoxError>);

impl FallbackError {
    /// The error of the fallback.
    pub fn error(&self) -> &BoxError {
        &self.0
    }
}

/// Marks responses by the extensions [`AnsweredByFallback`] and [`FallbackError`].
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct HttpMark;

impl<B, F> Mark<Response<SettledBody<B>>, Response<F>> for HttpMark
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    F: Body<Data = Bytes>,
    F::Error: Into<BoxError>,
{
    type Response = Response<FallbackBody<B, F>>;

    fn inner(&self, response: Response<SettledBody<B>>) -> Self::Response {
        response.map(|body| FallbackBody { kind: FallbackBodyKind::Inner(body) })
    }

    fn fallback(&self, mut response: Response<F>, failure: Failure<Response<SettledBody<B>>>) -> Self::Response {
        let failure = failure.map(|response| response.map(SettledBody::into_read));
        response.extensions_mut().insert(AnsweredByFallback(Arc::new(failure)));
        response.map(|body| FallbackBody { kind: FallbackBodyKind::Fallback(body) })
    }

    fn unanswered(&self, mut response: Response<SettledBody<B>>, error: BoxError) -> Self::Response {
        response.extensions_mut().insert(FallbackError(Arc::new(error)));
        self.inner(response)
    }
}

/// The body of a response of the inner service or of the fallback. Readers see it unchanged.
#[pin_project]
pub struct FallbackBody<B, F>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    #[pin]
    kind: FallbackBodyKind<B, F>,
}

#[pin_project(project = FallbackBodyKindProj)]
enum FallbackBodyKind<B, F>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    Inner(#[pin] SettledBody<B>),
    Fallback(#[pin] F),
}

/// An empty body, for layers that make responses of their own.
impl<B, F> Default for FallbackBody<B, F>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    fn default() -> Self {
        Self { kind: FallbackBodyKind::Inner(SettledBody::default()) }
    }
}

impl<B, F> Body for FallbackBody<B, F>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
    F: Body<Data = Bytes>,
    F::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        match self.project().kind.project() {
            FallbackBodyKindProj::Inner(body) => body.poll_frame(cx),
            FallbackBodyKindProj::Fallback(body) => body.poll_frame(cx).map_err(Into::into),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            FallbackBodyKind::Inner(body) => body.is_end_stream(),
            FallbackBodyKind::Fallback(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            FallbackBodyKind::Inner(body) => body.size_hint(),
            FallbackBodyKind::Fallback(body) => body.size_hint(),
        }
    }
}

impl<B, F> fmt::Debug for FallbackBody<B, F>
where
    B: Body<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_fallback = matches!(self.kind, FallbackBodyKind::Fallback(_));
        f.debug_struct("FallbackBody").field("is_fallback", &is_fallback).finish_non_exhaustive()
    }
}
