//! How long the calls of each key hold their permits, so that keys share the queue by time.

use super::permit_request::PermitRequest;
use super::state::Gate;
use crate::algorithm::estimate::Took;
use crate::ground::scope::ShareKey;
use crate::ground::sync::lock;
use crate::ground::time::Instant;

impl Gate {
    /// The request, with the times that are known of its key.
    #[inline]
    pub(super) fn with_key_time(&self, wanted: PermitRequest, now: Instant) -> PermitRequest {
        let Some(key) = wanted.share_key else { return wanted };
        let usual = self.service.read(now).mean;
        PermitRequest { key_time: lock(&self.key_times).get(key, usual), ..wanted }
    }

    /// A call of this key has ended.
    pub(super) fn record_key_time(&self, key: ShareKey, now: Instant, took: Took, has_succeeded: bool) {
        let usual = self.service.read(now).mean;
        lock(&self.key_times).record(key, took, has_succeeded, usual);
    }
}
