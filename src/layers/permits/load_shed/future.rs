use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll, ready};

use pin_project::pin_project;
use tower::{BoxError, Service};

use crate::ground::time;
use crate::ground::verdict::{self, AtResponse, Classify, Guard};
use crate::layers::permits::admitted::{AdmittedAnswer, AdmittedCall};

/// A call that is served, waits in the queue, or is refused.
#[pin_project]
#[derive(Debug)]
pub struct ResponseFuture<S, Req, F, C = AtResponse> {
    #[pin]
    call: AdmittedCall<S, Req, F>,
    classifier: C,
}

impl<S, Req, F, C> ResponseFuture<S, Req, F, C> {
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
    type Output = Result<S::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        // Release the permit now: the head has arrived, so the work is done, and a slow reader of the body must not hold the permit.
        let AdmittedAnswer { response, verdict, hold, now } =
            ready!(this.call.poll(cx, |result| verdict::judge(this.classifier, result)))?;
        time::with_start(now, || hold.settle(verdict));
        Poll::Ready(Ok(response))
    }
}
