use super::bucket::Bucket;
use super::config::RateLimitConfig;
use crate::admission::keyed::{KeyBy, Keyed, Keying};
use crate::ground::sync::Arc;
use crate::middleware::inner::Unready;

/// What all services of one layer value share: a bucket for each key.
#[derive(Debug)]
pub(super) struct State<K: Keying> {
    pub(super) config: RateLimitConfig,
    pub(super) unready: Unready,
    buckets: Keyed<K, Bucket>,
}

impl<K: Keying> State<K> {
    pub(super) fn new(config: RateLimitConfig, keying: K) -> Self {
        let buckets = Keyed::new(keying, config.max_keys, Bucket::new(config.quota()));
        Self { config, unready: Unready::default(), buckets }
    }

    pub(super) fn bucket<Req>(&self, request: &Req) -> Arc<Bucket>
    where
        K: KeyBy<Req>,
    {
        self.buckets.get(request, || Bucket::new(self.config.quota()))
    }

    pub(super) fn waiting(&self) -> usize {
        self.buckets.all().iter().map(|bucket| bucket.waiting()).sum()
    }
}
