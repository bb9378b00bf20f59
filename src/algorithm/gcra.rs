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
//! The word knows which rate its instant is meant by, as the low bits of a generation. Who finds it a generation behind takes it
//! over with the decision at hand, in one step, so that nobody waits for whoever changes the rate. The word is read before the
//! rates: if it has not changed when it is replaced, then it was at most one generation behind them, however long that took.

use crate::ground::live::{Live, Settings, pack_pair, unpack_pair};
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

    pub(crate) const fn then(self, rate: Rate) -> Self {
        Self { now: rate, before: self.now, generation: self.generation.wrapping_add(1) }
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

impl Settings<4> for Rates {
    fn pack(&self) -> [u64; 4] {
        let Self { now, before, generation } = *self;
        [now.interval, pack_pair(now.burst, generation), before.interval, before.burst.into()]
    }

    #[inline]
    fn unpack([interval, burst, before_interval, before_burst]: [u64; 4]) -> Self {
        let (burst, generation) = unpack_pair(burst);
        let before = Rate { interval: before_interval, burst: before_burst as u32 };
        Self { now: Rate { interval, burst }, before, generation }
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
    rates: Live<Rates, 4>,
    /// When the bucket will be full, in ticks, above the generation of the rate that is meant.
    word: AtomicU64,
}

impl Gcra {
    pub(crate) fn new(rate: Rate) -> Self {
        Self { rates: Live::new(&Rates::first(rate)), word: AtomicU64::new(0) }
    }

    /// Takes a token, or says when there will be one.
    #[inline]
    pub(crate) fn take(&self, now: Instant) -> Result<(), Instant> {
        let now = ticks(now);
        loop {
            let word = self.word.load(Ordering::Acquire);
            let rates = self.rates.read();
            let Some(full_at) = full_at(word, &rates, now) else { continue };
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
    pub(crate) fn next(&self, now: Instant) -> Instant {
        let now = ticks(now);
        loop {
            let word = self.word.load(Ordering::Acquire);
            let rates = self.rates.read();
            if let Some(full_at) = full_at(word, &rates, now) {
                return instant(earliest(full_at, rates.now));
            }
        }
    }

    /// Lets tokens come at another rate from now on. There are as many as before, at most the new burst.
    pub(crate) fn set_rate(&self, rate: Rate, now: Instant) {
        let now = ticks(now);
        self.rates.update(|rates| {
            // The word may not be two rates behind. These are the present ones as long as we are at it.
            let next = |word| full_at(word, &rates, now).map(|full_at| pack(full_at, rates.generation));
            let _ = self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, next);
            if rates.now == rate { rates } else { rates.then(rate) }.pack()
        });
        self.take_over(now);
    }

    /// In how many ticks the bucket will be full if no token is taken, and at which rate.
    fn missing(&self, now: Instant) -> (u64, Rate) {
        let now = ticks(now);
        loop {
            let word = self.word.load(Ordering::Acquire);
            let rates = self.rates.read();
            if let Some(full_at) = full_at(word, &rates, now) {
                return (full_at.saturating_sub(now), rates.now);
            }
        }
    }

    pub(crate) fn is_full(&self, now: Instant) -> bool {
        self.missing(now).0 == 0
    }

    /// A new bucket begins with as many tokens as `other` has, at most its burst.
    pub(crate) fn inherit(&self, other: &Self, now: Instant) {
        let ((missing, before), rates) = (other.missing(now), self.rates.read());
        let missing = Rates { before, ..rates }.until_full(missing);
        self.word.store(pack(ticks(now).saturating_add(missing), rates.generation), Ordering::Release);
    }

    pub(crate) fn rate(&self) -> Rate {
        self.rates.read().now
    }

    fn take_over(&self, now: u64) {
        loop {
            let word = self.word.load(Ordering::Acquire);
            let rates = self.rates.read();
            let Some(full_at) = full_at(word, &rates, now) else { continue };
            let next = pack(full_at, rates.generation);
            if self.word.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Acquire).is_ok() {
                return;
            }
        }
    }
}

/// When the bucket will be full, in the present rate; `None`: the word is old.
#[inline]
fn full_at(word: u64, rates: &Rates, now: u64) -> Option<u64> {
    let full_at = word >> GENERATION_BITS;
    let behind = u64::from(rates.generation).wrapping_sub(word) & GENERATION_MASK;
    match behind {
        0 => Some(full_at),
        1 => Some(now.saturating_add(rates.until_full(full_at.saturating_sub(now)))),
        _ => None,
    }
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

#[cfg(all(test, not(seawall_loom)))]
mod tests;

#[cfg(all(test, seawall_loom))]
mod loom_tests {
    use super::*;
    use crate::ground::sync::Arc;

    const NOW: Instant = Instant::from_nanos(1 << 63);

    /// One token, and two that want it.
    #[test]
    fn loom_one_of_two_takers_gets_the_last_token() {
        loom::model(|| {
            let gcra = Arc::new(Gcra::new(Rate { interval: 1000, burst: 1 }));
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
            let gcra = Arc::new(Gcra::new(Rate { interval: 1000, burst: 4 }));
            assert!(gcra.take(NOW).is_ok());
            let theirs = Arc::clone(&gcra);
            let thread = loom::thread::spawn(move || theirs.take(NOW).is_ok());
            gcra.set_rate(Rate { interval: 50_000, burst: 4 }, NOW);
            gcra.set_rate(Rate { interval: 10, burst: 4 }, NOW);
            assert!(thread.join().expect("no panic"));
            let rates = gcra.rates.read();
            let debt = full_at(gcra.word.load(Ordering::Acquire), &rates, ticks(NOW)).expect("settled") - ticks(NOW);
            assert_eq!(debt, 20, "two tokens are missing");
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
            let gcra = Arc::new(Gcra::new(Rate { interval: 1000, burst: 2 }));
            let theirs = Arc::clone(&gcra);
            let thread = loom::thread::spawn(move || theirs.take(NOW).is_ok());
            for interval in [50_000, 10, 700] {
                gcra.set_rate(Rate { interval, burst: 2 }, NOW);
            }
            assert!(thread.join().expect("no panic"));
            let rates = gcra.rates.read();
            let full_at = full_at(gcra.word.load(Ordering::Acquire), &rates, ticks(NOW));
            assert_eq!(full_at.map(|at| at - ticks(NOW)), Some(700));
        });
    }
}
