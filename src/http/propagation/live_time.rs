use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::ground::time;

/// A duration that all services of one layer value read, and that a reload may change. It is one atomic word, so
/// readers never see a mix.
#[derive(Clone, Debug)]
pub(super) struct LiveTime(Arc<AtomicU64>);

impl LiveTime {
    pub(super) fn new(time: Duration) -> Self {
        Self(Arc::new(AtomicU64::new(time::nanos(time))))
    }

    #[inline]
    pub(super) fn get(&self) -> Duration {
        Duration::from_nanos(self.0.load(Ordering::Relaxed))
    }

    pub(super) fn set(&self, time: Duration) {
        self.0.store(time::nanos(time), Ordering::Relaxed);
    }
}
