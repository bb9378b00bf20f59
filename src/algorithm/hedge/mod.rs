//! Decides when the next attempt of a hedged call starts, and what the end of an attempt means.
//!
//! After Dean and Barroso, *The Tail at Scale* (CACM 2013), and the hedging policy of gRPC (proposal A6): a call starts a second
//! attempt when the first one takes longer than a delay. A good or fatal answer ends the call; any other failure starts the next
//! attempt at once, or after the pause that the dependency asks for; a refusal that forbids further attempts stops them, and those
//! in flight go on. The last failure is the result if all fail.

mod hedge_time;
mod latencies;
mod quantile;
mod wins;

use std::time::Duration;

pub(crate) use self::hedge_time::{HedgeEnd, HedgeInFlight, HedgeTime};
pub(crate) use self::latencies::Latencies;
pub(crate) use self::quantile::QuantileRules;
pub(crate) use self::wins::HedgeWins;
use crate::ground::time::Instant;
use crate::ground::verdict::Verdict;

/// Why no further attempt starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoAttempt {
    /// The verdict on an attempt forbids another one.
    Verdict,
    /// The request cannot be sent again, or must not be.
    NotRepeatable,
    /// All attempts were started.
    Attempts,
    /// The dependency asked for a longer pause than the longest one that is accepted.
    RetryAfter,
    /// Too little time is left.
    Deadline,
}

/// Whether an attempt that ends so is the answer of its call: it is good or fatal.
pub(crate) fn decides(verdict: Verdict) -> bool {
    matches!(verdict, Verdict::Success | Verdict::CallerFault | Verdict::Failed)
}

/// What follows an attempt that has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AfterAttempt {
    /// The call is over, with this result: it is good or fatal. Attempts in flight are cancelled.
    Decided,
    /// The call is over with this failure, or an earlier one: nothing is in flight, and nothing may be started.
    Exhausted(NoAttempt),
    /// Other attempts are in flight.
    Wait,
    /// The next attempt starts now.
    Start,
    /// Nothing is in flight, and the next attempt starts at [`Hedging::due`].
    Pause,
}

/// The bounds of a call that a failed attempt is checked against.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AttemptLimits {
    pub(crate) now: Instant,
    /// The end of the call.
    pub(crate) deadline: Instant,
    /// The least time that an attempt needs.
    pub(crate) grain: Duration,
    /// The longest pause that the dependency may ask for.
    pub(crate) max_pause: Duration,
    /// How long the failed attempt took.
    pub(crate) took: Duration,
}

/// The attempts of one call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hedging {
    max_attempts: u32,
    started: u32,
    in_flight: u32,
    due: Option<Instant>,
    /// How much time of the dependency the newest attempt must have had by then, if the next one is due because it is slow.
    delay: Option<Duration>,
    /// When the dependency wants the next attempt at the earliest.
    not_before: Option<Instant>,
    stopped: Option<NoAttempt>,
    /// Whether a retry around the hedge follows failures: further attempts start only because others are slow.
    inside_retries: bool,
    /// Whether an attempt was lost, here or further out. Its request may have crashed the dependency, so it is sent to one more at most.
    lost: bool,
}

impl Hedging {
    pub(crate) fn new(max_attempts: u32, inside_retries: bool) -> Self {
        Self {
            max_attempts,
            inside_retries,
            started: 0,
            in_flight: 0,
            due: None,
            delay: None,
            not_before: None,
            stopped: None,
            lost: false,
        }
    }

    /// The number of attempts that were started.
    pub(crate) fn started(&self) -> u32 {
        self.started
    }

    /// How many attempts are in flight.
    pub(crate) fn in_flight(&self) -> u32 {
        self.in_flight
    }

    /// Whether another attempt may still start.
    pub(crate) fn may_start(&self) -> bool {
        self.stopped.is_none() && self.started < self.max_attempts
    }

    /// Why no further attempt starts, if there may be none.
    pub(crate) fn stopped(&self) -> Option<NoAttempt> {
        self.stopped.or((self.started >= self.max_attempts).then_some(NoAttempt::Attempts))
    }

    /// An attempt starts.
    pub(crate) fn start(&mut self) {
        self.started = self.started.saturating_add(1);
        self.in_flight = self.in_flight.saturating_add(1);
        self.due = None;
        if self.lost {
            self.stop(NoAttempt::Verdict);
        }
    }

    /// Another layer has repeated a lost attempt of this call. Those in flight go on, and no further one starts.
    pub(crate) fn loss_was_repeated(&mut self) {
        self.lost = true;
        if self.started > 0 {
            self.stop(NoAttempt::Verdict);
        }
    }

    /// Whether an attempt that is lost now is not repeated: another one was lost, or is in flight besides.
    pub(crate) fn is_loss_repeated(&self) -> bool {
        self.lost || self.in_flight > 1
    }

    /// The newest attempt was sent: the next one follows after `delay`, unless an answer is there before. `None`: only after a failure.
    pub(crate) fn sent(&mut self, now: Instant, delay: Option<Duration>) {
        let not_before = self.not_before.filter(|at| *at > now);
        self.due = delay.map(|delay| now + delay).max(not_before).filter(|_| self.may_start());
        self.delay = delay;
    }

    /// How much time of the dependency the newest attempt has still to have before the next one starts, after it `took` so much. Zero
    /// if the next one does not start because the newest is slow.
    pub(crate) fn left(&self, took: Duration) -> Duration {
        self.delay.unwrap_or_default().saturating_sub(took)
    }

    /// How long the newest attempt had to take before the next one is due: most calls take no longer.
    pub(crate) fn delay(&self) -> Duration {
        self.delay.unwrap_or_default()
    }

    /// The attempt that is due starts later.
    pub(crate) fn postpone(&mut self, until: Instant) {
        self.due = Some(until).filter(|_| self.may_start());
    }

    /// When the next attempt starts, if nothing happens before.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The attempt that is due is not made. One may still start after a failure.
    pub(crate) fn skip(&mut self) {
        self.due = None;
    }

    /// No further attempt starts.
    pub(crate) fn stop(&mut self, why: NoAttempt) {
        self.due = None;
        self.stopped.get_or_insert(why);
    }

    /// Whether an attempt that is due has time left. If not, none follows.
    pub(crate) fn has_time(&mut self, limits: &AttemptLimits) -> bool {
        let has_time = limits.now + limits.grain < limits.deadline;
        if !has_time {
            self.stop(NoAttempt::Deadline);
        }
        has_time
    }

    /// An attempt has ended. `pause` is what the dependency asks for, where the verdict does not hold it.
    pub(crate) fn end(
        &mut self,
        verdict: Verdict,
        limits: &AttemptLimits,
        pause: impl FnOnce() -> Option<Duration>,
        repeatable: impl FnOnce(Verdict) -> bool,
    ) -> AfterAttempt {
        self.in_flight = self.in_flight.saturating_sub(1);
        match verdict {
            Verdict::Success | Verdict::CallerFault | Verdict::Failed => return AfterAttempt::Decided,
            // Those in flight were accepted, and may succeed.
            Verdict::DoNotRetry | Verdict::Ignored | Verdict::Abandoned => self.stop(NoAttempt::Verdict),
            Verdict::Lost if self.lost || self.in_flight > 0 => {
                self.lost = true;
                self.stop(NoAttempt::Verdict);
            }
            Verdict::Lost => self.lost = true,
            Verdict::Transient
            | Verdict::Unprocessed
            | Verdict::TimedOut
            | Verdict::Unsent
            | Verdict::Overloaded { .. } => {}
        }
        let started = match self.stopped() {
            Some(why) => Err(why),
            None if self.inside_retries => Err(NoAttempt::Verdict),
            None => self.follow(verdict, limits, pause, repeatable),
        };
        match started {
            Ok(next) => next,
            Err(why) => {
                self.stop(why);
                if self.in_flight > 0 { AfterAttempt::Wait } else { AfterAttempt::Exhausted(why) }
            }
        }
    }

    /// When the attempt after a failed one starts.
    fn follow(
        &mut self,
        verdict: Verdict,
        limits: &AttemptLimits,
        pause: impl FnOnce() -> Option<Duration>,
        repeatable: impl FnOnce(Verdict) -> bool,
    ) -> Result<AfterAttempt, NoAttempt> {
        if !repeatable(verdict) {
            return Err(NoAttempt::NotRepeatable);
        }
        let pause = match verdict {
            Verdict::Overloaded { retry_after: Some(wait) } => wait,
            _ => pause().unwrap_or_default(),
        };
        if pause > limits.max_pause {
            return Err(NoAttempt::RetryAfter);
        }
        let at = (limits.now + pause).max(self.not_before.unwrap_or(limits.now));
        // After a timeout, an attempt with less than a tenth of that time would time out again.
        let least = if verdict == Verdict::TimedOut { limits.took / 10 } else { Duration::ZERO };
        if at + least.max(limits.grain) >= limits.deadline {
            return Err(NoAttempt::Deadline);
        }
        if at <= limits.now {
            return Ok(AfterAttempt::Start);
        }
        self.not_before = Some(at);
        // The pause replaces the delay of a hedge that is due earlier: the dependency said when to come back.
        (self.due, self.delay) = (Some(at), None);
        Ok(if self.in_flight > 0 { AfterAttempt::Wait } else { AfterAttempt::Pause })
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests;
