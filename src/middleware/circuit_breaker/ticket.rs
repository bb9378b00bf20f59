use std::fmt;
use std::time::Duration;

use super::lookout;
use super::state::{Breaker, Pass};
use crate::algorithm::evidence::Evidence;
use crate::ground::sync::Arc;
use crate::ground::time::{self, Instant, Stopwatch};
use crate::ground::verdict::{Expiry, Guard, Health, Verdict};
use crate::middleware::observed;

/// What a breaker gives to a call: settled once, with what the call said about the callee, or dropped, if it was given up.
pub struct Ticket {
    breaker: Arc<Breaker>,
    /// Gone once it is settled; none for a call that was refused.
    pass: Option<Pass>,
    stopwatch: Stopwatch,
    /// How long the callee took to answer, if it has.
    took: Option<Duration>,
    /// The time that the call had when it was admitted.
    left: Duration,
    /// When there must be an answer.
    deadline: Instant,
    /// When all of it must be there.
    expiry: Expiry,
    /// A call that nobody has ever polled says nothing about the callee, however long it was kept.
    polled: bool,
}

impl Ticket {
    #[inline]
    pub(super) fn new(
        breaker: Arc<Breaker>,
        pass: Option<Pass>,
        now: Instant,
        deadline: Instant,
        expiry: Expiry,
    ) -> Self {
        let (stopwatch, left) = (Stopwatch::start(now), deadline.since(now));
        Self { breaker, pass, stopwatch, took: None, left, deadline, expiry, polled: false }
    }

    /// Polls the callee, and notes when it is not the callee that the call waits for.
    #[inline]
    pub(super) fn watch<T>(&mut self, poll: impl FnOnce() -> T) -> T {
        if !self.polled {
            self.polled = true;
            if let Some(pass @ Pass::Probe(_)) = &self.pass {
                self.breaker.sent(pass, time::now());
            }
        }
        let waited = self.stopwatch.waits_locally();
        let output = self.stopwatch.watch(poll);
        match (waited, self.stopwatch.waits_locally(), &mut self.pass) {
            (false, true, Some(pass)) => self.breaker.stop_aging(pass, time::now()),
            (true, false, Some(pass)) => {
                let now = time::now();
                self.breaker.start_aging(pass, now);
                lookout::keep(&self.breaker, pass, now);
            }
            _ => {}
        }
        output
    }

    /// The callee has answered now: whoever reads its answer may take his time. `None`: nobody is interested.
    #[inline]
    pub(super) fn answered(&mut self) -> Option<Instant> {
        let instruments = self.breaker.instruments();
        let pass = self.pass.as_mut().filter(|pass| pass.counts(instruments))?;
        let now = time::now();
        let took = self.stopwatch.elapsed(now);
        self.took = Some(took);
        self.breaker.answered(pass, took, now);
        Some(now)
    }

    /// What the answer's head says, which was there at `now`.
    #[inline]
    pub(super) fn head_says(&mut self, verdict: Verdict, now: Instant) {
        if let (Some(pass), Some(took), Health::Bad) = (&self.pass, self.took, verdict.health()) {
            self.breaker.answered_badly(pass, took, now);
        }
    }

    /// Whether what ended the call at `now` was the end of the caller's time, or a wait in a queue of ours, and not a time limit
    /// that is meant for the callee alone.
    pub(super) fn was_out_of_time(&self, now: Instant) -> bool {
        let until = if self.took.is_some() { self.expiry.at } else { self.deadline };
        until <= now || self.stopwatch.waits_locally()
    }

    /// The caller's time was over before the callee answered.
    pub(super) fn run_out_of_time(mut self) {
        self.give_up(Evidence::TimedOut);
    }

    fn give_up(&mut self, late: Evidence) {
        if let Some(pass) = self.take_pass() {
            let now = time::now();
            if !self.polled {
                return self.breaker.give_up(pass, Duration::ZERO, self.left, Evidence::Nothing, now);
            }
            let took = self.took(now);
            let verdict = if late == Evidence::TimedOut { Verdict::TimedOut } else { Verdict::Abandoned };
            observed::record(self.breaker.instruments(), verdict, took);
            self.breaker.give_up(pass, took, self.left, late, now);
        }
    }

    fn take_pass(&mut self) -> Option<Pass> {
        self.pass.take().filter(|pass| pass.counts(self.breaker.instruments()))
    }

    #[inline]
    fn took(&self, now: Instant) -> Duration {
        self.took.unwrap_or_else(|| self.stopwatch.elapsed(now))
    }
}

impl Guard for Ticket {
    #[inline]
    fn settle(mut self, verdict: Verdict) {
        if verdict == Verdict::Abandoned {
            return;
        }
        let Some(pass) = self.take_pass() else { return };
        // In the moment of the answer its reading is handed over to us.
        let now = time::call_start();
        let took = self.took(now);
        observed::record(self.breaker.instruments(), verdict, took);
        if verdict == Verdict::TimedOut && self.took.is_some() && self.was_out_of_time(now) {
            // The head was there and the rest was not, when the caller's time was over.
            return self.breaker.give_up(pass, took, self.left, Evidence::TimedOut, now);
        }
        let end = match (verdict, verdict.health()) {
            (Verdict::TimedOut, _) => Evidence::TimedOut,
            (_, Health::Good) => Evidence::Good(took),
            (_, Health::Bad) => Evidence::Bad(took),
            (_, Health::Unknown) => Evidence::Nothing,
        };
        self.breaker.settle(pass, end, now);
    }

    fn waited(&mut self, time: Duration) {
        if let Some(took) = &mut self.took {
            *took += time;
        }
    }

    fn expiry(&self) -> Expiry {
        self.expiry
    }
}

impl Drop for Ticket {
    #[inline]
    fn drop(&mut self) {
        self.give_up(Evidence::GivenUpLate);
    }
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("pass", &self.pass).field("took", &self.took).finish_non_exhaustive()
    }
}
