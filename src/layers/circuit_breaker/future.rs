use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project::{pin_project, pinned_drop};
use tower::{BoxError, Service};

use super::ticket::Ticket;
use crate::admission::timer::Timer;
use crate::admission::woken::Woken;
use crate::ground::scope;
use crate::ground::time;
use crate::ground::verdict::{self, AtResponse, Classify, Verdict};
use crate::layers::call::inner::Call;

/// A call that a circuit breaker has admitted or refused.
#[pin_project(PinnedDrop)]
#[derive(Debug)]
pub struct ResponseFuture<S, Req, F, C = AtResponse> {
    #[pin]
    call: Call<S, Req, F>,
    timer: Timer,
    /// `None` once the call is over.
    ticket: Option<Ticket>,
    /// Declared after the call, which holds its waker and is dropped first.
    woken: Woken,
    classifier: C,
}

impl<S, Req, F, C> ResponseFuture<S, Req, F, C> {
    #[inline(always)]
    pub(super) fn new(call: Call<S, Req, F>, ticket: Ticket, classifier: C) -> Self {
        Self { call, timer: Timer::new(), ticket: Some(ticket), woken: Woken::new(), classifier }
    }

    /// Whether the call still waits for the client to become ready.
    pub(crate) fn is_client_unready(&self) -> bool {
        self.call.is_waiting()
    }

    /// Whether the call has ended because the client's `poll_ready` failed.
    pub(crate) fn is_client_unusable(&self) -> bool {
        self.call.is_unusable()
    }

    /// Ends the call and returns its request, if the client is still not ready. That is no evidence.
    pub(crate) fn take_unsent(self: Pin<&mut Self>) -> Option<Req> {
        let this = self.project();
        let request = this.call.take_unsent()?;
        if let Some(ticket) = this.ticket.take() {
            ticket.fail(Verdict::Ignored);
        }
        Some(request)
    }
}

impl<S, Req, F, C> Future for ResponseFuture<S, Req, F, C>
where
    S: Service<Req, Future = F>,
    S::Error: Into<BoxError>,
    F: Future<Output = Result<S::Response, S::Error>>,
    C: Classify<S::Response>,
{
    type Output = Result<C::Held<Ticket>, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        let (call, timer) = (this.call, this.timer);
        let Some(ticket) = this.ticket else { return Poll::Pending };
        if ticket.is_refused() {
            // Nothing is sent. A retry in the tiers above would only multiply the refusals.
            scope::mark_exhausted();
        }
        let (deadline, layer_id) = (ticket.deadline(), ticket.layer_id());
        let (result, woken) = ticket.watch(this.woken, cx, |cx| call.poll_until(&deadline, timer, cx, layer_id));
        let result = ready!(result);
        let now = ticket.answered(woken);
        match result {
            Ok(response) => {
                let verdict = this.classifier.classify(Ok(&response));
                if let Some(now) = now {
                    ticket.head(verdict, now);
                }
                let Some(ticket) = this.ticket.take() else { return Poll::Pending };
                Poll::Ready(Ok(match now {
                    // If the call is over with this, the guard needs no second clock read.
                    Some(now) => time::with_start(now, || this.classifier.hold(response, verdict, ticket)),
                    None => this.classifier.hold(response, verdict, ticket),
                }))
            }
            Err(error) => {
                let verdict = verdict::judge(this.classifier, Err(&error));
                if let Some(ticket) = this.ticket.take() {
                    ticket.fail(verdict);
                }
                Poll::Ready(Err(error))
            }
        }
    }
}

#[pinned_drop]
impl<S, Req, F, C> PinnedDrop for ResponseFuture<S, Req, F, C> {
    fn drop(self: Pin<&mut Self>) {
        let mut this = self.project();
        if let Some(ticket) = this.ticket.take() {
            // Inner layers release first.
            this.call.set(Call::Over);
            ticket.given_up(this.woken.at());
        }
    }
}
