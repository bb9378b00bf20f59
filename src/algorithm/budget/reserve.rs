//! A few tokens that return with time instead of calls: a token bucket.
//!
//! The algorithm is GCRA: the state is the instant at which the bucket will be full again, so idle time costs nothing and needs no
//! refill task. *Held* tokens are withdrawn and neither spent nor refunded yet. A held token stays in the bucket until it is spent,
//! so that it does not grow back meanwhile. A refund is then as if it had never been withdrawn, and burst and rate are never
//! exceeded.
//!
//! Rate and burst may change. The number of tokens is kept, so that no change fills the reserve.

use crate::algorithm::gcra::Rate;
use crate::ground::time::Instant;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reserve {
    /// In nanoseconds.
    rate: Rate,
    /// The nanosecond at which the bucket will be full.
    full_at: u64,
    held: u32,
}

/// A burst of zero is no reserve.
pub(super) fn rate(per_second: f64, burst: u32) -> Rate {
    // Rounded up, so that rounding never makes the rate higher.
    let interval = (1e9 / per_second).ceil();
    let burst = if interval.is_finite() { burst } else { 0 };
    Rate { interval: (interval as u64).max(1), burst }
}

impl Reserve {
    /// A full reserve.
    pub(super) fn new(rate: Rate) -> Self {
        Self { rate, full_at: 0, held: 0 }
    }

    pub(super) fn rate(&self) -> Rate {
        self.rate
    }

    /// Converts the reserve to this rate. Tokens are kept up to the new burst; held tokens stay held.
    pub(super) fn set_rate(&mut self, rate: Rate, now: Instant) {
        if rate != self.rate {
            let missing = rate.until_full(self.rate, self.until_full(now));
            self.full_at = now.as_nanos().saturating_add(missing);
            self.rate = rate;
        }
    }

    /// A reserve of another rate with the same tokens, of which none is held.
    pub(super) fn without_held_at(mut self, rate: Rate, now: Instant) -> Self {
        self.set_rate(rate, now);
        Self { held: 0, ..self }
    }

    /// Holds a token, which stays in the bucket until it is spent or refunded.
    pub(super) fn hold(&mut self, now: Instant) -> bool {
        let is_there = self.free(now) > 0;
        self.held += u32::from(is_there);
        is_there
    }

    /// Removes a held token, which begins to grow back.
    pub(super) fn spend(&mut self, now: Instant) {
        self.full_at = self.full_at.max(now.as_nanos()).saturating_add(self.rate.interval);
        self.held = self.held.saturating_sub(1);
    }

    /// Releases a held token.
    pub(super) fn refund(&mut self) {
        self.held = self.held.saturating_sub(1);
    }

    /// The tokens that can be held now.
    pub(super) fn free(&self, now: Instant) -> u32 {
        let missing = self.until_full(now).div_ceil(self.rate.interval);
        let missing = u32::try_from(missing).unwrap_or(u32::MAX);
        self.rate.burst.saturating_sub(missing).saturating_sub(self.held)
    }

    /// Whether no token is missing or held.
    pub(super) fn is_full(&self, now: Instant) -> bool {
        self.until_full(now) == 0 && self.held == 0
    }

    /// The nanoseconds until no token is missing.
    fn until_full(&self, now: Instant) -> u64 {
        self.full_at.saturating_sub(now.as_nanos())
    }
}
