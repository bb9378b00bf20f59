use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll, ready};

use pin_project::pin_project;
use tower::{BoxError, Service};

use super::NAME;
use crate::ground::context::Context;
use crate::ground::time::Instant;
use crate::ground::verdict::{AtResponse, Classify, Guard, Verdict};
use crate::middleware::inner::BoundedCall;

/// What lives in a response until the call is over: the instant at which it must be.
#[derive(Debug)]
pub struct Cut {
    deadline: Instant,
}

impl Guard for Cut {
    fn settle(self, _verdict: Verdict) {}

    fn expires(&self) -> Option<tokio::time::Instant> {
        Some(self.deadline.to_tokio())
    }
}

/// A call with a deadline.
#[pin_project]
#[derive(Debug)]
pub struct ResponseFuture<S, Req, F, C = AtResponse> {
    #[pin]
    call: BoundedCall<S, Req, F>,
    /// The context that everything in the call is polled in.
    inside: Context,
    classifier: C,
}

impl<S, Req, F, C> ResponseFuture<S, Req, F, C> {
    pub(super) fn new(call: BoundedCall<S, Req, F>, inside: Context, classifier: C) -> Self {
        Self { call, inside, classifier }
    }
}

impl<S, Req, F, C> Future for ResponseFuture<S, Req, F, C>
where
    S: Service<Req, Future = F>,
    S::Error: Into<BoxError>,
    F: Future<Output = Result<S::Response, S::Error>>,
    C: Classify<S::Response>,
{
    type Output = Result<C::Held<Cut>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let deadline = this.call.bound().instant();
        let response = ready!(this.call.poll(cx, NAME, Some(*this.inside)))?;
        let verdict = this.classifier.classify(Ok(&response));
        Poll::Ready(Ok(this.classifier.hold(response, verdict, Cut { deadline })))
    }
}
