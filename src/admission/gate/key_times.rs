//! How long the calls of each key hold their permits, so that keys share the queue by time.

use std::time::Duration;

use super::permit_request::PermitRequest;
use super::state::Gate;
use crate::algorithm::estimate::Took;
use crate::ground::scope::ShareKey;
use crate::ground::sync::lock;
use crate::ground::time::Instant;

impl Gate {
    /// The request, with the times that are known of its key. `mean` is the time of all calls.
    #[inline]
    pub(super) fn with_key_time(&self, wanted: PermitRequest, mean: Duration) -> PermitRequest {
        let Some(key) = wanted.share_key else { return wanted };
        PermitRequest { key_time: lock(&self.key_times).get(key, mean), ..wanted }
    }

    /// A call of this key has ended.
    pub(super) fn record_key_time(&self, key: ShareKey, now: Instant, took: Took, has_succeeded: bool) {
        let usual = self.service.read(now).mean;
        lock(&self.key_times).record(key, took, has_succeeded, usual);
    }
}
