use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use pin_project::pin_project;
use tower::{BoxError, Service};

use super::ticket::Ticket;
use crate::ground::time;
use crate::ground::verdict::{self, AtResponse, Classify, Guard, Verdict};
use crate::middleware::inner::BoundedCall;

/// A call that a circuit breaker has let pass, or refused.
#[pin_project]
#[derive(Debug)]
pub struct ResponseFuture<S, Req, F, C = AtResponse> {
    #[pin]
    call: BoundedCall<S, Req, F>,
    /// After the call, so that what is further in lets go first when this is dropped. Gone once the call is over.
    ticket: Option<Ticket>,
    classifier: C,
}

impl<S, Req, F, C> ResponseFuture<S, Req, F, C> {
    pub(super) fn new(call: BoundedCall<S, Req, F>, ticket: Ticket, classifier: C) -> Self {
        Self { call, ticket: Some(ticket), classifier }
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
        let Some(ticket) = this.ticket else { return Poll::Pending };
        let (call, source) = (this.call, ticket.expiry().source);
        let result = ready!(ticket.watch(|| call.poll(cx, source, None)));
        let Some(mut ticket) = this.ticket.take() else { return Poll::Pending };
        let now = ticket.answered();
        match result {
            Ok(response) => {
                let verdict = this.classifier.classify(Ok(&response));
                if let Some(now) = now {
                    ticket.head_says(verdict, now);
                }
                let hold = || this.classifier.hold(response, verdict, ticket);
                // If the call is over with this, it needs no second reading.
                Poll::Ready(Ok(match now {
                    Some(now) => time::hand_over(now, hold),
                    None => hold(),
                }))
            }
            Err(error) => {
                match verdict::judge(this.classifier, Err(&error)) {
                    // How much that says depends on how much time there was.
                    Verdict::TimedOut if now.is_some_and(|now| ticket.was_out_of_time(now)) => ticket.run_out_of_time(),
                    verdict => ticket.settle(verdict),
                }
                Poll::Ready(Err(error))
            }
        }
    }
}
