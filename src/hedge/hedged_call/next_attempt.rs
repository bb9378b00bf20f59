//! When the next attempt starts, who pays for it, and what it is made of.

use std::task::{self, Poll, ready};
use std::time::Duration;

use tower::Service;

use super::HedgedCall;
use crate::admission::timer;
use crate::ground::scope;
use crate::ground::time::{self, Instant};
use crate::ground::verdict::{Classify, Verdict};
use crate::hedge::flight::{AttemptFlight, FlightParts};
use crate::hedge::policy::{HedgePolicy, SpentTime};
use crate::layers::call::inner::Taken;
use crate::layers::call::upload_waits;
use crate::layers::core::observed;
use crate::layers::retry::Kept;
use crate::layers::retry::budget::Withdrawal;
use crate::layers::retry::report::Stop;
use crate::telemetry::{self, NotRetried};

impl<S, K: Kept, T> HedgedCall<S, K, T> {
    /// Pays for the attempt that follows a pause, before the pause, so that a call without a token ends at once.
    pub(in crate::hedge) fn pay_for_pause(&mut self, cause: Verdict) -> Result<(), Stop> {
        let withdrawal = self.policy.withdraw(time::now())?;
        let earlier = self.earlier();
        (earlier.paid, earlier.cause) = (Some(withdrawal), Some(cause));
        // Nothing of the attempt that failed may go on during the pause.
        if let Some(source) = &mut self.source {
            source.kept.give_up();
        }
        Ok(())
    }

    /// Waits until the attempt is due.
    pub(in crate::hedge) fn poll_timer(&mut self, due: Instant, cx: &mut task::Context<'_>) -> Poll<()> {
        if self.overdue == Some(due) { Poll::Ready(()) } else { self.timer.poll_until(cx, due) }
    }

    /// Whether the attempt that is due starts now; if not, it is due later. Pending while others have to go on first, which wakes
    /// the task: the upload of the first one, or the wait of the newest one in a queue of this crate.
    pub(in crate::hedge) fn poll_due<C>(
        &mut self,
        newest: &AttemptFlight<S, K, C>,
        cx: &mut task::Context<'_>,
    ) -> Poll<bool>
    where
        S: Service<K::Attempt>,
        C: Classify<S::Response, Settled = T>,
    {
        if self.hedging.in_flight() == 0 {
            return Poll::Ready(true);
        }
        self.overdue = self.hedging.due();
        if let Some(source) = &mut self.source {
            ready!(source.kept.poll_beside(cx));
        }
        let now = time::now();
        let left = self.hedging.left(newest.took(now));
        if left.is_zero() || !newest.is_in_flight() {
            return Poll::Ready(true);
        }
        if newest.waits_locally() {
            return Poll::Pending;
        }
        self.hedging.postpone(now + left.max(timer::GRAIN));
        Poll::Ready(false)
    }

    /// Starts the attempt that is due. `Ok(None)`: not now, and the call goes on.
    pub(in crate::hedge) fn begin_due<C>(&mut self) -> Result<Option<AttemptFlight<S, K, C>>, Stop>
    where
        S: Service<K::Attempt> + Clone,
        C: Classify<S::Response, Settled = T>,
    {
        let now = time::now();
        let is_alone = self.hedging.in_flight() == 0;
        if !self.hedging.has_time(&self.limits(now, Duration::ZERO)) {
            return self.not_begun(Stop::Deadline);
        }
        if !is_alone && !self.may_run_beside() {
            self.hedging.skip();
            return self.not_begun(Stop::NotRepeatable);
        }
        let paid = self.earlier.as_mut().map(|earlier| (earlier.paid.take(), earlier.cause.take()));
        let (paid, cause) = paid.unwrap_or_default();
        let mut spent_time = None;
        if !is_alone && cause.is_none() {
            spent_time = HedgePolicy::spend_time(&self.policy, self.hedging.delay(), now);
            if spent_time.is_none() {
                self.hedging.skip();
                self.count_refused(NotRetried::TimeRatio);
                return Ok(None);
            }
        }
        match self.begin(paid, spent_time, cause, now) {
            Ok(flight) => Ok(Some(flight)),
            Err(stop) => {
                self.hedging.skip();
                self.not_begun(stop)
            }
        }
    }

    /// No attempt starts: the call is over if no other one is in flight.
    fn not_begun<F>(&mut self, stop: Stop) -> Result<Option<F>, Stop> {
        if self.hedging.in_flight() == 0 {
            return Err(stop);
        }
        if let Some(why) = stop.not_retried() {
            self.count_refused(why);
        }
        Ok(None)
    }

    /// Starts the next attempt. The cause is the verdict on an attempt that failed, if it does not start because others are slow.
    pub(in crate::hedge) fn begin<C>(
        &mut self,
        paid: Option<Withdrawal>,
        spent_time: Option<SpentTime>,
        cause: Option<Verdict>,
        now: Instant,
    ) -> Result<AttemptFlight<S, K, C>, Stop>
    where
        S: Service<K::Attempt> + Clone,
        C: Classify<S::Response, Settled = T>,
    {
        let withdrawal = match paid {
            Some(withdrawal) => withdrawal,
            None => self.policy.withdraw(now)?,
        };
        let number = self.hedging.started().saturating_add(1);
        let is_beside = self.hedging.in_flight() > 0;
        let context = self.policy.numbered(self.inherited, &self.settings, number);
        let _entered = scope::enter(context.with_loss_repeated(is_beside || self.hedging.is_loss_repeated()));
        let source = self.source.as_mut().ok_or(Stop::NotRepeatable)?;
        let request = if is_beside { source.kept.next_beside() } else { source.kept.next() };
        let request = request.ok_or(Stop::NotRepeatable)?;
        let upload_waits = source.kept.sending();
        let service = Taken::not_ready(source.service.clone(), self.policy.readiness_limit.clone());
        if self.hedging.is_loss_repeated() && !is_beside {
            scope::mark_loss_repeated();
        }
        self.hedging.start();
        self.endpoints.avoid_last();
        if !self.hedging.may_start() {
            self.source = None;
        }
        let others_only = if is_beside { self.endpoints.others_only() } else { None };
        let _sending = upload_waits::enter(upload_waits.as_ref());
        let call = service.call(request);
        let parts = FlightParts::new(number, now, upload_waits).further(withdrawal, spent_time, cause, others_only);
        Ok(AttemptFlight::new(call, parts))
    }

    /// Counts a further attempt after its first poll. An inner layer may have refused it: then no hedge was made.
    pub(in crate::hedge) fn count_begun(&self, cause: Option<Verdict>, is_refused: bool) {
        match is_refused {
            true => telemetry::not_hedged(&self.policy.instruments, NotRetried::Refused),
            false => telemetry::hedged(&self.policy.instruments, cause),
        }
        observed::request_publication();
    }
}
