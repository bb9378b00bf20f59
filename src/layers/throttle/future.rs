use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll, ready};

use pin_project::pin_project;
use tower::{BoxError, Service};

use super::counted_call::CountedCall;
use crate::ground::call_deadline::CallDeadline;
use crate::ground::layer_id::LayerId;
use crate::ground::scope;
use crate::ground::verdict::{self, AtResponse, Classify};
use crate::layers::call::inner::{BoundedCall, Call};
use crate::telemetry::Unreported;

/// A call that a throttle has sent or refused.
#[pin_project]
#[derive(Debug)]
pub struct ResponseFuture<S, Req, F, C = AtResponse> {
    #[pin]
    call: BoundedCall<S, Req, F>,
    /// `None` if the call is refused locally, if the throttle is disabled, and once the call is over.
    counted: Option<CountedCall>,
    is_refused: bool,
    layer_id: LayerId,
    classifier: C,
}

impl<S, Req, F, C> ResponseFuture<S, Req, F, C> {
    #[inline(always)]
    pub(super) fn sent(
        call: Call<S, Req, F>,
        deadline: CallDeadline,
        counted: Option<CountedCall>,
        layer_id: LayerId,
        classifier: C,
    ) -> Self {
        Self { call: BoundedCall::new(call, deadline), counted, is_refused: false, layer_id, classifier }
    }

    pub(super) fn refused(refusal: Unreported, classifier: C) -> Self {
        let layer_id = refusal.layer_id();
        Self { call: BoundedCall::refused(refusal), counted: None, is_refused: true, layer_id, classifier }
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
        if std::mem::take(this.is_refused) {
            // Nothing is sent. A retry in the tiers above would only multiply the refusals.
            scope::mark_exhausted();
        }
        let result = ready!(this.call.poll(cx, *this.layer_id));
        if let Some(counted) = this.counted.take() {
            counted.end(verdict::judge(this.classifier, result.as_ref()));
        }
        Poll::Ready(result)
    }
}
