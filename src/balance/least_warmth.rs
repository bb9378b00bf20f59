//! The least warmth of the endpoints of a tier, computed again now and then while some of them warm up.

use crate::algorithm::balance::SlowStart;
use crate::ground::sync::atomic::{AtomicU64, Ordering};
use crate::ground::time::{Instant, nanos};

/// How often it is computed anew in a window of the slow start.
const STEPS: u64 = 64;

/// See the module. Two calls that find it stale both compute it, with the same result.
#[derive(Debug)]
pub(super) struct LeastWarmth {
    stale_from: AtomicU64,
    /// As the bits of an `f64`.
    factor: AtomicU64,
}

impl LeastWarmth {
    pub(super) fn new() -> Self {
        Self { stale_from: AtomicU64::new(0), factor: AtomicU64::new(0) }
    }

    /// The factor, from the weight and the warmth of each endpoint of the tier.
    pub(super) fn get(&self, slow_start: &SlowStart, now: Instant, endpoints: impl Iterator<Item = (f64, f64)>) -> f64 {
        if now.as_nanos() < self.stale_from.load(Ordering::Relaxed) {
            return f64::from_bits(self.factor.load(Ordering::Relaxed));
        }
        let factor = SlowStart::least_factor(endpoints);
        self.factor.store(factor.to_bits(), Ordering::Relaxed);
        self.stale_from.store(now.as_nanos().saturating_add(nanos(slow_start.window) / STEPS), Ordering::Relaxed);
        factor
    }
}
