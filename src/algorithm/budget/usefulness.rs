//! Whether retries have been helping, and so which share of the wanted ones is granted.
//!
//! A budget bounds retries by the number of calls, whatever becomes of them. If one shard of ten is down, that is a retry for each of
//! its calls, and none of them helps. So the budget also keeps the recent share of retries that succeeded. All wanted retries are
//! granted while at least [`ENOUGH`] of them succeed. Below that the granted share falls in proportion, to [`LEAST`] at the lowest.
//! These last retries find out when retries help again: each success raises the share by a half, so two of them restore it. When an
//! outage ends, few retries are wanted, and twenty of them may take long. So each call also earns [`LEAST`] of what it deposits.
//!
//! The share of successes is an exponential average over the last [`MEMORY`] retries or so, and not over a time: a client with few
//! retries needs as many of them as one with many. It begins with the belief that retries help. The belief returns when the outage
//! seems to be over: when no retry has been wanted for [ten times](SILENCE) as long as between two wanted ones before. A fixed time
//! would be too long for a client with many calls, and for one with few the retries of an outage would all be granted again and again.
//!
//! Grants are spread evenly by a sum of shares, without chance: of any `n` wanted retries at a share `s`, at least `n * s - 1` are
//! granted, and at most `n * s + 1` and what the calls meanwhile have earned.

use super::deposits::TOKEN;
use crate::ground::time::Instant;

/// The share of retries that has to succeed for all wanted retries to be granted. Partial failure stays far above it: if half of
/// all attempts fail, half of the retries succeed.
const ENOUGH: f64 = 0.1;
/// The granted share if no retry succeeds, as one in so many.
const ONE_IN: u64 = 20;
const LEAST: f64 = 1.0 / ONE_IN as f64;
/// Over how many retries successes are averaged. After 46 failures in a row the share begins to fall, after 106 it is the least.
const MEMORY: f64 = 20.0;
/// After a silence of so many usual gaps between wanted retries, retries are believed to help again. If failures come at random, one
/// gap in 20,000 is as long.
const SILENCE: f64 = 10.0;
/// The bounds of that silence. Calls stop for a moment without a reason; and a budget must be forgotten some day.
const SHORTEST_SILENCE: f64 = 1.0;
const LONGEST_SILENCE: f64 = 60.0;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usefulness {
    /// The recent share of retries that succeeded.
    success: f64,
    /// The sum of shares that has not been granted yet, in units of a token: at most one.
    credit: u64,
    /// When a retry was last wanted.
    wanted_at: Option<Instant>,
    /// The usual time between two wanted retries, in seconds.
    gap: f64,
}

impl Usefulness {
    /// The belief that retries help.
    pub(super) const NEW: Self = Self { success: 1.0, credit: 0, wanted_at: None, gap: LONGEST_SILENCE / SILENCE };

    /// A call has deposited this.
    #[inline]
    pub(super) fn deposited(&mut self, units: u64) {
        self.credit = (self.credit + units / ONE_IN).min(TOKEN);
    }

    /// Notes that a retry is wanted. Call this first.
    pub(super) fn want(&mut self, now: Instant) {
        match self.silence(now) {
            Some(silence) if !self.is_as_new(now) => self.gap += (silence - self.gap) / MEMORY,
            _ => *self = Self::NEW,
        }
        self.wanted_at = self.wanted_at.max(Some(now));
    }

    /// Whether the wanted retry is granted.
    pub(super) fn grant(&mut self, now: Instant) -> bool {
        self.credit += (self.granted_share(now) * TOKEN as f64).round() as u64;
        let is_granted = self.credit >= TOKEN;
        if is_granted {
            self.credit -= TOKEN;
        }
        is_granted
    }

    /// A granted retry was not made: the next one is granted in its place.
    pub(super) fn refund(&mut self) {
        self.credit = TOKEN;
    }

    /// A retry has ended.
    pub(super) fn ended(&mut self, has_helped: bool) {
        let result = if has_helped { 1.0 } else { 0.0 };
        self.success += (result - self.success) / MEMORY;
    }

    /// The share of wanted retries that is granted.
    pub(super) fn granted_share(&self, now: Instant) -> f64 {
        if self.is_as_new(now) { 1.0 } else { (self.success / ENOUGH).clamp(LEAST, 1.0) }
    }

    pub(super) fn is_as_new(&self, now: Instant) -> bool {
        let longest = (SILENCE * self.gap).clamp(SHORTEST_SILENCE, LONGEST_SILENCE);
        self.silence(now).is_none_or(|silence| silence >= longest)
    }

    /// The seconds since a retry was last wanted.
    fn silence(&self, now: Instant) -> Option<f64> {
        self.wanted_at.map(|at| now.since(at).as_secs_f64())
    }
}
