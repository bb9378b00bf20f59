//! So many tokens in so much time: a token bucket in one atomic word, whose rate may change at work.
//!
//! GCRA, the *generic cell rate algorithm* of ATM networks: all that is kept of the past is the instant at which the bucket
//! will be full again. Idle time costs nothing and needs no one to refill, and what comes next is known to the nanosecond:
//! a token may be taken if no more than `burst - 1` are missing, and one missing token comes back in each `interval`.
//!
//! A new [`Rate`] finds as many *tokens* as were there (and parts of them), at most its burst, and fills the rest at its own pace: a
//! larger burst is no gift, however often it comes and goes; a smaller one shuts nobody out for what was taken from the
//! larger; and from one a minute to a hundred a second, the next comes within a hundredth of a second.
//!
//! The rates are an argument: many buckets may share them. The word holds the low bits of the generation of the rate that its
//! instant is counted in. A caller that finds another generation asks for the latest rates, and converts the word in the same
//! compare-and-swap as its decision, so that it never waits for a reload. The latest rates are read after the word: if the word
//! has not changed when it is replaced, then it was at most one generation behind them, however long that took.

use crate::ground::sync::atomic::{AtomicU64, Ordering};
use crate::ground::time::Instant;

/// How fast tokens come, and how many there are at most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rate {
    /// Ticks in which one token comes, at least one. Round it up, so that rounding never makes the rate higher.
    pub(crate) interval: u64,
    pub(crate) burst: u32,
}

/// The rate, and the one before: as long as a word may still be counted in that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rates {
    pub(crate) now: Rate,
    pub(crate) before: Rate,
    pub(crate) generation: u32,
}

impl Rates {
    pub(crate) const fn first(rate: Rate) -> Self {
        Self { now: rate, before: rate, generation: 0 }
    }

    /// What follows when the rate becomes this one.
    pub(crate) fn then(self, rate: Rate) -> Self {
        match self.now == rate {
            true => self,
            false => Self { now: rate, before: self.now, generation: self.generation.wrapping_add(1) },
        }
    }

    /// In how many ticks the bucket will be full at the present rate, given that number for the rate before: as many tokens are
    /// there, at most the burst. Rounded up, to the side of fewer tokens.
    pub(crate) fn until_full(&self, before: u64) -> u64 {
        let interval = u128::from(self.now.interval);
        let missing = (u128::from(before) * interval).div_ceil(u128::from(self.before.interval.max(1)));
        let tokens = |rate: Rate| u128::from(rate.burst) * interval;
        let missing = missing.saturating_add(tokens(self.now)).saturating_sub(tokens(self.before));
        u64::try_from(missing).unwrap_or(u64::MAX)
    }
}

#[cfg(not(seawall_loom))]
const GENERATION_BITS: u32 = 4;
// So few that the model checker can go round.
#[cfg(seawall_loom)]
const GENERATION_BITS: u32 = 2;
const GENERATION_MASK: u64 = (1 << GENERATION_BITS) - 1;
/// A tick is a nanosecond; ticks begin nine years before the process does, and end 27 years after.
const EPOCH: u64 = (1 << 63) - (1 << 58);
const LAST: u64 = u64::MAX >> GENERATION_BITS;

/// See the module.
#[derive(Debug)]
pub(crate) struct Gcra {
    /// When the bucket will be full, in ticks, above the generation of the rate that is meant.
    word: AtomicU64,
}

impl Gcra {
    /// A full bucket.
    pub(crate) fn new(rates: &Rates) -> Self {
        Self { word: AtomicU64::new(pack(0, rates.generation)) }
    }

    /// Takes a token, or says when there will be one. The `latest` rates are asked for only if the bucket is not counted in the
    /// rate of `rates`.
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

    /// When the next token may be taken; an instant that has passed if one may be taken now.
    pub(crate) fn next(&self, latest: impl Fn() -> Rates, now: Instant) -> Instant {
        let (_, full_at, rates) = self.look(&latest, ticks(now));
        instant(earliest(full_at, rates.now))
    }

    /// Counts the bucket in the rate of `rates` from now on. There are as many tokens as before, at most the burst.
    ///
    /// Before the rates change, every bucket is to be taken over to the present ones, so that it is never two generations behind.
    /// After that, it is to be taken over to the new ones, or tokens come at the old rate until the next one is asked for.
    pub(crate) fn take_over(&self, rates: &Rates, now: Instant) {
        loop {
            let (word, full_at, rates) = self.look(&|| *rates, ticks(now));
            let next = pack(full_at, rates.generation);
            if self.word.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return;
            }
        }
    }

    pub(crate) fn is_full(&self, latest: impl Fn() -> Rates, now: Instant) -> bool {
        self.look(&latest, ticks(now)).1 <= ticks(now)
    }

    /// A new bucket begins with as many tokens as `other` has, which has the same rates.
    pub(crate) fn inherit(&self, other: &Self, latest: impl Fn() -> Rates, now: Instant) {
        let (_, full_at, rates) = other.look(&latest, ticks(now));
        self.word.store(pack(full_at, rates.generation), Ordering::Release);
    }

    /// The word, when the bucket will be full, and at which rate.
    fn look(&self, latest: &impl Fn() -> Rates, now: u64) -> (u64, u64, Rates) {
        loop {
            let word = self.word.load(Ordering::Acquire);
            let rates = latest();
            if let Some(full_at) = self.full_at(word, &rates, now) {
                return (word, full_at, rates);
            }
        }
    }

    /// When the bucket will be full, in the present rate; `None`: the word has changed since it was read.
    #[inline]
    fn full_at(&self, word: u64, rates: &Rates, now: u64) -> Option<u64> {
        let full_at = word >> GENERATION_BITS;
        match behind(word, rates) {
            0 => Some(full_at),
            1 => Some(now.saturating_add(rates.until_full(full_at.saturating_sub(now)))),
            _ if self.word.load(Ordering::Acquire) != word => None,
            // It missed a change, against what `take_over` asks for: it is full when it would have been.
            _ => Some(full_at),
        }
    }
}

/// How many generations ago the word was counted.
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

    /// One token, and two that want it.
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

    /// Three tokens of four are left when the rate changes twice, to a slower and to a faster one, while somebody takes: what
    /// he takes is counted once, as one token of the last rate.
    #[test]
    fn loom_a_change_of_rate_neither_loses_nor_makes_a_token() {
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

    /// As many changes as make what is ahead look as if it were behind, to whoever began before them: all the same he takes his
    /// token at the rate that holds, and leaves a word that the next one can read.
    #[test]
    fn loom_who_was_away_for_all_generations_does_no_harm() {
        let mut model = loom::model::Builder::new();
        // Once is enough to be away, and all ways to be so would take hours.
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
