//! The waits of a call: for the instant at which the next attempt starts, and for the end of the call.

use std::pin::Pin;
use std::task::{self, Poll};

use tower::{BoxError, Service};

use super::{Progress, ResponseFuture};
use crate::ground::scope;
use crate::ground::verdict::Classify;
use crate::hedge::flight::AttemptFlight;
use crate::layers::call::bound::poll_deadline;
use crate::layers::call::inner::reject;
use crate::layers::retry::Kept;
use crate::layers::retry::report::Stop;
use crate::telemetry;

impl<S, K, C> ResponseFuture<S, K, C>
where
    K: Kept,
    S: Service<K::Attempt> + Clone,
    S::Error: Into<BoxError>,
    C: Classify<S::Response>,
{
    /// Starts the attempt that is due. Returns the answer of the call if it cannot start, and no other is in flight.
    fn begin_due(mut self: Pin<&mut Self>) -> Option<Result<C::Settled, BoxError>> {
        let mut this = self.as_mut().project();
        match this.call.begin_due() {
            Ok(Some(flight)) => {
                this.flights.as_mut().push(flight);
                None
            }
            Ok(None) => None,
            Err(stop) => {
                let last = this.call.last;
                self.fail(stop, last)
            }
        }
    }

    /// Waits for the next attempt and for the end of the call. Ready without an answer if the attempts are to be polled again.
    pub(super) fn poll_timers(
        mut self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
    ) -> Poll<Option<Result<C::Settled, BoxError>>> {
        let this = self.as_mut().project();
        let call = this.call;
        if let Progress::Failed(stop, last) = *this.progress {
            if let Some(answer) = self.as_mut().fail(stop, last) {
                return Poll::Ready(Some(answer));
            }
        } else {
            let newest = this.flights.newest();
            if newest.is_in_flight() && newest.is_sent() && call.scheduled < newest.number() {
                call.schedule(newest.number());
            }
            // One timer serves both: a hedge that is due at the deadline or later is never made.
            if let Some(due) = call.hedging.due().filter(|due| *due < call.deadline.at()) {
                if call.poll_timer(due, cx).is_pending() {
                    this.flights.mark_local_wait();
                    return Poll::Pending;
                }
                match call.poll_due(this.flights.newest(), cx) {
                    Poll::Ready(true) => return Poll::Ready(self.begin_due()),
                    Poll::Ready(false) => return Poll::Ready(None),
                    // Until then only the deadline needs a timer.
                    Poll::Pending => {}
                }
            }
        }
        let this = self.as_mut().project();
        let call = this.call;
        let has_failure = call.has_failure() || this.flights.iter().any(AttemptFlight::is_detaching);
        let why = {
            // While there is a failure to return, this layer enforces the deadline itself: the outer layer that enforces it does
            // not know of the failure, and would return its own error instead.
            let _entered = has_failure.then(|| scope::enter(scope::current().with_enforced(false)));
            poll_deadline(&call.deadline, &mut call.timer, cx)
        };
        let Poll::Ready(why) = why else {
            this.flights.mark_local_wait();
            return Poll::Pending;
        };
        let refusal = telemetry::refuse(call.policy.instruments.layer_id(), why);
        let verdict = refusal.rejected().verdict();
        let refused = Err(reject(refusal));
        let result = if call.has_failure() { call.take_failure().unwrap_or(refused) } else { refused };
        Poll::Ready(Some(self.answer(Stop::Deadline, verdict, result)))
    }
}
