use std::sync::Arc as Shared;

use super::applied::AppliedRates;
use super::bucket::Bucket;
use super::config::RateLimitConfig;
use crate::admission::keyed::{Forgettable, KeyBy, Keyed, Keying, Survey};
use crate::admission::registry::{Condition, Observed, RateLimitCondition};
use crate::ground::settings::Settings;
use crate::ground::sync::Arc;
use crate::ground::time::{self, Instant};
use crate::layers::core::readiness_limit::ReadinessLimit;
use crate::layers::core::{AfterReload, LayerParts, LayerState};
use crate::telemetry::Instruments;

/// The state that all services of one layer value share: a bucket for each key.
#[derive(Debug)]
pub(crate) struct RateLimitState<K: Keying> {
    pub(super) config: Shared<Settings<RateLimitConfig>>,
    pub(super) readiness_limit: ReadinessLimit,
    pub(super) instruments: Instruments,
    /// The settings derived from the config, for all buckets and calls.
    pub(super) applied: Arc<Settings<AppliedRates>>,
    buckets: Keyed<K, Bucket>,
    waiting: Survey<u64>,
}

impl<K: Keying> RateLimitState<K> {
    pub(super) fn new(parts: LayerParts<RateLimitConfig>, keying: K) -> Self {
        let LayerParts { settings: config, readiness_limit, instruments } = parts;
        let applied = Arc::new(Settings::new(config.read(AppliedRates::first)));
        let common = Bucket::new(Arc::clone(&applied), instruments.clone());
        let buckets = Keyed::new(keying, config.read(|config| config.max_keys), common);
        Self { buckets, applied, instruments, waiting: Survey::default(), readiness_limit, config }
    }

    pub(super) fn bucket<Req>(&self, request: &Req) -> Arc<Bucket>
    where
        K: KeyBy<Req>,
    {
        self.buckets.get(request, || Bucket::new(Arc::clone(&self.applied), self.instruments.clone()))
    }

    pub(super) fn waiting(&self) -> usize {
        let mut waiting = 0;
        self.buckets.for_each(|bucket| waiting += bucket.waiting() as usize);
        waiting
    }

    /// A state with another keying.
    pub(super) fn with_keying<L: Keying>(&self, parts: LayerParts<RateLimitConfig>, keying: L) -> RateLimitState<L> {
        RateLimitState::new(parts, keying)
    }
}

impl<K: Keying> LayerState<RateLimitConfig> for RateLimitState<K> {
    fn apply_reload(&self, config: &RateLimitConfig, _before: &RateLimitConfig) -> AfterReload<'_> {
        let now = time::now();
        let take_over = |applied: &AppliedRates| self.buckets.for_each(|bucket| bucket.take_over(&applied.rates, now));
        let next = |present: &AppliedRates| {
            take_over(present);
            present.then(config)
        };
        self.applied.update(next, |_| take_over(&self.applied.get()));
        self.buckets.set_max_keys(config.max_keys);
        Box::new(|| {
            // A bucket that is made meanwhile has the new rate, and no call that waits for the old one.
            self.buckets.for_each(Bucket::wake_head);
            self.buckets.shrink();
        })
    }
}

impl Forgettable for Bucket {
    fn is_as_good_as_new(&self, now: Instant) -> bool {
        self.is_full(now)
    }

    fn inherit(&self, shared: &Self, now: Instant) {
        Bucket::inherit(self, shared, now);
    }
}

impl<K: Keying> Observed for RateLimitState<K> {
    fn instruments(&self) -> &Instruments {
        &self.instruments
    }

    fn keys(&self) -> usize {
        self.buckets.len()
    }

    fn condition(&self, _now: Instant) -> Condition {
        let config = self.config.get();
        Condition::RateLimit(RateLimitCondition {
            per_second: f64::from(config.permits) / config.per.as_secs_f64(),
            burst: config.burst.unwrap_or(config.permits),
            waiting: self.waiting.read(&self.buckets, |waiting, bucket| *waiting += u64::from(bucket.waiting())),
            passed: self.instruments.tally().passed.get(),
        })
    }
}
