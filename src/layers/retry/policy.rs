//! What follows on a failed attempt.

use std::time::Duration;

use super::budget::{Budget, Withdrawal};
use super::call_settings::CallSettings;
use super::report::Stop;
use crate::admission::timer;
use crate::ground::time::Instant;
use crate::ground::verdict::Verdict;
use crate::layers::call::inner::ReadinessLimit;
use crate::telemetry::Instruments;

/// What all calls with one key share.
#[derive(Debug)]
pub(super) struct Policy {
    pub(super) budget: Budget,
    /// Whether the budget was given by the user, who sees to its settings.
    given: bool,
    pub(super) readiness_limit: ReadinessLimit,
    pub(super) instruments: Instruments,
}

/// How far a call has come.
#[derive(Clone, Copy, Debug)]
pub(super) struct RetryProgress {
    /// Attempts that were begun.
    pub(super) attempts: u32,
    /// When the last one was begun.
    pub(super) since: Instant,
    /// The wait before the last one.
    delay: Duration,
    /// Whether an attempt was lost.
    lost: bool,
}

impl RetryProgress {
    pub(super) fn new(attempts: u32, since: Instant) -> Self {
        Self { attempts, since, delay: Duration::ZERO, lost: false }
    }
}

/// An attempt that has just ended, in a call that ends at `limit`.
#[derive(Clone, Copy, Debug)]
pub(super) struct EndedAttempt {
    pub(super) verdict: Verdict,
    pub(super) now: Instant,
    pub(super) limit: Instant,
}

/// A retry that may be made, and is paid for.
#[derive(Debug)]
pub(super) struct GrantedRetry {
    pub(super) at: Instant,
    pub(super) withdrawal: Withdrawal,
}

impl Policy {
    /// With a budget of its own.
    pub(super) fn new(budget: Budget, instruments: Instruments) -> Self {
        Self { budget, given: false, readiness_limit: ReadinessLimit::default(), instruments }
    }

    /// With a budget that is given.
    pub(super) fn with_given_budget(budget: Budget, instruments: Instruments) -> Self {
        Self { budget, given: true, readiness_limit: ReadinessLimit::default(), instruments }
    }

    /// With the same budget.
    pub(super) fn renewed(&self) -> Self {
        let (budget, instruments) = (self.budget.clone(), self.instruments.clone());
        Self { budget, given: self.given, readiness_limit: ReadinessLimit::default(), instruments }
    }

    /// The budget, unless it was given.
    pub(super) fn own_budget(&self) -> Option<&Budget> {
        (!self.given).then_some(&self.budget)
    }

    /// A budget that was given is not forgotten with its handle here.
    pub(super) fn is_as_new(&self, now: Instant) -> bool {
        self.given || self.budget.is_as_new(now)
    }

    /// Whether, and when, another attempt follows on one that has ended. `retry_after` is how long the callee asked to be left alone, where
    /// the verdict does not say it. The price is withdrawn before the wait, so that a call without a token ends at once.
    pub(super) fn retry(
        &self,
        settings: &CallSettings,
        progress: &mut RetryProgress,
        ended: EndedAttempt,
        retry_after: impl FnOnce() -> Option<Duration>,
        repeatable: impl FnOnce(Verdict) -> bool,
        chance: impl FnOnce() -> f64,
    ) -> Result<GrantedRetry, Stop> {
        let EndedAttempt { verdict, now, limit } = ended;
        match verdict {
            Verdict::Transient
            | Verdict::Unprocessed
            | Verdict::TimedOut
            | Verdict::Unsent
            | Verdict::Overloaded { .. } => {}
            // It may be what killed the callee: one more is the most that anyone should suffer.
            Verdict::Lost if !progress.lost => progress.lost = true,
            _ => return Err(Stop::Verdict),
        }
        if progress.attempts >= settings.max_attempts {
            return Err(Stop::Attempts);
        }
        if !repeatable(verdict) {
            return Err(Stop::NotRepeatable);
        }
        let pause = match verdict {
            Verdict::Overloaded { retry_after: Some(wait) } => wait,
            _ => retry_after().unwrap_or_default(),
        };
        if pause > settings.max_retry_after() {
            return Err(Stop::RetryAfter);
        }
        let backoff = settings.backoff().delay(progress.attempts, progress.delay, chance());
        // On top of what was told: all callers are told the same, and must not come back together.
        let at = now + pause + backoff;
        // The timer may be late by its grain; who wakes up with no time left has waited in vain. And what was too slow with all
        // the time that it had will not be quick with the crumbs of it.
        let least_time_left =
            if verdict == Verdict::TimedOut { now.since(progress.since) / 10 } else { Duration::ZERO };
        if at + least_time_left.max(timer::GRAIN) >= limit {
            return Err(Stop::Deadline);
        }
        let withdrawal = self.budget.withdraw(now).ok_or(Stop::Budget)?;
        progress.delay = backoff;
        Ok(GrantedRetry { at, withdrawal })
    }
}
