//! What all calls with one key share: the budget, and the latencies of recent successes.

use std::time::Duration;

use super::call_settings::HedgeCallSettings;
use super::config::{HedgeDelay, LearnedDelay};
use super::lesson::{Lesson, Observation};
use crate::admission::keyed::Forgettable;
use crate::algorithm::budget::NotGranted;
use crate::algorithm::hedge::{HedgeEnd, HedgeInFlight, HedgeTime, HedgeWins, Latencies};
use crate::ground::scope::Context;
use crate::ground::sync::{Arc, Mutex, lock};
use crate::ground::time::{self, Instant};
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
    learned: Mutex<Learned>,
}

/// What is known of the calls.
#[derive(Debug)]
struct Learned {
    latencies: Latencies,
    time: HedgeTime,
    wins: HedgeWins,
}

/// The time of one hedge, from its start until this is dropped.
#[derive(Debug)]
pub(super) struct SpentTime {
    policy: Arc<HedgePolicy>,
    hedge: HedgeInFlight,
    how: HedgeEnd,
}

impl SpentTime {
    /// How the hedge ends, if it is not dropped with its call.
    pub(super) fn ends(mut self, how: HedgeEnd) {
        self.how = how;
    }
}

impl Drop for SpentTime {
    fn drop(&mut self) {
        let now = time::now();
        let mut known = lock(&self.policy.learned);
        known.time.end(self.hedge, self.how, now);
        known.wins.ended(self.how);
    }
}

impl HedgePolicy {
    /// A policy with its own budget.
    pub(super) fn new(budget: Budget, readiness_limit: ReadinessLimit, instruments: Instruments, now: Instant) -> Self {
        let latencies = Latencies::new(LearnedDelay::default().rules(), now);
        let learned = Mutex::new(Learned { latencies, time: HedgeTime::new(now), wins: HedgeWins::new() });
        Self { budget, given: false, inside_retries: false, readiness_limit, instruments, learned }
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
                let mut known = lock(&self.learned);
                let quantile = known.latencies.quantile(&learned.rules(), now)?;
                (quantile <= learned.max).then(|| known.wins.delay(quantile.max(learned.min)))
            }
        }
    }

    /// The time of a hedge that starts now, after this delay; `None` if useless hedges have taken their share.
    pub(super) fn spend_time(policy: &Arc<Self>, delay: Duration, now: Instant) -> Option<SpentTime> {
        let hedge = lock(&policy.learned).time.start(delay, now)?;
        Some(SpentTime { policy: Arc::clone(policy), hedge, how: HedgeEnd::Unknown })
    }

    /// What is left of the time that hedges may take: less than zero is a debt.
    pub(super) fn time_left(&self, now: Instant) -> f64 {
        lock(&self.learned).time.left(now)
    }

    /// Records what an ended call teaches.
    pub(super) fn record(&self, lesson: Lesson, settings: &HedgeCallSettings, now: Instant) {
        let mut known = lock(&self.learned);
        if let Some(had) = lesson.first_had {
            known.time.earn(had, settings.time_ratio, now);
        }
        match (lesson.latency, settings.learned()) {
            (Some(Observation::Success { took, by_hedge }), Some(learned)) => {
                known.latencies.succeeded(took, by_hedge, &learned.rules(), now);
            }
            (Some(Observation::Unanswered(had)), Some(learned)) => {
                known.latencies.unanswered(had, &learned.rules(), now)
            }
            _ => {}
        }
    }
}

impl HoldsBudget for HedgePolicy {
    fn own_budget(&self) -> Option<&Budget> {
        (!self.given).then_some(&self.budget)
    }
}

impl Forgettable for HedgePolicy {
    fn is_as_good_as_new(&self, now: Instant) -> bool {
        if !self.budget.is_as_new(now) {
            return false;
        }
        let mut known = lock(&self.learned);
        known.latencies.is_empty(now) && known.time.is_as_new(now)
    }

    fn inherit(&self, shared: &Self, now: Instant) {
        self.budget.inherit(&shared.budget, now);
    }
}
