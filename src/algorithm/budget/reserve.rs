//! A few tokens that return with time instead of calls: a token bucket in one atomic word.
//!
//! The algorithm is GCRA: the state is the instant at which the bucket will be full again, so idle time costs nothing and needs no
//! refill task. The same word holds the number of *held* tokens, which are withdrawn and neither spent nor refunded yet. A held
//! token stays in the bucket until it is spent, so that it does not grow back meanwhile. A refund is then as if it had never been
//! withdrawn, and burst and rate are never exceeded.
//!
//! Rate and burst may change. As in [`gcra`](crate::algorithm::gcra), the rates are an argument, the word names the generation it
//! is counted in, and a caller that finds it behind converts it. The number of tokens is kept, so that no change fills the reserve.

use crate::algorithm::gcra::{Rate, Rates};
use crate::ground::sync::atomic::{AtomicU64, Ordering};
use crate::ground::time::Instant;

const HELD_BITS: u32 = 10;
const HELD_MASK: u64 = (1 << HELD_BITS) - 1;
const GENERATION_BITS: u32 = 3;
const GENERATION_MASK: u64 = (1 << GENERATION_BITS) - 1;
/// Microseconds are counted from nine years before the process, and the word can hold the 60 years that follow.
const EPOCH: u64 = ((1 << 63) - (1 << 58)) / 1000;
const LAST: u64 = u64::MAX >> (HELD_BITS + GENERATION_BITS);

/// The largest burst.
pub(crate) const MAX_BURST: u32 = HELD_MASK as u32;

/// See the module.
#[derive(Debug)]
pub(crate) struct Reserve {
    state: AtomicU64,
}

#[derive(Clone, Copy)]
struct State {
    /// The microsecond at which the bucket will be full.
    full_at: u64,
    /// Held tokens.
    held: u64,
    /// The low bits of the rate's generation.
    generation: u64,
}

impl State {
    fn unpack(word: u64) -> Self {
        Self {
            full_at: word >> (HELD_BITS + GENERATION_BITS),
            held: word >> GENERATION_BITS & HELD_MASK,
            generation: word & GENERATION_MASK,
        }
    }

    fn pack(self) -> u64 {
        (self.full_at.min(LAST) << HELD_BITS | self.held.min(HELD_MASK)) << GENERATION_BITS | self.generation
    }

    /// The state in the current rate; `None`: it missed a change.
    fn at_rate(self, rates: &Rates, now: u64) -> Option<Self> {
        let generation = u64::from(rates.generation) & GENERATION_MASK;
        match generation.wrapping_sub(self.generation) & GENERATION_MASK {
            0 => Some(self),
            1 => {
                let missing = rates.until_full(self.full_at.saturating_sub(now));
                Some(Self { full_at: now.saturating_add(missing).min(LAST), generation, ..self })
            }
            _ => None,
        }
    }
}

/// In microseconds; a burst of zero is no reserve.
pub(super) fn rate(per_second: f64, burst: u32) -> Rate {
    // Rounded up, so that rounding never makes the rate higher.
    let interval = (1e6 / per_second).ceil();
    let burst = if interval.is_finite() { burst.min(MAX_BURST) } else { 0 };
    Rate { interval: (interval as u64).max(1), burst }
}

impl Reserve {
    pub(super) fn new(rates: &Rates) -> Self {
        let state = State { full_at: 0, held: 0, generation: u64::from(rates.generation) & GENERATION_MASK };
        Self { state: AtomicU64::new(state.pack()) }
    }

    /// Converts the reserve to the rate of `rates`. Tokens are kept up to the new burst; held tokens stay held. See
    /// [`Gcra::take_over`](crate::algorithm::gcra::Gcra::take_over) for when.
    pub(super) fn take_over(&self, rates: &Rates, now: Instant) {
        self.update(|| *rates, now, |state, _, _| Some(state));
    }

    /// Holds a token, which stays in the bucket until it is spent or refunded.
    pub(super) fn hold(&self, latest: impl Fn() -> Rates, now: Instant) -> bool {
        self.update(latest, now, |state, rate, now| {
            (whole(state, rate, now) > 0).then_some(State { held: state.held + 1, ..state })
        })
    }

    /// Removes a held token, which begins to grow back.
    pub(super) fn spend(&self, latest: impl Fn() -> Rates, now: Instant) {
        self.update(latest, now, |state, rate, now| {
            Some(State {
                full_at: state.full_at.max(now).saturating_add(rate.interval),
                held: state.held.saturating_sub(1),
                ..state
            })
        });
    }

    /// Releases a held token.
    pub(super) fn refund(&self) {
        // Independent of the rate.
        let next = |word| {
            let state = State::unpack(word);
            Some(State { held: state.held.saturating_sub(1), ..state }.pack())
        };
        let _ = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
    }

    /// The tokens that can be held now.
    pub(super) fn free(&self, latest: impl Fn() -> Rates, now: Instant) -> u32 {
        let (_, state, rates) = self.load(&latest, micros(now));
        u32::try_from(whole(state, rates.now, micros(now))).unwrap_or(MAX_BURST)
    }

    /// Whether no token is missing or held.
    pub(super) fn is_full(&self, latest: impl Fn() -> Rates, now: Instant) -> bool {
        let (_, state, _) = self.load(&latest, micros(now));
        state.full_at <= micros(now) && state.held == 0
    }

    /// Gives a new reserve of these `rates` as many tokens as `other` has, up to its burst. Held tokens stay with `other`.
    pub(super) fn inherit(&self, rates: &Rates, other: &Self, others: impl Fn() -> Rates, now: Instant) {
        let now = micros(now);
        let (_, theirs, before) = other.load(&others, now);
        let missing = Rates { previous: before.now, ..*rates }.until_full(theirs.full_at.saturating_sub(now));
        let generation = u64::from(rates.generation) & GENERATION_MASK;
        let state = State { full_at: now.saturating_add(missing), held: 0, generation };
        self.state.store(state.pack(), Ordering::Release);
    }

    /// Replaces the state by `next` of it, at the current rate; `false` if `next` returns none.
    fn update(
        &self,
        latest: impl Fn() -> Rates,
        now: Instant,
        next: impl Fn(State, Rate, u64) -> Option<State>,
    ) -> bool {
        let now = micros(now);
        loop {
            let (word, state, rates) = self.load(&latest, now);
            let Some(next) = next(state, rates.now, now) else { return false };
            if self.state.compare_exchange_weak(word, next.pack(), Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return true;
            }
        }
    }

    /// The word, its state in the current rate, and the rates.
    fn load(&self, latest: &impl Fn() -> Rates, now: u64) -> (u64, State, Rates) {
        loop {
            // The word before the rates: see `gcra`.
            let word = self.state.load(Ordering::Acquire);
            let (state, rates) = (State::unpack(word), latest());
            if let Some(state) = state.at_rate(&rates, now) {
                return (word, state, rates);
            }
            if self.state.load(Ordering::Acquire) == word {
                let generation = u64::from(rates.generation) & GENERATION_MASK;
                return (word, State { generation, ..state }, rates);
            }
        }
    }
}

/// Whole tokens in the bucket that are not held.
fn whole(state: State, rate: Rate, now: u64) -> u64 {
    let missing = state.full_at.saturating_sub(now).div_ceil(rate.interval);
    u64::from(rate.burst).saturating_sub(missing).saturating_sub(state.held)
}

fn micros(now: Instant) -> u64 {
    (now.as_nanos() / 1000).saturating_sub(EPOCH).min(LAST)
}
