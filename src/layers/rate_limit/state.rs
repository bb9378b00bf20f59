use std::time::Duration;

use super::bucket::Bucket;
use super::config::RateLimitConfig;
use crate::admission::keyed::{Forgettable, KeyBy, Keyed, Keying, Survey};
use crate::admission::registry::{Condition, Observed, RateLimitCondition};
use crate::ground::live::{Current, Live, Settings, pack_pair, unpack_pair};
use crate::ground::sync::Arc;
use crate::ground::time::{self, Instant};
use crate::layers::call::unready::Unready;
use crate::telemetry::Instruments;

/// What all services of one layer value share: a bucket for each key.
#[derive(Debug)]
pub(super) struct State<K: Keying> {
    pub(super) config: Current<RateLimitConfig>,
    pub(super) unready: Unready,
    pub(super) instruments: Instruments,
    terms: Live<Terms, 4>,
    buckets: Keyed<K, Bucket>,
    waiting: Survey<u64>,
}

/// How calls may wait, how long they may take, and the rate as refusals show it; see [`RateLimitConfig`].
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Terms {
    pub(super) max_wait: Duration,
    pub(super) max_waiting: u32,
    pub(super) permits: u32,
    pub(super) per: Duration,
    pub(super) max_hold: Duration,
}

impl Terms {
    pub(super) fn of(config: &RateLimitConfig) -> Self {
        let RateLimitConfig { permits, per, max_wait, max_waiting, max_hold, .. } = *config;
        Self { max_wait, max_waiting, permits, per, max_hold }
    }
}

impl Settings<4> for Terms {
    fn pack(&self) -> [u64; 4] {
        let [max_wait, per, max_hold] = [self.max_wait, self.per, self.max_hold].map(time::nanos);
        [max_wait, pack_pair(self.max_waiting, self.permits), per, max_hold]
    }

    #[inline]
    fn unpack([max_wait, counts, per, max_hold]: [u64; 4]) -> Self {
        let (max_waiting, permits) = unpack_pair(counts);
        let [max_wait, per, max_hold] = [max_wait, per, max_hold].map(Duration::from_nanos);
        Self { max_wait, max_waiting, permits, per, max_hold }
    }
}

impl<K: Keying> State<K> {
    pub(super) fn new(config: RateLimitConfig, keying: K, instruments: Instruments) -> Self {
        Self {
            buckets: Keyed::new(keying, config.max_keys, Bucket::new(config.rate(), instruments.clone())),
            instruments,
            waiting: Survey::default(),
            unready: Unready::default(),
            terms: Live::new(&Terms::of(&config)),
            config: Current::new(config),
        }
    }

    #[inline]
    pub(super) fn terms(&self) -> Terms {
        self.terms.read()
    }

    pub(super) fn bucket<Req>(&self, request: &Req) -> Arc<Bucket>
    where
        K: KeyBy<Req>,
    {
        self.buckets.get(request, || Bucket::new(self.config.get().rate(), self.instruments.clone()))
    }

    pub(super) fn waiting(&self) -> usize {
        let mut waiting = 0;
        self.buckets.for_each(|bucket| waiting += bucket.waiting() as usize);
        waiting
    }

    /// What is returned is to be done where foreign code may run.
    pub(super) fn apply(&self, config: &RateLimitConfig) -> impl FnOnce() + use<'_, K> {
        self.config.replace(config, |_| {
            self.terms.write(&Terms::of(config));
            let now = time::now();
            self.buckets.for_each(|bucket| bucket.set_rate(config.rate(), now));
            self.buckets.set_max_keys(config.max_keys);
        });
        || {
            // A bucket that is made meanwhile has the new rate, and no call that waits for another one.
            self.buckets.for_each(Bucket::ring);
            self.buckets.shrink();
        }
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

impl<K: Keying> Observed for State<K> {
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
            waiting: self.waiting.look(&self.buckets, |waiting, bucket| *waiting += u64::from(bucket.waiting())),
            passed: self.instruments.tally().passed.get(),
        })
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn terms_come_back_as_they_were_packed(max_wait: u64, max_waiting: u32, permits: u32, per: u64, max_hold: u64) {
            let [max_wait, per, max_hold] = [max_wait, per, max_hold].map(Duration::from_nanos);
            let terms = Terms { max_wait, max_waiting, permits, per, max_hold };
            prop_assert_eq!(Terms::unpack(terms.pack()), terms);
        }
    }
}
