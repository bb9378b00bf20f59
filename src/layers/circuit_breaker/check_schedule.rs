//! The schedule of a breaker's periodic checks: see [`checks`](super::checks).

use std::fmt;

use crate::ground::sync::atomic::AtomicU64;

#[cfg(not(seawall_loom))]
pub(super) use self::handles::{BreakerHandles, CheckHandles};

/// See the module.
#[derive(Default)]
pub(super) struct CheckSchedule {
    /// When the next check is overdue, in nanoseconds; zero: none is scheduled.
    pub(super) expected: AtomicU64,
    #[cfg(not(seawall_loom))]
    pub(super) handles: CheckHandles,
}

impl fmt::Debug for CheckSchedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CheckSchedule").field("expected", &self.expected).finish_non_exhaustive()
    }
}

#[cfg(not(seawall_loom))]
mod handles {
    use std::sync::{Arc, OnceLock};

    use crate::admission::reaper::{Parked, WatchGuard};
    use crate::ground::sync::Mutex;
    use crate::layers::call::upload_waits::Aging;

    /// The handles that register the breaker with the reaper and with uploads.
    #[derive(Default)]
    pub(in crate::layers::circuit_breaker) struct CheckHandles {
        pub(in crate::layers::circuit_breaker) breaker_handles: OnceLock<BreakerHandles>,
        pub(in crate::layers::circuit_breaker) watch: Mutex<Option<WatchGuard>>,
    }

    /// One object behind two traits: for the reaper, and for uploads. It holds a weak reference to the breaker.
    #[derive(Clone)]
    pub(in crate::layers::circuit_breaker) struct BreakerHandles {
        pub(in crate::layers::circuit_breaker) parked: Arc<dyn Parked>,
        pub(in crate::layers::circuit_breaker) aging: Arc<dyn Aging>,
    }
}
