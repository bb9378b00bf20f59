//! Whether retries have been helping, and so which share of the wanted ones is granted while many are wanted.
//!
//! A budget bounds retries by the number of calls, whatever becomes of them. If one shard of ten is down, that is a retry for each of
//! its calls, and none of them helps. So the budget also keeps the recent share of retries that succeeded. If fewer than [`ENOUGH`] of
//! them do, the granted share falls in proportion, to [`LEAST`] at the lowest. The retries that are left find out when retries help
//! again: each success raises the share by a half, so two of them restore it.
//!
//! This applies only while retries are wanted for more than half of what the calls deposit. A route that always fails and has a hundredth of
//! the traffic takes no retry from the others, and after an outage, when few retries are wanted, all of them are granted.
//!
//! The share of successes is an exponential average over the last [`MEMORY`] retries or so, and not over a time: a client with few
//! retries needs as many of them as one with many. After [`SILENCE`] without a wanted retry nothing is known.
//!
//! Grants are spread evenly by a sum of shares, without chance: of any `n` wanted retries at a share `s`, at least `n * s - 1` are
//! granted, and at most `n * s + 1`.

use std::time::Duration;

use super::deposits::TOKEN;
use crate::ground::time::Instant;

/// The share of retries that has to succeed for all wanted retries to be granted. Partial failure stays far above it: if half of
/// all attempts fail, half of the retries succeed.
const ENOUGH: f64 = 0.1;
/// The granted share if no retry succeeds.
const LEAST: f64 = 0.05;
/// Over how many retries successes are averaged. After 46 failures in a row the share begins to fall, after 106 it is the least.
const MEMORY: f64 = 20.0;
/// So many retries more than half of the deposits would pay for are many; twice as many are the most that is remembered.
const MANY: u64 = 10 * TOKEN;
/// As long as deposits last by default.
const SILENCE: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(super) struct Usefulness {
    /// The recent share of retries that succeeded.
    success: f64,
    /// The wanted retries less half of the deposits, in units of a token.
    excess: u64,
    /// The sum of shares that has not been granted yet, in units of a token: at most one.
    credit: u64,
    /// When a retry was last wanted.
    wanted_at: Option<Instant>,
}

impl Usefulness {
    /// Nothing is known: retries help.
    pub(super) const NEW: Self = Self { success: 1.0, excess: 0, credit: 0, wanted_at: None };

    /// A call has deposited this.
    #[inline]
    pub(super) fn deposited(&mut self, units: u64) {
        self.excess = self.excess.saturating_sub(units / 2);
    }

    /// Notes that a retry is wanted. Call this first.
    pub(super) fn want(&mut self, now: Instant) {
        if self.is_as_new(now) {
            *self = Self::NEW;
        }
        self.excess = (self.excess + TOKEN).min(2 * MANY);
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

    /// A granted retry was not made: the next one is granted in its place, and this one takes nothing from others.
    pub(super) fn refund(&mut self) {
        self.credit = TOKEN;
        self.excess = self.excess.saturating_sub(TOKEN);
    }

    /// A retry has ended.
    pub(super) fn ended(&mut self, has_helped: bool) {
        let result = if has_helped { 1.0 } else { 0.0 };
        self.success += (result - self.success) / MEMORY;
    }

    /// The share of wanted retries that is granted.
    pub(super) fn granted_share(&self, now: Instant) -> f64 {
        if self.excess < MANY || self.is_as_new(now) { 1.0 } else { (self.success / ENOUGH).clamp(LEAST, 1.0) }
    }

    pub(super) fn is_as_new(&self, now: Instant) -> bool {
        self.wanted_at.is_none_or(|at| now.since(at) >= SILENCE)
    }
}
