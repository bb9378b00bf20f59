//! Decides what follows a failed attempt.

use std::time::Duration;

use super::budget::{Budget, Withdrawal};
use super::call_settings::RetryCallSettings;
use super::keyed_budgets::HoldsBudget;
use super::report::Stop;
use crate::admission::timer;
use crate::ground::time::Instant;
use crate::ground::verdict::Verdict;
use crate::layers::core::readiness_limit::ReadinessLimit;
use crate::telemetry::Instruments;

/// The state that all calls with one key share.
#[derive(Debug)]
pub(super) struct RetryPolicy {
    pub(super) budget: Budget,
    /// Whether the user gave the budget, and so manages its settings.
    given: bool,
    pub(super) readiness_limit: ReadinessLimit,
    pub(super) instruments: Instruments,
}

/// The progress of a call.
#[derive(Clone, Copy, Debug)]
pub(super) struct RetryProgress {
    /// The attempts started so far.
    pub(super) attempts: u32,
    /// When the last one started.
    pub(super) since: Instant,
    /// The backoff before the last one.
    delay: Duration,
    /// Whether an attempt was lost and repeated, here or by another layer: the next loss is not.
    pub(super) lost: bool,
}

impl RetryProgress {
    pub(super) fn new(attempts: u32, since: Instant) -> Self {
        Self { attempts, since, delay: Duration::ZERO, lost: false }
    }
}

/// An attempt that has just ended. `limit` is the end of the call.
#[derive(Clone, Copy, Debug)]
pub(super) struct EndedAttempt {
    pub(super) verdict: Verdict,
    pub(super) now: Instant,
    pub(super) limit: Instant,
}

/// A retry that may be made and is paid for.
#[derive(Debug)]
pub(super) struct GrantedRetry {
    pub(super) at: Instant,
    pub(super) withdrawal: Withdrawal,
}

impl HoldsBudget for RetryPolicy {
    fn own_budget(&self) -> Option<&Budget> {
        (!self.given).then_some(&self.budget)
    }
}

impl RetryPolicy {
    /// A policy with its own budget.
    pub(super) fn new(budget: Budget, readiness_limit: ReadinessLimit, instruments: Instruments) -> Self {
        Self { budget, given: false, readiness_limit, instruments }
    }

    /// A policy with a budget that the user gave.
    pub(super) fn with_given_budget(budget: Budget, readiness_limit: ReadinessLimit, instruments: Instruments) -> Self {
        Self { budget, given: true, readiness_limit, instruments }
    }

    /// A policy with the same budget.
    pub(super) fn with_readiness_limit(&self, readiness_limit: ReadinessLimit) -> Self {
        let (budget, instruments) = (self.budget.clone(), self.instruments.clone());
        Self { budget, given: self.given, readiness_limit, instruments }
    }

    /// A given budget is not lost when this state is forgotten: the user holds a handle of it.
    pub(super) fn is_as_new(&self, now: Instant) -> bool {
        self.given || self.budget.is_as_new(now)
    }

    /// Decides whether and when a retry follows an attempt that has ended. `retry_after` is the pause that the dependency asked for,
    /// where the verdict does not hold it. The token is withdrawn before the wait, so that a call without one ends at once.
    pub(super) fn retry(
        &self,
        settings: &RetryCallSettings,
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
            // The request may have crashed the dependency, so it is sent once more at most.
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
        // Added to the pause: all callers are told the same pause, and would otherwise retry at the same instant.
        let at = now + pause + backoff;
        // The timer may fire late by its granularity, so a wake-up at the deadline would leave no time. After a timeout, do not
        // retry with less than a tenth of the time that the last attempt had: it would time out again.
        let least_time_left =
            if verdict == Verdict::TimedOut { now.since(progress.since) / 10 } else { Duration::ZERO };
        if at + least_time_left.max(timer::GRAIN) >= limit {
            return Err(Stop::Deadline);
        }
        let withdrawal = self.budget.withdraw(now)?;
        progress.delay = backoff;
        Ok(GrantedRetry { at, withdrawal })
    }
}
