//! A few tokens that come with time instead of calls: a token bucket in one atomic word.
//!
//! The rate law is GCRA: all that is kept of the past is the instant at which the bucket will be full again, so that
//! idle time costs nothing and needs no one to refill. Beside it, in the same word, stands the number of tokens that
//! are *held*: withdrawn, and neither spent nor refunded yet. A held token stays in the bucket until it is spent, so
//! that it does not grow back meanwhile; a refund is then exactly as if it had never been withdrawn, and burst and rate
//! are never exceeded.
//!
//! Rate and burst may change. As in [`gcra`](crate::algorithm::gcra), the word says which of two rates it is counted in, and
//! who finds it behind takes it over: as many tokens are there as before, so that nobody fills the reserve by changing it.

use crate::algorithm::gcra::{Rate, Rates};
use crate::ground::live::{Live, Settings as _};
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
    /// In microseconds; a burst of zero is no reserve.
    rates: Live<Rates, 4>,
    state: AtomicU64,
}

#[derive(Clone, Copy)]
struct State {
    /// When the bucket will be full, in microseconds.
    full_at: u64,
    /// Tokens in the bucket that belong to someone already.
    held: u64,
    /// The low bits of that of the rate that is meant.
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

    /// The same in the present rate; `None`: the word is old.
    fn by(self, rates: &Rates, now: u64) -> Option<Self> {
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

fn rate(per_second: f64, burst: u32) -> Rate {
    // Rounded up, so that rounding never makes the rate higher.
    let interval = (1e6 / per_second).ceil();
    let burst = if interval.is_finite() { burst.min(MAX_BURST) } else { 0 };
    Rate { interval: (interval as u64).max(1), burst }
}

impl Reserve {
    pub(super) fn new(per_second: f64, burst: u32) -> Self {
        Self { rates: Live::new(&Rates::first(rate(per_second, burst))), state: AtomicU64::new(0) }
    }

    /// Another rate and burst from now on. What is there stays, up to the new burst; what is held stays held.
    pub(super) fn set_rate(&self, per_second: f64, burst: u32, now: Instant) {
        let next = rate(per_second, burst);
        self.rates.update(|rates| {
            // The word may not be two rates behind.
            self.update(now, |state, _, _| Some(state));
            if rates.now == next { rates } else { rates.then(next) }.pack()
        });
        self.update(now, |state, _, _| Some(state));
    }

    /// Takes a token that stays in the bucket until it is spent or refunded.
    pub(super) fn hold(&self, now: Instant) -> bool {
        self.update(now, |state, rate, now| {
            (whole(state, rate, now) > 0).then_some(State { held: state.held + 1, ..state })
        })
    }

    /// A held token leaves the bucket, and begins to grow back.
    pub(super) fn spend(&self, now: Instant) {
        self.update(now, |state, rate, now| {
            Some(State {
                full_at: state.full_at.max(now).saturating_add(rate.interval),
                held: state.held.saturating_sub(1),
                ..state
            })
        });
    }

    /// A held token is free again.
    pub(super) fn refund(&self) {
        // The same at any rate.
        let next = |word| {
            let state = State::unpack(word);
            Some(State { held: state.held.saturating_sub(1), ..state }.pack())
        };
        let _ = self.state.fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
    }

    /// How many tokens can be held at once.
    pub(super) fn free(&self, now: Instant) -> u32 {
        let now = micros(now);
        loop {
            let word = self.state.load(Ordering::Acquire);
            let rates = self.rates.read();
            if let Some(state) = State::unpack(word).by(&rates, now) {
                return u32::try_from(whole(state, rates.now, now)).unwrap_or(MAX_BURST);
            }
        }
    }

    /// Whether no token is missing or held.
    pub(super) fn is_full(&self, now: Instant) -> bool {
        let (missing, held, _) = self.missing(now);
        missing == 0 && held == 0
    }

    /// A new reserve begins with as many tokens as `other` has, at most its burst. What others hold stays with them.
    pub(super) fn inherit(&self, other: &Self, now: Instant) {
        let ((missing, _, before), rates) = (other.missing(now), self.rates.read());
        let missing = Rates { before, ..rates }.until_full(missing);
        let generation = u64::from(rates.generation) & GENERATION_MASK;
        let state = State { full_at: micros(now).saturating_add(missing), held: 0, generation };
        self.state.store(state.pack(), Ordering::Release);
    }

    /// In how many microseconds the bucket will be full, how many tokens are held, and the rate.
    fn missing(&self, now: Instant) -> (u64, u64, Rate) {
        let now = micros(now);
        loop {
            let word = self.state.load(Ordering::Acquire);
            let rates = self.rates.read();
            if let Some(state) = State::unpack(word).by(&rates, now) {
                return (state.full_at.saturating_sub(now), state.held, rates.now);
            }
        }
    }

    /// Replaces the state by what `next` makes of it, at the present rate; `false` if it makes nothing of it.
    fn update(&self, now: Instant, next: impl Fn(State, Rate, u64) -> Option<State>) -> bool {
        let now = micros(now);
        loop {
            // In this order: see `gcra`.
            let word = self.state.load(Ordering::Acquire);
            let rates = self.rates.read();
            let Some(state) = State::unpack(word).by(&rates, now) else { continue };
            let Some(next) = next(state, rates.now, now) else { return false };
            if self.state.compare_exchange_weak(word, next.pack(), Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return true;
            }
        }
    }
}

/// Whole tokens in the bucket that nobody holds.
fn whole(state: State, rate: Rate, now: u64) -> u64 {
    let missing = state.full_at.saturating_sub(now).div_ceil(rate.interval);
    u64::from(rate.burst).saturating_sub(missing).saturating_sub(state.held)
}

fn micros(now: Instant) -> u64 {
    (now.as_nanos() / 1000).saturating_sub(EPOCH).min(LAST)
}
