//! What a breaker keeps of the visits that it is looked at by: see [`visits`](super::visits).

use std::fmt;

use crate::ground::sync::atomic::AtomicU64;

#[cfg(not(seawall_loom))]
pub(super) use self::eye::{Eye, Visited};

/// See the module.
#[derive(Default)]
pub(super) struct Lookout {
    /// By when the next look will have been, in nanoseconds; zero: none is expected.
    pub(super) expected: AtomicU64,
    #[cfg(not(seawall_loom))]
    pub(super) eye: Eye,
}

impl fmt::Debug for Lookout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lookout").field("expected", &self.expected).finish_non_exhaustive()
    }
}

#[cfg(not(seawall_loom))]
mod eye {
    use std::sync::{Arc, OnceLock};

    use crate::admission::reaper::{Parked, Place};
    use crate::ground::sync::Mutex;
    use crate::layers::call::sending::Aging;

    /// What the reaper has in its schedule.
    #[derive(Default)]
    pub(in crate::layers::circuit_breaker) struct Eye {
        pub(in crate::layers::circuit_breaker) visited: OnceLock<Visited>,
        pub(in crate::layers::circuit_breaker) place: Mutex<Option<Place>>,
    }

    /// One thing, as the reaper and as uploads know it. It leads back to the breaker.
    #[derive(Clone)]
    pub(in crate::layers::circuit_breaker) struct Visited {
        pub(in crate::layers::circuit_breaker) parked: Arc<dyn Parked>,
        pub(in crate::layers::circuit_breaker) aging: Arc<dyn Aging>,
    }
}
