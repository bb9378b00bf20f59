use std::sync::Arc as Shared;

use super::budget::{self, Budget};
use super::call_settings::CallSettings;
use super::config::RetryConfig;
use super::policy::Policy;
use crate::admission::keyed::{Forgettable, KeyBy, Keyed, Keying, OneKey};
use crate::admission::registry::{Condition, Observed, RetryCondition};
use crate::algorithm::budget::Rules;
use crate::ground::settings::Settings;
use crate::ground::sync::Arc;
use crate::ground::time::{self, Instant};
use crate::ground::verdict::Verdict;
use crate::layers::core::readiness_limit::ReadinessLimit;
use crate::layers::core::{AfterReload, LayerState};
use crate::telemetry::{Instruments, NotRetried, Tally};

/// The state that the services of one layer value share: the settings, and a budget for each key.
#[derive(Debug)]
pub(crate) struct State<K: Keying> {
    pub(super) settings: Settings<RetryConfig>,
    /// The rules of all budgets, except of one that was given.
    rules: Arc<Settings<Rules>>,
    policies: Keyed<K, Policy>,
}

impl<K: Keying> State<K> {
    fn new(config: RetryConfig, keying: K, common: Policy) -> Self {
        let rules = match common.own_budget() {
            Some(budget) => Arc::clone(budget.rules()),
            None => Arc::clone(Budget::valid(&config.budget).rules()),
        };
        Self { rules, policies: Keyed::new(keying, config.max_keys, common), settings: Settings::new(config) }
    }

    #[inline]
    pub(super) fn policy<Req>(&self, request: &Req) -> Arc<Policy>
    where
        K: KeyBy<Req>,
    {
        let budget = || Budget::by(Arc::clone(&self.rules));
        let readiness_limit = || self.common().readiness_limit.sibling();
        self.policies.get(request, || Policy::new(budget(), readiness_limit(), self.instruments().clone()))
    }

    pub(super) fn common(&self) -> &Policy {
        self.policies.common()
    }

    pub(super) fn budget(&self) -> &Budget {
        &self.policies.common().budget
    }

    /// A state with another keying, and the same config, name and common budget.
    pub(super) fn with_keying<L: Keying>(&self, keying: L) -> State<L> {
        State::new(self.settings.get(), keying, self.common().renewed())
    }
}

impl State<OneKey> {
    pub(super) fn with_own_budget(config: RetryConfig, instruments: Instruments) -> Self {
        let common = Policy::new(Budget::valid(&config.budget), ReadinessLimit::default(), instruments);
        Self::new(config, OneKey, common)
    }

    /// A state with the same config and name, whose budget the user gave.
    pub(super) fn with_budget(&self, budget: Budget) -> Self {
        Self::new(self.settings.get(), OneKey, Policy::with_given_budget(budget, self.instruments().clone()))
    }
}

impl<K: Keying> LayerState for State<K> {
    type Config = RetryConfig;

    fn observed(self: Shared<Self>) -> Shared<dyn Observed> {
        self
    }

    fn settings(&self) -> &Settings<RetryConfig> {
        &self.settings
    }

    fn readiness_limit(&self) -> &ReadinessLimit {
        &self.common().readiness_limit
    }

    fn carry_out(&self, config: &RetryConfig, _before: &RetryConfig) -> AfterReload<'_> {
        budget::reload(&self.rules, &config.budget, time::now(), |take_over| {
            self.policies.for_each(|policy| {
                if let Some(budget) = policy.own_budget() {
                    take_over(budget);
                }
            });
        });
        self.policies.set_max_keys(config.max_keys);
        Box::new(|| self.policies.shrink())
    }
}

impl Forgettable for Policy {
    fn is_as_good_as_new(&self, now: Instant) -> bool {
        self.is_as_new(now)
    }

    fn inherit(&self, shared: &Self, now: Instant) {
        self.budget.inherit(&shared.budget, now);
    }
}

impl<K: Keying> Observed for State<K> {
    fn instruments(&self) -> &Instruments {
        &self.common().instruments
    }

    fn keys(&self) -> usize {
        self.policies.len()
    }

    fn condition(&self, _now: Instant) -> Condition {
        let (tally, settings) = (self.instruments().tally(), self.settings.read(CallSettings::of));
        Condition::Retry(RetryCondition {
            enabled: settings.enabled,
            max_attempts: settings.max_attempts,
            budget_left: self.budget().balance(),
            retries: Tally::occurred(&tally.retried, Verdict::NAMES).collect(),
            not_retried: Tally::occurred(&tally.not_retried, NotRetried::NAMES).collect(),
        })
    }
}
