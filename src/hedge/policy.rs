//! What all calls with one key share: the budget, and the latencies of recent successes.

use std::time::Duration;

use super::call_settings::HedgeCallSettings;
use super::config::{HedgeDelay, LearnedDelay};
use crate::admission::keyed::Forgettable;
use crate::algorithm::budget::NotGranted;
use crate::algorithm::hedge::Latencies;
use crate::ground::scope::Context;
use crate::ground::sync::{Mutex, lock};
use crate::ground::time::Instant;
use crate::layers::core::readiness_limit::ReadinessLimit;
use crate::layers::retry::budget::Withdrawal;
use crate::layers::retry::{Budget, HoldsBudget};
use crate::telemetry::Instruments;

/// See the module.
#[derive(Debug)]
pub(super) struct HedgePolicy {
    pub(super) budget: Budget,
    /// Whether the user gave the budget, and so manages its settings.
    given: bool,
    /// Whether a retry around this layer follows attempts that fail, and counts the attempts.
    pub(super) inside_retries: bool,
    pub(super) readiness_limit: ReadinessLimit,
    pub(super) instruments: Instruments,
    latencies: Mutex<Latencies>,
}

impl HedgePolicy {
    /// A policy with its own budget.
    pub(super) fn new(budget: Budget, readiness_limit: ReadinessLimit, instruments: Instruments, now: Instant) -> Self {
        let latencies = Mutex::new(Latencies::new(LearnedDelay::default().rules(), now));
        Self { budget, given: false, inside_retries: false, readiness_limit, instruments, latencies }
    }

    /// A policy with a budget that the user gave.
    pub(super) fn with_given_budget(
        budget: Budget,
        readiness_limit: ReadinessLimit,
        instruments: Instruments,
        now: Instant,
    ) -> Self {
        Self { given: true, ..Self::new(budget, readiness_limit, instruments, now) }
    }

    /// The same policy inside a retry.
    pub(super) fn inside_retries(self) -> Self {
        Self { inside_retries: true, ..self }
    }

    /// The policy of another key.
    pub(super) fn sibling(&self, budget: Budget, readiness_limit: ReadinessLimit, now: Instant) -> Self {
        let inside_retries = self.inside_retries;
        Self { inside_retries, ..Self::new(budget, readiness_limit, self.instruments.clone(), now) }
    }

    /// A policy with the same budget, and without latencies.
    pub(super) fn with_readiness_limit(&self, readiness_limit: ReadinessLimit, now: Instant) -> Self {
        let (budget, instruments) = (self.budget.clone(), self.instruments.clone());
        let Self { given, inside_retries, .. } = *self;
        Self { given, inside_retries, ..Self::new(budget, readiness_limit, instruments, now) }
    }

    /// The context of the attempt with this number. Where hedges are disabled, an outer layer numbers the attempts.
    #[inline]
    pub(super) fn numbered(&self, context: Context, settings: &HedgeCallSettings, attempt: u32) -> Context {
        if !settings.enabled {
            return context;
        }
        let before = if self.inside_retries { context.attempt().saturating_sub(1) } else { 0 };
        context.with_attempt(before.saturating_add(attempt)).paid_in()
    }

    /// Pays for an attempt. Inside a retry, the last token is left to it: a call that fails is worse than one that is slow.
    pub(super) fn withdraw(&self, now: Instant) -> Result<Withdrawal, NotGranted> {
        if self.inside_retries { self.budget.withdraw_spare(now) } else { self.budget.withdraw(now) }
    }

    /// How long an attempt may take before it is hedged; `None` if a slow attempt is not hedged.
    pub(super) fn delay(&self, settings: &HedgeCallSettings, now: Instant) -> Option<Duration> {
        match &settings.delay {
            _ if settings.max_attempts <= 1 => None,
            HedgeDelay::Fixed(delay) => Some(*delay),
            HedgeDelay::OnFailure => None,
            HedgeDelay::Learned(learned) => {
                let quantile = lock(&self.latencies).quantile(&learned.rules(), now)?;
                (quantile <= learned.max).then(|| quantile.max(learned.min))
            }
        }
    }

    /// Records how long a success took, or how long it would have taken at least.
    pub(super) fn succeeded(&self, took: Duration, by_hedge: bool, learned: &LearnedDelay, now: Instant) {
        lock(&self.latencies).succeeded(took, by_hedge, &learned.rules(), now);
    }

    /// Records how long a hedged call had for its first attempt, if no attempt of it was answered.
    pub(super) fn unanswered(&self, had: Duration, learned: &LearnedDelay, now: Instant) {
        lock(&self.latencies).unanswered(had, &learned.rules(), now);
    }
}

impl HoldsBudget for HedgePolicy {
    fn own_budget(&self) -> Option<&Budget> {
        (!self.given).then_some(&self.budget)
    }
}

impl Forgettable for HedgePolicy {
    fn is_as_good_as_new(&self, now: Instant) -> bool {
        self.budget.is_as_new(now) && lock(&self.latencies).is_empty(now)
    }

    fn inherit(&self, shared: &Self, now: Instant) {
        self.budget.inherit(&shared.budget, now);
    }
}
