use std::sync::Arc as Shared;

use super::budget::Budget;
use super::call_settings::RetryCallSettings;
use super::config::RetryConfig;
use super::keyed_budgets::KeyedBudgets;
use super::policy::RetryPolicy;
use crate::admission::keyed::{Forgettable, KeyBy, Keying, OneKey};
use crate::admission::registry::{Condition, Observed, RetryCondition};
use crate::ground::settings::Settings;
use crate::ground::sync::Arc;
use crate::ground::time::Instant;
use crate::ground::verdict::Verdict;
use crate::layers::core::{AfterReload, LayerParts, LayerState};
use crate::telemetry::{Instruments, NotRetried, Tally};

/// The state that the services of one layer value share: the settings, and a budget for each key.
#[derive(Debug)]
pub(crate) struct RetryState<K: Keying> {
    pub(super) settings: Shared<Settings<RetryConfig>>,
    policies: KeyedBudgets<K, RetryPolicy>,
}

impl<K: Keying> RetryState<K> {
    fn with(settings: Shared<Settings<RetryConfig>>, keying: K, common: RetryPolicy) -> Self {
        let policies = settings.read(|config| KeyedBudgets::new(&config.budget, config.max_keys, keying, common));
        Self { policies, settings }
    }

    #[inline]
    pub(super) fn policy<Req>(&self, request: &Req) -> Arc<RetryPolicy>
    where
        K: KeyBy<Req>,
    {
        let readiness_limit = || self.common().readiness_limit.sibling();
        self.policies.get(request, |budget| RetryPolicy::new(budget, readiness_limit(), self.instruments().clone()))
    }

    pub(super) fn common(&self) -> &RetryPolicy {
        self.policies.common()
    }

    pub(super) fn budget(&self) -> &Budget {
        &self.policies.common().budget
    }

    /// A state with another keying, and the same common budget.
    pub(super) fn with_keying<L: Keying>(&self, parts: LayerParts<RetryConfig>, keying: L) -> RetryState<L> {
        RetryState::with(parts.settings, keying, self.common().with_readiness_limit(parts.readiness_limit))
    }
}

impl RetryState<OneKey> {
    pub(super) fn new(parts: LayerParts<RetryConfig>) -> Self {
        let LayerParts { settings, readiness_limit, instruments } = parts;
        let common = RetryPolicy::new(Budget::valid(&settings.get().budget), readiness_limit, instruments);
        Self::with(settings, OneKey, common)
    }

    /// A state whose budget the user gave.
    pub(super) fn with_budget(parts: LayerParts<RetryConfig>, budget: Budget) -> Self {
        let LayerParts { settings, readiness_limit, instruments } = parts;
        Self::with(settings, OneKey, RetryPolicy::with_given_budget(budget, readiness_limit, instruments))
    }
}

impl<K: Keying> LayerState<RetryConfig> for RetryState<K> {
    fn apply_reload(&self, config: &RetryConfig, _before: &RetryConfig) -> AfterReload<'_> {
        self.policies.reload(&config.budget, config.max_keys)
    }
}

impl Forgettable for RetryPolicy {
    fn is_as_good_as_new(&self, now: Instant) -> bool {
        self.is_as_new(now)
    }

    fn inherit(&self, shared: &Self, now: Instant) {
        self.budget.inherit(&shared.budget, now);
    }
}

impl<K: Keying> Observed for RetryState<K> {
    fn instruments(&self) -> &Instruments {
        &self.common().instruments
    }

    fn keys(&self) -> usize {
        self.policies.keys()
    }

    fn condition(&self, _now: Instant) -> Condition {
        let (tally, settings) = (self.instruments().tally(), self.settings.read(RetryCallSettings::of));
        Condition::Retry(RetryCondition {
            enabled: settings.enabled,
            max_attempts: settings.max_attempts,
            budget_left: self.budget().balance(),
            granted_share: self.budget().granted_share(),
            retries: Tally::occurred(&tally.retried, Verdict::NAMES).collect(),
            not_retried: Tally::occurred(&tally.not_retried, NotRetried::NAMES).collect(),
        })
    }
}
