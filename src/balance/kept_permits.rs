//! The permits of an endpoint that are in use although their calls have ended: see [`early_end`](super::early_end).

use crate::algorithm::balance::EndpointLoad;
use crate::ground::sync::{Mutex, lock};
use crate::ground::time::Instant;

/// Until when each of them is kept, in any order. There are no more than permits.
#[derive(Debug, Default)]
pub(super) struct KeptPermits(Mutex<Vec<Instant>>);

impl KeptPermits {
    /// The permit of a call that has ended stays in use.
    pub(super) fn keep(&self, load: &EndpointLoad, until: Instant) {
        let mut kept = lock(&self.0);
        load.keep();
        kept.push(until);
    }

    /// Releases those that are due. Returns whether there were any.
    #[cold]
    pub(super) fn release(&self, load: &EndpointLoad, now: Instant) -> bool {
        let mut kept = lock(&self.0);
        let before = kept.len();
        kept.retain(|until| *until > now);
        // Under the lock, so that there are never more kept than counted.
        (kept.len()..before).for_each(|_| load.end_kept());
        kept.len() < before
    }
}
