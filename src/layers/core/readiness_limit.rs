//! How many calls of a layer may wait for inner services that are not ready.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::ground::error::Numbers;

/// Waiting costs memory, and a service that keeps a thousand waiting is not short of callers.
pub(crate) const DEFAULT_MAX_UNREADY: u32 = 1024;

/// The calls that wait for inner services that are not ready, and how many may.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReadinessLimit(Arc<UnreadyCount>);

#[derive(Debug, Default)]
struct UnreadyCount {
    waiting: AtomicU32,
    max: Arc<Max>,
}

#[derive(Debug)]
struct Max(AtomicU32);

impl Default for Max {
    fn default() -> Self {
        Self(AtomicU32::new(DEFAULT_MAX_UNREADY))
    }
}

/// One of the calls that wait. Dropping it releases the slot.
#[derive(Debug)]
pub(crate) struct ReadinessSlot(ReadinessLimit);

impl ReadinessLimit {
    /// A count of its own, with the same limit now and later.
    pub(crate) fn sibling(&self) -> Self {
        Self(Arc::new(UnreadyCount { waiting: AtomicU32::new(0), max: Arc::clone(&self.0.max) }))
    }

    /// Holds for the calls that come. Those that wait go on.
    pub(crate) fn set_max(&self, max: u32) {
        self.0.max.0.store(max, Ordering::Relaxed);
    }

    fn max(&self) -> u32 {
        self.0.max.0.load(Ordering::Relaxed)
    }

    /// A slot among them, or the numbers of the refusal if too many wait.
    pub(crate) fn try_acquire(&self) -> Result<ReadinessSlot, Numbers> {
        let max = self.max();
        let more = |waiting| (waiting < max).then(|| waiting + 1);
        match self.0.waiting.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) {
            Ok(_) => Ok(ReadinessSlot(self.clone())),
            Err(waiting) => Err(Numbers::NONE.with_waiting(waiting).with_limit(max)),
        }
    }
}

impl Drop for ReadinessSlot {
    fn drop(&mut self) {
        self.0.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}
