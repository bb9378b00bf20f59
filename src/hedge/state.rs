use std::sync::Arc as Shared;
use std::time::Duration;

use super::call_settings::HedgeCallSettings;
use super::config::HedgeConfig;
use super::policy::HedgePolicy;
use crate::admission::keyed::{KeyBy, Keying, OneKey};
use crate::admission::registry::{Condition, HedgeCondition, Observed};
use crate::ground::settings::Settings;
use crate::ground::sync::Arc;
use crate::ground::time::{self, Instant};
use crate::ground::verdict::Verdict;
use crate::layers::core::{AfterReload, LayerParts, LayerState};
use crate::layers::retry::{Budget, KeyedBudgets};
use crate::telemetry::{self, Instruments, NotRetried, Tally};

/// The state that the services of one layer value share: the settings, and a budget and latencies for each key.
#[derive(Debug)]
pub(crate) struct HedgeState<K: Keying> {
    pub(super) settings: Shared<Settings<HedgeConfig>>,
    policies: KeyedBudgets<K, HedgePolicy>,
}

impl<K: Keying> HedgeState<K> {
    fn with(settings: Shared<Settings<HedgeConfig>>, keying: K, common: HedgePolicy) -> Self {
        let policies = settings.read(|config| KeyedBudgets::new(&config.budget, config.max_keys, keying, common));
        Self { policies, settings }
    }

    #[inline]
    pub(super) fn policy<Req>(&self, request: &Req, now: Instant) -> Arc<HedgePolicy>
    where
        K: KeyBy<Req>,
    {
        let readiness_limit = || self.common().readiness_limit.sibling();
        self.policies.get(request, |budget| self.common().sibling(budget, readiness_limit(), now))
    }

    pub(super) fn common(&self) -> &HedgePolicy {
        self.policies.common()
    }

    pub(super) fn budget(&self) -> &Budget {
        &self.common().budget
    }

    /// See [`HedgeLayer::delay`](super::HedgeLayer::delay).
    pub(super) fn delay(&self, now: Instant) -> Option<Duration> {
        self.common().delay(&self.settings.read(HedgeCallSettings::of), now)
    }

    /// A state with another keying, and the same common budget.
    pub(super) fn with_keying<L: Keying>(&self, parts: LayerParts<HedgeConfig>, keying: L) -> HedgeState<L> {
        let common = self.common().with_readiness_limit(parts.readiness_limit, time::now());
        HedgeState::with(parts.settings, keying, common)
    }
}

impl HedgeState<OneKey> {
    pub(super) fn new(parts: LayerParts<HedgeConfig>) -> Self {
        let LayerParts { settings, readiness_limit, instruments } = parts;
        let budget = Budget::valid(&settings.get().budget);
        let common = HedgePolicy::new(budget, readiness_limit, instruments, time::now());
        Self::with(settings, OneKey, common)
    }

    /// A state whose budget the user gave.
    pub(super) fn with_budget(parts: LayerParts<HedgeConfig>, budget: Budget) -> Self {
        let LayerParts { settings, readiness_limit, instruments } = parts;
        let common = HedgePolicy::with_given_budget(budget, readiness_limit, instruments, time::now());
        Self::with(settings, OneKey, common)
    }

    /// A state inside a retry with this budget.
    pub(super) fn inside_retries(parts: LayerParts<HedgeConfig>, budget: Budget) -> Self {
        let LayerParts { settings, readiness_limit, instruments } = parts;
        let common = HedgePolicy::with_given_budget(budget, readiness_limit, instruments, time::now());
        Self::with(settings, OneKey, common.inside_retries())
    }
}

impl<K: Keying> LayerState<HedgeConfig> for HedgeState<K> {
    fn apply_reload(&self, config: &HedgeConfig, _before: &HedgeConfig) -> AfterReload<'_> {
        self.policies.reload(&config.budget, config.max_keys)
    }
}

impl<K: Keying> Observed for HedgeState<K> {
    fn instruments(&self) -> &Instruments {
        &self.common().instruments
    }

    fn keys(&self) -> usize {
        self.policies.keys()
    }

    fn condition(&self, now: Instant) -> Condition {
        let (tally, settings) = (self.instruments().tally(), self.settings.read(HedgeCallSettings::of));
        let slow = (telemetry::SLOW, tally.hedged.get());
        let failed = Tally::occurred(&tally.retried, Verdict::NAMES);
        Condition::Hedge(HedgeCondition {
            enabled: settings.enabled,
            max_attempts: settings.max_attempts,
            delay: self.delay(now),
            budget_left: self.budget().balance(),
            granted_share: self.budget().granted_share(),
            time_left: self.common().time_left(now),
            hedges: failed.chain((slow.1 > 0).then_some(slow)).collect(),
            not_hedged: Tally::occurred(&tally.not_retried, NotRetried::NAMES).collect(),
            won: tally.hedges_won.get(),
        })
    }
}
