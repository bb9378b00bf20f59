use std::sync::Arc as Shared;

use super::config::ThrottleConfig;
use super::counted_calls::CountedCalls;
use super::settings::ThrottleSettings;
use crate::admission::keyed::{Forgettable, KeyBy, Keyed, Keying, Survey};
use crate::admission::registry::{Condition, Observed, ThrottleCondition};
use crate::algorithm::throttle::{LocalRefusal, ThrottleCounts};
use crate::ground::error::{Numbers, Reason};
use crate::ground::settings::{Cached, Settings};
use crate::ground::sync::Arc;
use crate::ground::time::Instant;
use crate::layers::core::readiness_limit::ReadinessLimit;
use crate::layers::core::{AfterReload, LayerParts, LayerState};
use crate::telemetry::{Instruments, Unreported};

/// The state that all services of one layer value share: the counts of each key.
#[derive(Debug)]
pub(crate) struct ThrottleState<K: Keying> {
    config: Shared<Settings<ThrottleConfig>>,
    pub(super) readiness_limit: ReadinessLimit,
    pub(super) instruments: Instruments,
    keyed: Keyed<K, CountedCalls>,
    summary: Survey<ThrottleCounts>,
}

impl<K: Keying> ThrottleState<K> {
    pub(super) fn new(parts: LayerParts<ThrottleConfig>, keying: K) -> Self {
        let LayerParts { settings: config, readiness_limit, instruments } = parts;
        let (window, max_keys) = config.read(|config| (config.window, config.max_keys));
        let keyed = Keyed::new(keying, max_keys, CountedCalls::new(window));
        Self { config, readiness_limit, instruments, keyed, summary: Survey::default() }
    }

    pub(super) fn with_keying<L: Keying>(&self, parts: LayerParts<ThrottleConfig>, keying: L) -> ThrottleState<L> {
        ThrottleState::new(parts, keying)
    }

    pub(super) fn cached_settings(&self) -> Cached<ThrottleSettings> {
        self.config.cached(ThrottleConfig::settings)
    }

    #[inline]
    pub(super) fn settings(&self, cached: &mut Cached<ThrottleSettings>) -> ThrottleSettings {
        *self.config.refresh(cached, ThrottleConfig::settings)
    }

    pub(super) fn counted_calls<Req>(&self, request: &Req) -> Arc<CountedCalls>
    where
        K: KeyBy<Req>,
    {
        self.keyed.get(request, || CountedCalls::new(self.config.read(|config| config.window)))
    }

    pub(super) fn refusal(&self, refusal: LocalRefusal) -> Unreported {
        let LocalRefusal { counts: ThrottleCounts { requests, accepts, share }, retry_after } = refusal;
        let numbers = Numbers::of_throttle(requests, accepts, share);
        self.instruments.refuse(Reason::Throttled).with_retry_after(retry_after).with_numbers(numbers)
    }

    /// The calls of all keys, and the highest share.
    pub(super) fn counts(&self, now: Instant) -> ThrottleCounts {
        let policy = self.config.read(ThrottleConfig::settings).policy;
        self.summary.read(&self.keyed, |sum, counted| {
            let counts = counted.counts(&policy, now);
            sum.requests = sum.requests.saturating_add(counts.requests);
            sum.accepts = sum.accepts.saturating_add(counts.accepts);
            sum.share = sum.share.max(counts.share);
        })
    }
}

impl<K: Keying> LayerState<ThrottleConfig> for ThrottleState<K> {
    /// Calls and counts read the settings. Only the number of keys has to be set.
    fn apply_reload(&self, config: &ThrottleConfig, _before: &ThrottleConfig) -> AfterReload<'_> {
        self.keyed.set_max_keys(config.max_keys);
        Box::new(|| self.keyed.shrink())
    }
}

impl Forgettable for CountedCalls {
    fn is_as_good_as_new(&self, now: Instant) -> bool {
        self.is_as_new(now)
    }

    fn inherit(&self, shared: &Self, _now: Instant) {
        CountedCalls::inherit(self, shared);
    }
}

impl<K: Keying> Observed for ThrottleState<K> {
    fn instruments(&self) -> &Instruments {
        &self.instruments
    }

    fn keys(&self) -> usize {
        self.keyed.len()
    }

    fn condition(&self, now: Instant) -> Condition {
        let enabled = self.config.read(|config| config.enabled);
        let counts = if enabled { self.counts(now) } else { ThrottleCounts::default() };
        Condition::Throttle(ThrottleCondition {
            enabled,
            requests: counts.requests,
            accepted: counts.accepts,
            share: counts.share,
        })
    }
}
