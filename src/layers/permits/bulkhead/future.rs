use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll, ready};

use pin_project::pin_project;
use tower::{BoxError, Service};

use crate::ground::time;
use crate::ground::verdict::{self, AtResponse, Classify};
use crate::layers::permits::admitted::{AdmittedAnswer, AdmittedCall};
use crate::layers::permits::hold::Hold;

/// A call that holds its permits until it is over.
#[pin_project]
#[derive(Debug)]
pub struct ResponseFuture<S, Req, F, C = AtResponse> {
    #[pin]
    call: AdmittedCall<S, Req, F>,
    classifier: C,
}

impl<S, Req, F, C> ResponseFuture<S, Req, F, C> {
    #[inline(always)]
    pub(super) fn new(call: AdmittedCall<S, Req, F>, classifier: C) -> Self {
        Self { call, classifier }
    }
}

impl<S, Req, F, C> Future for ResponseFuture<S, Req, F, C>
where
    S: Service<Req, Future = F>,
    S::Error: Into<BoxError>,
    F: Future<Output = Result<S::Response, S::Error>>,
    C: Classify<S::Response>,
{
    type Output = Result<C::Held<Hold>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let AdmittedAnswer { response, verdict, hold, now } =
            ready!(this.call.poll(cx, |result| verdict::judge(this.classifier, result)))?;
        // If the call is over with this, the guard needs no second clock read.
        Poll::Ready(Ok(time::with_start(now, || this.classifier.hold(response, verdict, hold))))
    }
}
