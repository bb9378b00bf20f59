//! Decides what follows a failed attempt.

use std::time::Duration;

use super::budget::{Budget, Withdrawal};
use super::call_settings::RetryCallSettings;
use super::keyed_budgets::HoldsBudget;
use super::report::Stop;
use crate::admission::timer;
use crate::algorithm::backoff::{RefusalBounds, UsualTime};
use crate::ground::sync::atomic::{AtomicU64, Ordering};
use crate::ground::time::Instant;
use crate::ground::verdict::Verdict;
use crate::layers::core::readiness_limit::ReadinessLimit;
use crate::telemetry::Instruments;

/// The state that all calls with one key share.
#[derive(Debug)]
pub(super) struct RetryPolicy {
    pub(super) budget: Budget,
    /// How long a success usually takes, in nanoseconds. If two calls update it at once, one of the times is lost, which does not matter.
    usual_time: AtomicU64,
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
    /// Whether the current attempt has waited within this process, which is no time of the dependency.
    pub(super) waited: bool,
}

impl RetryProgress {
    pub(super) fn new(attempts: u32, since: Instant) -> Self {
        Self { attempts, since, delay: Duration::ZERO, lost: false, waited: false }
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
        Self { budget, usual_time: AtomicU64::new(0), given: false, readiness_limit, instruments }
    }

    /// A policy with a budget that the user gave.
    pub(super) fn with_given_budget(budget: Budget, readiness_limit: ReadinessLimit, instruments: Instruments) -> Self {
        Self { given: true, ..Self::new(budget, readiness_limit, instruments) }
    }

    /// A policy with the same budget.
    pub(super) fn with_readiness_limit(&self, readiness_limit: ReadinessLimit) -> Self {
        let (budget, instruments) = (self.budget.clone(), self.instruments.clone());
        Self { given: self.given, ..Self::new(budget, readiness_limit, instruments) }
    }

    /// A given budget is not lost when this state is forgotten: the user holds a handle of it. The usual time is, and the next success
    /// tells it again.
    pub(super) fn is_as_new(&self, now: Instant) -> bool {
        self.given || self.budget.is_as_new(now)
    }

    /// An attempt that took this long has succeeded.
    #[inline]
    pub(super) fn succeeded(&self, took: Duration) {
        let before = self.usual_time();
        let after = before.after(took);
        if after != before {
            self.usual_time.store(after.nanos(), Ordering::Relaxed);
        }
    }

    fn usual_time(&self) -> UsualTime {
        UsualTime::from_nanos(self.usual_time.load(Ordering::Relaxed))
    }

    /// What the wait is measured by, if the dependency may be full. Other attempts were not sent, were lost with their endpoint, or timed
    /// out: to wait for a slot would not help them.
    fn refusal(&self, progress: &RetryProgress, ended: EndedAttempt) -> Option<RefusalBounds> {
        let EndedAttempt { verdict, now, limit } = ended;
        if !matches!(verdict, Verdict::Transient | Verdict::Overloaded { .. }) {
            return None;
        }
        let usual = self.usual_time().get()?;
        let rest = usual.saturating_sub(now.since(progress.since));
        let room = limit.since(now).saturating_sub(usual).saturating_sub(2 * timer::GRAIN);
        Some(RefusalBounds { rest, room })
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
        let asked = match verdict {
            Verdict::Overloaded { retry_after: Some(wait) } => Some(wait),
            _ => retry_after(),
        };
        // The dependency knows better than what is measured here.
        let refusal = if asked.is_none() { self.refusal(progress, ended) } else { None };
        let pause = asked.unwrap_or_default();
        if pause > settings.max_retry_after() {
            return Err(Stop::RetryAfter);
        }
        let (retry, previous, backoff) = (progress.attempts, progress.delay, settings.backoff());
        let backoff = match refusal {
            Some(bounds) => backoff.delay_after_refusal(retry, previous, bounds, chance()),
            None => backoff.delay(retry, previous, chance()),
        };
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
