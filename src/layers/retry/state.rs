use super::budget::Budget;
use super::config::RetryConfig;
use super::policy::Policy;
use super::terms::Terms;
use crate::admission::keyed::{Forgettable, KeyBy, Keyed, Keying};
use crate::admission::registry::{Condition, Observed, RetryCondition};
use crate::ground::live::{Current, Live};
use crate::ground::sync::Arc;
use crate::ground::time::{self, Instant};
use crate::ground::verdict::Verdict;
use crate::telemetry::{Instruments, NotRetried, Tally};

/// What the services of one layer value share: the settings, and a budget for each key.
#[derive(Debug)]
pub(super) struct State<K: Keying> {
    pub(super) config: Current<RetryConfig>,
    terms: Live<Terms, 7>,
    policies: Keyed<K, Policy>,
}

impl<K: Keying> State<K> {
    pub(super) fn new(config: RetryConfig, keying: K, common: Policy) -> Self {
        Self {
            terms: Live::new(&Terms::of(&config)),
            policies: Keyed::new(keying, config.max_keys, common),
            config: Current::new(config),
        }
    }

    #[inline]
    pub(super) fn terms(&self) -> Terms {
        self.terms.read()
    }

    #[inline]
    pub(super) fn policy<Req>(&self, request: &Req) -> Arc<Policy>
    where
        K: KeyBy<Req>,
    {
        let unready = || self.common().unready.sibling();
        self.policies.get(request, || Policy::new(&self.config.get(), unready(), self.instruments().clone()))
    }

    pub(super) fn common(&self) -> &Policy {
        self.policies.common()
    }

    pub(super) fn budget(&self) -> &Budget {
        &self.policies.common().budget
    }

    /// What is returned is to be done where foreign code may run.
    pub(super) fn apply(&self, config: &RetryConfig) -> impl FnOnce() + use<'_, K> {
        self.config.replace(config, |_| {
            self.terms.write(&Terms::of(config));
            let now = time::now();
            self.policies.for_each(|policy| policy.reload(&config.budget, now));
            self.policies.set_max_keys(config.max_keys);
        });
        || self.policies.shrink()
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
        let tally = self.instruments().tally();
        Condition::Retry(RetryCondition {
            enabled: self.terms().enabled(),
            max_attempts: self.terms().max_attempts(),
            budget_left: self.budget().balance(),
            retries: Tally::occurred(&tally.retried, Verdict::NAMES).collect(),
            not_retried: Tally::occurred(&tally.not_retried, NotRetried::NAMES).collect(),
        })
    }
}
