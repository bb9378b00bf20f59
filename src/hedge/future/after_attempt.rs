//! What follows the end of an attempt: the answer of the call, or the next attempt.

use std::pin::Pin;

use tower::{BoxError, Service};

use super::{Progress, ResponseFuture};
use crate::algorithm::hedge::AfterAttempt;
use crate::ground::error::rejection;
use crate::ground::time;
use crate::ground::verdict::{Classify, Verdict};
use crate::hedge::flight::AttemptFlight;
use crate::hedge::hedged_call::stop_of;
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
    /// What follows the end of an attempt: the answer of the call, or the next attempt.
    pub(super) fn after_attempt(
        mut self: Pin<&mut Self>,
        index: usize,
        verdict: Verdict,
        result: Result<C::Settled, BoxError>,
    ) -> Option<Result<C::Settled, BoxError>> {
        let this = self.as_mut().project();
        let call = this.call;
        let is_ours = result.as_ref().is_err_and(|error| rejection(error).is_some());
        let now = time::now();
        let took = this.flights.iter().nth(index).map(|flight| flight.took(now)).unwrap_or_default();
        let theirs = (!is_ours).then_some(result.as_ref());
        let after = call.end_attempt(this.classifier, verdict, theirs, took);
        let stop = match after {
            AfterAttempt::Decided => {
                if index > 0 && verdict != Verdict::Failed {
                    call.policy.instruments.tally().hedges_won.add();
                }
                call.learn(&this.flights, index, verdict, now);
                let stop = if verdict == Verdict::Success { Stop::Succeeded } else { Stop::Verdict };
                return Some(self.answer(stop, verdict, result));
            }
            AfterAttempt::Wait => {
                self.keep(index, result, is_ours);
                return None;
            }
            AfterAttempt::Start => match call.begin(None, None, Some(verdict), time::now()) {
                Ok(flight) => {
                    this.flights.push(flight);
                    self.keep(index, result, is_ours);
                    return None;
                }
                Err(stop) if call.hedging.in_flight() > 0 => {
                    if let Some(why) = stop.not_retried() {
                        telemetry::not_hedged(&call.policy.instruments, why);
                    }
                    self.keep(index, result, is_ours);
                    return None;
                }
                Err(stop) => stop,
            },
            AfterAttempt::Pause => match call.pay_for_pause(verdict) {
                Ok(()) => {
                    self.keep(index, result, is_ours);
                    return None;
                }
                Err(stop) => {
                    call.hedging.skip();
                    stop
                }
            },
            AfterAttempt::Exhausted(why) => stop_of(why),
        };
        if !is_ours {
            return Some(self.answer(stop, verdict, result));
        }
        // The last attempt was cut or refused by a layer of this crate: an earlier failure says more.
        self.as_mut().keep(index, result, true);
        self.fail(stop, verdict)
    }

    /// Keeps the failure of an attempt while the call goes on.
    fn keep(self: Pin<&mut Self>, index: usize, result: Result<C::Settled, BoxError>, is_ours: bool) {
        let this = self.project();
        match result {
            Err(error) if is_ours => this.call.keep_refusal(error),
            Err(error) => this.call.keep_failure(Err(error)),
            Ok(response) => {
                if let Some(flight) = this.flights.get(index) {
                    flight.detach(this.classifier, response);
                }
            }
        }
    }

    /// All attempts have failed: returns the last failure, once what is left of it is read.
    pub(super) fn fail(mut self: Pin<&mut Self>, stop: Stop, last: Verdict) -> Option<Result<C::Settled, BoxError>> {
        let this = self.as_mut().project();
        if !this.call.has_failure() && this.flights.iter().any(AttemptFlight::is_detaching) {
            *this.progress = Progress::Failed(stop, last);
            return None;
        }
        let failure = this.call.take_failure()?;
        Some(self.answer(stop, last, failure))
    }

    pub(super) fn answer(
        mut self: Pin<&mut Self>,
        stop: Stop,
        verdict: Verdict,
        result: Result<C::Settled, BoxError>,
    ) -> Result<C::Settled, BoxError> {
        self.as_mut().end(stop, verdict);
        self.call.report_exhaustion(stop, verdict);
        result
    }
}
