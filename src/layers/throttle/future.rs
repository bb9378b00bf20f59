use std::future::Future;
use std::pin::Pin;
use std::task::{self, Poll, ready};

use pin_project::pin_project;
use tower::{BoxError, Service};

use super::ticket::ThrottleTicket;
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
    /// `None` once the call is over.
    ticket: Option<ThrottleTicket>,
    is_refused: bool,
    layer_id: LayerId,
    classifier: C,
}

impl<S, Req, F, C> ResponseFuture<S, Req, F, C> {
    #[inline(always)]
    pub(super) fn sent(
        call: Call<S, Req, F>,
        deadline: CallDeadline,
        ticket: ThrottleTicket,
        layer_id: LayerId,
        classifier: C,
    ) -> Self {
        Self { call: BoundedCall::new(call, deadline), ticket: Some(ticket), is_refused: false, layer_id, classifier }
    }

    pub(super) fn refused(refusal: Unreported, classifier: C) -> Self {
        let layer_id = refusal.layer_id();
        let ticket = Some(ThrottleTicket::uncounted(CallDeadline::never(), layer_id));
        Self { call: BoundedCall::refused(refusal), ticket, is_refused: true, layer_id, classifier }
    }
}

impl<S, Req, F, C> Future for ResponseFuture<S, Req, F, C>
where
    S: Service<Req, Future = F>,
    S::Error: Into<BoxError>,
    F: Future<Output = Result<S::Response, S::Error>>,
    C: Classify<S::Response>,
{
    type Output = Result<C::Held<ThrottleTicket>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if this.ticket.is_none() {
            return Poll::Pending;
        }
        if *this.is_refused {
            // Nothing is sent. A retry in the tiers above would only multiply the refusals.
            scope::mark_exhausted();
        }
        let result = ready!(this.call.poll(cx, *this.layer_id));
        let Some(mut ticket) = this.ticket.take() else { return Poll::Pending };
        Poll::Ready(match result {
            Ok(response) => {
                let verdict = this.classifier.classify(Ok(&response));
                // A refusal counts at its head: its body may never be read.
                ticket.judge(verdict);
                Ok(this.classifier.hold(response, verdict, ticket))
            }
            Err(error) => {
                ticket.judge(verdict::judge(this.classifier, Err(&error)));
                Err(error)
            }
        })
    }
}
