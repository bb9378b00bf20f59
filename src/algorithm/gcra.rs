//! A token bucket in one atomic word, whose rate may change at run time.
//!
//! GCRA, the *generic cell rate algorithm* of ATM networks: the only state is the theoretical arrival time, here the instant at
//! which the bucket will be full again. Idle time costs nothing and needs no refill task, and the next token is known to the
//! nanosecond: a token may be taken if at most `burst - 1` are missing, and one missing token returns in each `interval`.
//!
//! A new [`Rate`] keeps the *tokens* (and fractions) that are available, up to its burst, and refills the rest at its own rate. So
//! a larger burst adds no tokens, however often it changes; a smaller burst does not block callers for tokens taken from the larger
//! one; and after a change from one a minute to a hundred a second, the next token comes within a hundredth of a second.
//!
//! The rates are an argument, so that many buckets may share them. The word holds the low bits of the generation of the rate that
//! its instant is counted in. A caller that finds another generation reads the latest rates, and converts the word in the same
//! compare-and-swap as its decision, so that it never waits for a reload. The latest rates are read after the word: if the word is
//! unchanged when it is replaced, it was at most one generation behind them, however long that took.
//!
//! # Why not `governor`
//! Its GCRA accepts a store and a clock of ours, and while the rate stays it decides as this one does, to the nanosecond. But its
//! state is an arrival time without the quota that it was counted in, and a limiter has one quota. A limiter that is made anew over
//! the same store misreads the state of the previous one: after a change from one a minute to a hundred a second, the next token
//! comes after 60 s instead of 10 ms, and a burst of 100 instead of 1 adds 99 tokens at once. With an equal quota, the next token is
//! late by the age of the previous limiter, because a limiter counts from the reading at which it was made (unless the type of the
//! clock's readings ignores that). `checks/tests/governor.rs` shows all of this.
//!
//! So the store would keep the generation and the conversion. The loop would stay here, too: if the rate changes between two
//! attempts, the second needs another limiter. What is left to governor is one comparison and one addition in [`Gcra::take`]. An
//! adapter that passes all tests of this module, loom's included, had 100 lines for the 7 that it replaced. It added 51 instructions
//! to the 555 of a call, and 13 packages to the default dependency tree (governor 0.10, its default features off). For the decision
//! alone, `cargo bench -p seawall-benches --bench cost -- --only rate_limit` prints 5 ns by hand and 11 ns by governor; the core of
//! the adapter is in `benches/benches/cost/decisions.rs`.

use crate::ground::sync::atomic::{AtomicU64, Ordering};
use crate::ground::time::Instant;

/// The rate of a bucket: how fast tokens return, and how many it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Ticks per token, at least one. Round it up, so that rounding never makes the rate higher.
    pub(crate) interval: u64,
    pub(crate) burst: u32,
}

impl Rate {
    /// The ticks until a bucket is full at this rate, given that number at the `previous` rate. The number of tokens is kept, up to
    /// the burst. Rounded up, to the side of fewer tokens.
    pub(crate) fn until_full(self, previous: Self, ticks: u64) -> u64 {
        let interval = u128::from(self.interval);
        let missing = (u128::from(ticks) * interval).div_ceil(u128::from(previous.interval.max(1)));
        let tokens = |rate: Self| u128::from(rate.burst) * interval;
        let missing = missing.saturating_add(tokens(self)).saturating_sub(tokens(previous));
        u64::try_from(missing).unwrap_or(u64::MAX)
    }
}

/// The current rate and the previous one, in which a word may still be counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rates {
    pub(crate) now: Rate,
    pub(crate) previous: Rate,
    pub(crate) generation: u32,
}

impl Rates {
    pub(crate) const fn first(rate: Rate) -> Self {
        Self { now: rate, previous: rate, generation: 0 }
    }

    /// The rates after a change to this rate.
    pub(crate) fn then(self, rate: Rate) -> Self {
        match self.now == rate {
            true => self,
            false => Self { now: rate, previous: self.now, generation: self.generation.wrapping_add(1) },
        }
    }
}

#[cfg(not(seawall_loom))]
const GENERATION_BITS: u32 = 4;
// Few, so that the model checker can reach the wrap-around.
#[cfg(seawall_loom)]
const GENERATION_BITS: u32 = 2;
const GENERATION_MASK: u64 = (1 << GENERATION_BITS) - 1;
/// A tick is a nanosecond; ticks begin nine years before the process does, and end 27 years after.
const EPOCH: u64 = (1 << 63) - (1 << 58);
const LAST: u64 = u64::MAX >> GENERATION_BITS;

/// See the module.
#[derive(Debug)]
pub(crate) struct Gcra {
    /// The tick at which the bucket will be full, above the generation of its rate.
    word: AtomicU64,
}

impl Gcra {
    /// A full bucket.
    pub(crate) fn new(rates: &Rates) -> Self {
        Self { word: AtomicU64::new(pack(0, rates.generation)) }
    }

    /// Takes a token, or returns when there will be one. `latest` is called only if the bucket is not counted in the rate of
    /// `rates`.
    #[inline]
    pub(crate) fn take(&self, rates: &Rates, latest: impl Fn() -> Rates, now: Instant) -> Result<(), Instant> {
        let now = ticks(now);
        let mut rates = *rates;
        loop {
            let word = self.word.load(Ordering::Acquire);
            if behind(word, &rates) != 0 {
                rates = latest();
            }
            let Some(full_at) = self.full_at(word, &rates, now) else { continue };
            let earliest = earliest(full_at, rates.now);
            if now < earliest {
                return Err(instant(earliest));
            }
            let next = pack(full_at.max(now).saturating_add(rates.now.interval), rates.generation);
            if self.word.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return Ok(());
            }
        }
    }

    /// When the next token may be taken; in the past if one is available.
    pub(crate) fn next(&self, latest: impl Fn() -> Rates, now: Instant) -> Instant {
        let (_, full_at, rates) = self.load(&latest, ticks(now));
        instant(earliest(full_at, rates.now))
    }

    /// Converts the bucket to the rate of `rates`. The number of tokens is kept, up to the burst.
    ///
    /// Before the rates change, convert every bucket to the current ones, so that none is ever two generations behind. After the
    /// change, convert it to the new ones; otherwise tokens return at the old rate until the next call.
    pub(crate) fn take_over(&self, rates: &Rates, now: Instant) {
        loop {
            let (word, full_at, rates) = self.load(&|| *rates, ticks(now));
            let next = pack(full_at, rates.generation);
            if self.word.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return;
            }
        }
    }

    pub(crate) fn is_full(&self, latest: impl Fn() -> Rates, now: Instant) -> bool {
        self.load(&latest, ticks(now)).1 <= ticks(now)
    }

    /// Gives a new bucket as many tokens as `other` has, which uses the same rates.
    pub(crate) fn inherit(&self, other: &Self, latest: impl Fn() -> Rates, now: Instant) {
        let (_, full_at, rates) = other.load(&latest, ticks(now));
        self.word.store(pack(full_at, rates.generation), Ordering::Release);
    }

    /// The word, the tick at which the bucket will be full, and the rates.
    fn load(&self, latest: &impl Fn() -> Rates, now: u64) -> (u64, u64, Rates) {
        loop {
            let word = self.word.load(Ordering::Acquire);
            let rates = latest();
            if let Some(full_at) = self.full_at(word, &rates, now) {
                return (word, full_at, rates);
            }
        }
    }

    /// The tick at which the bucket will be full, at the current rate; `None`: the word has changed since it was read.
    #[inline]
    fn full_at(&self, word: u64, rates: &Rates, now: u64) -> Option<u64> {
        let full_at = word >> GENERATION_BITS;
        match behind(word, rates) {
            0 => Some(full_at),
            1 => Some(now.saturating_add(rates.now.until_full(rates.previous, full_at.saturating_sub(now)))),
            _ if self.word.load(Ordering::Acquire) != word => None,
            // The bucket missed a change, contrary to the contract of `take_over`: keep its instant.
            _ => Some(full_at),
        }
    }
}

/// How many generations the word is behind.
#[inline]
fn behind(word: u64, rates: &Rates) -> u64 {
    u64::from(rates.generation).wrapping_sub(word) & GENERATION_MASK
}

#[inline]
fn earliest(full_at: u64, rate: Rate) -> u64 {
    full_at.saturating_sub(rate.interval.saturating_mul(u64::from(rate.burst.saturating_sub(1))))
}

#[inline]
fn pack(full_at: u64, generation: u32) -> u64 {
    full_at.min(LAST) << GENERATION_BITS | u64::from(generation) & GENERATION_MASK
}

#[inline]
fn ticks(now: Instant) -> u64 {
    now.as_nanos().saturating_sub(EPOCH).min(LAST)
}

fn instant(ticks: u64) -> Instant {
    Instant::from_nanos(ticks.saturating_add(EPOCH))
}

#[cfg(test)]
mod rated;
#[cfg(all(test, not(seawall_loom)))]
mod tests;

#[cfg(all(test, seawall_loom))]
mod loom_tests {
    use super::rated::Rated;
    use super::*;
    use crate::ground::sync::Arc;

    const NOW: Instant = Instant::from_nanos(1 << 63);

    /// Two threads race for one token.
    #[test]
    fn loom_one_of_two_takers_gets_the_last_token() {
        loom::model(|| {
            let gcra = Arc::new(Rated::new(Rate { interval: 1000, burst: 1 }));
            let theirs = Arc::clone(&gcra);
            let thread = loom::thread::spawn(move || theirs.take(NOW).is_ok());
            let ours = gcra.take(NOW).is_ok();
            assert!(ours ^ thread.join().expect("no panic"));
        });
    }

    /// Three tokens of four are left when the rate changes twice, to a slower and to a faster one, while a thread takes a token: it
    /// is counted once, as one token of the last rate.
    #[test]
    fn loom_rate_change_neither_loses_nor_adds_a_token() {
        loom::model(|| {
            let gcra = Arc::new(Rated::new(Rate { interval: 1000, burst: 4 }));
            assert!(gcra.take(NOW).is_ok());
            let theirs = Arc::clone(&gcra);
            let thread = loom::thread::spawn(move || theirs.take(NOW).is_ok());
            gcra.set_rate(Rate { interval: 50_000, burst: 4 }, NOW);
            gcra.set_rate(Rate { interval: 10, burst: 4 }, NOW);
            assert!(thread.join().expect("no panic"));
            assert_eq!(gcra.full_at(NOW) - ticks(NOW), 20, "two tokens are missing");
        });
    }

    /// A full round of generations passes while a thread takes a token: it takes it at the current rate, and leaves a valid word.
    #[test]
    fn loom_wrapped_generation_is_harmless() {
        let mut model = loom::model::Builder::new();
        // One preemption is enough; all interleavings would take hours.
        model.preemption_bound = Some(1);
        model.check(|| {
            let gcra = Arc::new(Rated::new(Rate { interval: 1000, burst: 2 }));
            let theirs = Arc::clone(&gcra);
            let thread = loom::thread::spawn(move || theirs.take(NOW).is_ok());
            for interval in [50_000, 10, 700] {
                gcra.set_rate(Rate { interval, burst: 2 }, NOW);
            }
            assert!(thread.join().expect("no panic"));
            assert_eq!(gcra.full_at(NOW) - ticks(NOW), 700);
        });
    }
}
