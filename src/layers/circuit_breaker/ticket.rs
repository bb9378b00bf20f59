use std::fmt;
use std::task::{Context, Poll};
use std::time::Duration;

use super::call_pass::CallPass;
use super::checks;
use super::state::Breaker;
use crate::admission::woken::Woken;
use crate::algorithm::breaker::Pass;
use crate::algorithm::evidence::{self, Ending, Evidence, Times};
use crate::ground::call_deadline::CallDeadline;
use crate::ground::layer_id::LayerId;
use crate::ground::scope;
use crate::ground::stopwatch::Stopwatch;
use crate::ground::sync::Arc;
use crate::ground::time::{self, Instant};
use crate::ground::verdict::{Expiry, Guard, SealedGuard, Verdict};
use crate::layers::call::upload_waits;
use crate::layers::core::observed;

/// The admission of one call by a breaker. It is settled once, with the verdict on the call; if it is dropped instead, the call was
/// abandoned.
///
/// Public only so that the types of responses can be named.
pub struct Ticket {
    breaker: Arc<Breaker>,
    /// `None` once it is settled, and for a call that was refused.
    pass: Option<CallPass>,
    stopwatch: Stopwatch,
    /// How long the dependency took for the head of its response, or for one frame of the body if that was longer. `None`: no
    /// response yet.
    took: Option<Duration>,
    /// When the head arrived, if the dependency reported a timeout in it.
    timed_out_at: Option<Instant>,
    deadline: CallDeadline,
    /// A call that was never polled says nothing about the dependency, however long it was kept.
    polled: bool,
    /// Whether the breaker is that of an endpoint among others.
    of_endpoint: bool,
    /// Whether its end decides whether the breaker closes again.
    is_probe: bool,
}

impl Ticket {
    #[inline(always)]
    pub(super) fn new(breaker: Arc<Breaker>, pass: Option<Pass>, now: Instant, deadline: CallDeadline) -> Self {
        let is_probe = matches!(pass, Some(Pass::Probe(_) | Pass::LastResort(_)));
        let pass = pass.map(|pass| CallPass::new(&breaker, pass, upload_waits::claim()));
        Self {
            breaker,
            pass,
            stopwatch: Stopwatch::start(now),
            took: None,
            timed_out_at: None,
            deadline,
            polled: false,
            of_endpoint: false,
            is_probe,
        }
    }

    /// The call is admitted by the breaker of an endpoint among others.
    #[inline]
    pub(super) fn of_endpoint(mut self) -> Self {
        self.of_endpoint = true;
        self
    }

    /// Whether the call was refused. Only valid before the ticket is settled.
    #[inline]
    pub(super) fn is_refused(&self) -> bool {
        self.pass.is_none()
    }

    /// Whether its end decides whether the breaker closes again.
    #[inline]
    pub(crate) fn is_probe(&self) -> bool {
        self.is_probe
    }

    #[inline]
    pub(super) fn layer_id(&self) -> LayerId {
        self.breaker.instruments().layer_id()
    }

    /// The bound of the call.
    #[inline]
    pub(super) fn deadline(&self) -> CallDeadline {
        self.deadline
    }

    /// Polls the call with the waker of `woken`, and records when it waits for something other than the dependency. Also returns
    /// when the call was woken for this poll.
    #[inline]
    pub(super) fn watch<T>(
        &mut self,
        woken: &mut Woken,
        cx: &Context<'_>,
        poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> (Poll<T>, Option<Instant>) {
        let waited = self.stopwatch.waits_locally();
        // The waker is ours, but the task is the same.
        let enforced = scope::is_enforced_for(cx.waker());
        let (output, woken_at) = self.stopwatch.watch(|| {
            woken.poll(cx, |cx| {
                let _enforcing = enforced.then(|| scope::enforce(cx.waker()));
                poll(cx)
            })
        });
        if !self.polled {
            self.polled = true;
            if output.is_pending() {
                // Before its first poll the call was kept by its caller, which is not the dependency's time.
                let now = time::now();
                self.stopwatch.restart(now);
                if !self.stopwatch.waits_locally() {
                    self.with_pass(|breaker, pass, waits| breaker.sent(pass, waits, now));
                }
            }
        }
        match (waited, self.stopwatch.waits_locally()) {
            (false, true) => self.with_pass(|breaker, pass, _| breaker.stop_aging(pass, time::now())),
            (true, false) => {
                let now = time::now();
                self.with_pass(|breaker, pass, waits| breaker.start_aging(pass, waits, now));
                checks::ensure_scheduled(&self.breaker, now);
            }
            (false, false) | (true, true) => {}
        }
        (output, woken_at)
    }

    /// The dependency has responded, and the call was woken for it at `woken`. The time between wake-up and poll is not the dependency's. Returns `None` if the call is not recorded.
    #[inline]
    pub(super) fn answered(&mut self, woken: Option<Instant>) -> Option<Instant> {
        let breaker = &self.breaker;
        self.pass.as_mut()?.with(|pass, _| breaker.counts(pass)).filter(|counts| *counts)?;
        let now = time::now();
        let took = self.elapsed(now, woken);
        self.took = Some(took);
        scope::note_answer(took, now);
        if let Some(call_pass) = &self.pass {
            call_pass.answered();
        }
        self.with_pass(|breaker, pass, _| breaker.answered(pass, took, now));
        Some(now)
    }

    /// Records the verdict on the head of the response, which arrived at `now`.
    #[inline]
    pub(super) fn head(&mut self, verdict: Verdict, now: Instant) {
        if verdict == Verdict::TimedOut {
            self.timed_out_at = Some(now);
        }
        if verdict != Verdict::Success {
            let evidence = self.evidence(Ending::Answer(verdict), self.took(now), now, false);
            self.with_pass(|breaker, pass, _| breaker.record_head(pass, evidence, now));
        }
    }

    /// The call has ended in an error.
    pub(super) fn fail(mut self, verdict: Verdict) {
        // An inner layer hands over its clock read for the error.
        let now = time::call_start();
        self.end(Ending::Error(verdict), self.took(now), now, false);
    }

    /// The caller has dropped the call. The call had been woken at `woken`, if at all.
    pub(super) fn given_up(mut self, woken: Option<Instant>) {
        self.give_up(woken);
    }

    fn give_up(&mut self, woken: Option<Instant>) {
        if self.pass.is_none() {
            return;
        }
        let (now, had_head) = (time::now(), self.took.is_some());
        let took = self.took.unwrap_or_else(|| self.elapsed(now, woken));
        let ending = match () {
            () if !had_head && self.deadline.at() <= now => Ending::Deadline,
            () if scope::is_cancelling_needless() => Ending::Needless,
            () => Ending::GivenUp,
        };
        self.end(ending, took, now, had_head);
    }

    fn end(&mut self, ending: Ending, took: Duration, now: Instant, had_head: bool) {
        let evidence = self.evidence(ending, took, now, had_head);
        let pass = self.pass.take().and_then(CallPass::take);
        let Some(pass) = pass.filter(|pass| self.breaker.counts(pass)) else { return };
        let verdict = match ending {
            Ending::Answer(verdict) | Ending::Error(verdict) => verdict,
            Ending::Deadline => Verdict::TimedOut,
            Ending::GivenUp | Ending::Needless => Verdict::Abandoned,
        };
        if self.polled {
            observed::record(self.breaker.instruments(), verdict, took);
            scope::note_answer(took, now);
        }
        self.breaker.settle(pass, evidence, now);
    }

    fn evidence(&self, ending: Ending, took: Duration, now: Instant, had_head: bool) -> Evidence {
        if !self.polled {
            return Evidence::Nothing;
        }
        let times = || {
            let (deadline, end) = (self.deadline.at(), self.deadline.end());
            let left = match self.timed_out_at {
                Some(timed_out_at) => deadline.since(timed_out_at),
                None => if had_head { end } else { deadline }.since(now),
            };
            Times {
                took,
                given: deadline.since(self.deadline.start()),
                left,
                had_head: had_head && self.timed_out_at.is_none(),
                waited_locally: self.stopwatch.waits_locally() || self.uploaded(now).1,
            }
        };
        let evidence = evidence::of(ending, took, times, || self.breaker.yardstick());
        if self.of_endpoint { evidence.of_endpoint(took) } else { evidence }
    }

    /// How long the request body has waited for its producer, and whether it waits now.
    #[inline]
    fn uploaded(&self, now: Instant) -> (Duration, bool) {
        self.pass
            .as_ref()
            .and_then(CallPass::upload_waits)
            .map_or((Duration::ZERO, false), |upload_waits| upload_waits.waited(now))
    }

    /// Runs `act` on the pass. Its last argument tells whether the request body waits for its producer.
    #[inline]
    fn with_pass(&mut self, act: impl FnOnce(&Breaker, &mut Pass, &dyn Fn() -> bool)) {
        let breaker = &self.breaker;
        if let Some(call_pass) = &mut self.pass {
            call_pass.with(|pass, waits| act(breaker, pass, waits));
        }
    }

    #[inline]
    fn took(&self, now: Instant) -> Duration {
        self.took.unwrap_or_else(|| self.elapsed(now, None))
    }

    /// The dependency's own time in a call that was woken at `woken`. The time after that, or after the deadline, is our own delay.
    #[inline]
    fn elapsed(&self, now: Instant, woken: Option<Instant>) -> Duration {
        let until = woken.unwrap_or(now).min(now).min(self.deadline.at());
        self.stopwatch.elapsed(until).saturating_sub(self.uploaded(until).0)
    }
}

impl SealedGuard for Ticket {}

impl Guard for Ticket {
    #[inline]
    fn settle(mut self, verdict: Verdict) {
        if verdict != Verdict::Abandoned {
            // An inner layer hands over its clock read for the response.
            let now = time::call_start();
            self.end(Ending::Answer(verdict), self.took(now), now, true);
        }
    }

    /// The longest wait counts: a stream is not slow because it is long.
    fn waited(&mut self, time: Duration) {
        if let Some(took) = &mut self.took {
            *took = time.max(*took);
        }
    }

    fn expiry(&self) -> Expiry {
        Expiry::of(self.layer_id(), &self.deadline)
    }
}

impl Drop for Ticket {
    #[inline]
    fn drop(&mut self) {
        self.give_up(None);
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("pass", &self.pass).field("took", &self.took).finish_non_exhaustive()
    }
}
