//! A few tokens that come with time instead of calls: a token bucket in one atomic word.
//!
//! The rate law is GCRA: all that is kept of the past is the instant at which the bucket will be full again, so that
//! idle time costs nothing and needs no one to refill. Beside it, in the same word, stands the number of tokens that
//! are *held*: withdrawn, and neither spent nor refunded yet. A held token stays in the bucket until it is spent, so
//! that it does not grow back meanwhile; a refund is then exactly as if it had never been withdrawn, and burst and rate
//! are never exceeded.

use crate::ground::sync::atomic::{AtomicU64, Ordering};
use crate::ground::time::Instant;

const HELD_BITS: u32 = 10;
const HELD_MASK: u64 = (1 << HELD_BITS) - 1;
/// The last instant the word can hold, in microseconds: 280 years from now.
const LAST: u64 = u64::MAX >> HELD_BITS;

/// The largest burst.
pub(crate) const MAX_BURST: u32 = HELD_MASK as u32;

/// See the module.
#[derive(Debug)]
pub(crate) struct Reserve {
    /// Microseconds in which one token grows.
    interval: u64,
    /// Zero if there is no reserve.
    burst: u64,
    state: AtomicU64,
}

#[derive(Clone, Copy)]
struct State {
    /// When the bucket will be full, in microseconds.
    full_at: u64,
    /// Tokens in the bucket that belong to someone already.
    held: u64,
}

impl State {
    fn unpack(word: u64) -> Self {
        Self { full_at: word >> HELD_BITS, held: word & HELD_MASK }
    }

    fn pack(self) -> u64 {
        self.full_at.min(LAST) << HELD_BITS | self.held.min(HELD_MASK)
    }
}

impl Reserve {
    pub(super) fn new(per_second: f64, burst: u32) -> Self {
        // Rounded up, so that rounding never makes the rate higher.
        let interval = (1e6 / per_second).ceil();
        let burst = if interval.is_finite() { burst.min(MAX_BURST) } else { 0 };
        Self { interval: (interval as u64).max(1), burst: burst.into(), state: AtomicU64::new(0) }
    }

    /// Takes a token that stays in the bucket until it is spent or refunded.
    pub(super) fn hold(&self, now: Instant) -> bool {
        let now = micros(now);
        self.update(|state| (self.whole(state, now) > 0).then_some(State { held: state.held + 1, ..state }))
    }

    /// A held token leaves the bucket, and begins to grow back.
    pub(super) fn spend(&self, now: Instant) {
        let now = micros(now);
        self.update(|state| {
            Some(State {
                full_at: state.full_at.max(now).saturating_add(self.interval),
                held: state.held.saturating_sub(1),
            })
        });
    }

    /// A held token is free again.
    pub(super) fn refund(&self) {
        self.update(|state| Some(State { held: state.held.saturating_sub(1), ..state }));
    }

    /// How many tokens can be held at once.
    pub(super) fn free(&self, now: Instant) -> u32 {
        let state = State::unpack(self.state.load(Ordering::Acquire));
        u32::try_from(self.whole(state, micros(now))).unwrap_or(MAX_BURST)
    }

    /// Whole tokens in the bucket that nobody holds.
    fn whole(&self, state: State, now: u64) -> u64 {
        let missing = state.full_at.saturating_sub(now).div_ceil(self.interval);
        self.burst.saturating_sub(missing).saturating_sub(state.held)
    }

    /// Replaces the state by what `next` makes of it; `false` if it makes nothing of it.
    fn update(&self, next: impl Fn(State) -> Option<State>) -> bool {
        let next = |word| next(State::unpack(word)).map(State::pack);
        self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, next).is_ok()
    }
}

fn micros(now: Instant) -> u64 {
    (now.as_nanos() / 1000).min(LAST)
}
