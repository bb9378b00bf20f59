//! The retry budget, after Finagle's, without a lock.
//!
//! Every call deposits a fraction of a token, every retry withdraws a whole one, and deposits expire. So retries are at most that
//! fraction of the calls of the last seconds, however many calls fail. A call deposits once, at its start, not for its success:
//! otherwise retries would earn retries. A small [`Reserve`] lets a client with few calls retry, which would never deposit a whole
//! token. See `RetryBudget` in Twitter's Finagle.
//!
//! Deposits are in a ring of [`Slot`]s, each for a tenth of the time to live. A token is gathered from the oldest ones by atomic
//! steps, each of which takes only what it finds: there is no check before the act, so no race overdraws, and an incomplete token
//! is put back. A full bucket (26,843 tokens) takes no more deposits.
//!
//! The rules may change at run time. When the time to live changes, deposits keep their epoch: they expire after a tenth of the new
//! time for each tenth they had left, and a new tenth begins. So nothing lives longer than the longer of the two times, and no
//! change adds a token.
//!
//! In any stretch of time, the tokens spent are at most `ratio` for each call in it and in the time to live before it, plus the
//! growth of the reserve meanwhile, plus its burst. The property test compares this with a naive model.

mod reserve;

use std::time::Duration;

use crate::algorithm::budget::reserve::Reserve;
use crate::algorithm::gcra::Rates;
use crate::algorithm::slot::{Slot, Stamp};
use crate::ground::time::{self, Instant};

/// Deposits are counted in ten-thousandths of a token, so that a ratio of 0.6 acts as 0.6.
pub(crate) const TOKEN: u32 = 10_000;

/// The resolution of expiry. A loom model explores every step of every bucket, and has few.
#[cfg(not(seawall_loom))]
const BUCKETS: usize = 10;
#[cfg(seawall_loom)]
const BUCKETS: usize = 2;

/// See the module.
#[derive(Debug)]
pub(crate) struct Ledger {
    deposits: [Slot; BUCKETS],
    reserve: Reserve,
}

/// The deposit of a call, and its time to live.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Earnings {
    per_call: u32,
    /// The length of an epoch, in nanoseconds.
    bucket: u64,
    /// The instant from which epochs have this length, and the number of the first of them: numbers continue when the length
    /// changes.
    since: u64,
    first: u64,
}

impl Earnings {
    fn new(ratio: f64, ttl: Duration) -> Self {
        let per_call = (ratio * f64::from(TOKEN)).round() as u32;
        Self { per_call, bucket: (time::nanos(ttl) / BUCKETS as u64).max(1), since: 0, first: 0 }
    }

    #[inline]
    fn epoch(&self, now: Instant) -> u64 {
        match now.as_nanos().checked_sub(self.since) {
            Some(after) => self.first.saturating_add(after / self.bucket),
            // The instant was read before the change.
            None => self.first.saturating_sub(1),
        }
    }

    /// The earnings by `next`, from now on.
    fn then(self, next: Self, now: Instant) -> Self {
        if next.bucket == self.bucket {
            return Self { per_call: next.per_call, ..self };
        }
        Self { since: now.as_nanos(), first: self.epoch(now).saturating_add(1), ..next }
    }
}

/// The rules of a budget. They are an argument, so that many budgets may share them.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rules {
    pub(crate) earnings: Earnings,
    reserve: Rates,
}

impl Rules {
    /// Each call deposits `ratio` of a token for up to `ttl`; the reserve grows by `per_second` up to `burst`.
    pub(crate) fn new(ratio: f64, ttl: Duration, per_second: f64, burst: u32) -> Self {
        let reserve = Rates::first(reserve::rate(per_second, burst));
        Self { earnings: Earnings::new(ratio, ttl), reserve }
    }

    /// The rules after a change to `next`. Before and after the change, every budget is to be [taken over](Ledger::take_over).
    pub(crate) fn then(&self, next: &Self, now: Instant) -> Self {
        Self { earnings: self.earnings.then(next.earnings, now), reserve: self.reserve.then(next.reserve.now) }
    }
}

/// A withdrawn token. It must be [spent](Ledger::spend) or [refunded](Ledger::refund).
#[derive(Debug)]
#[must_use]
pub(crate) enum Claim {
    /// Gathered from deposits; the oldest is of this epoch.
    Deposited { epoch: u64 },
    /// Held in the reserve.
    Reserved,
}

impl Ledger {
    /// A budget whose reserve is full.
    pub(crate) fn new(rules: &Rules) -> Self {
        Self { deposits: std::array::from_fn(|_| Slot::new()), reserve: Reserve::new(&rules.reserve) }
    }

    /// Uses these rules from now on. The number of tokens never rises.
    pub(crate) fn take_over(&self, rules: &Rules, now: Instant) {
        self.reserve.take_over(&rules.reserve, now);
    }

    /// Deposits the fraction of a new call.
    #[inline]
    pub(crate) fn deposit(&self, earnings: &Earnings, now: Instant) {
        if earnings.per_call > 0 {
            let (slot, stamp) = self.slot(earnings.epoch(now));
            // A deposit that is too late for its bucket has expired anyway.
            let _ = slot.add(stamp, earnings.per_call);
        }
    }

    /// Withdraws a token, if there is one, by the `latest` rules.
    pub(crate) fn withdraw(&self, latest: impl Fn() -> Rules, now: Instant) -> Option<Claim> {
        let gathered = self.gather(latest().earnings.epoch(now));
        gathered.or_else(|| self.reserve.hold(|| latest().reserve, now).then_some(Claim::Reserved))
    }

    /// The retry was made.
    pub(crate) fn spend(&self, claim: Claim, latest: impl Fn() -> Rules, now: Instant) {
        match claim {
            Claim::Deposited { .. } => {}
            Claim::Reserved => self.reserve.spend(|| latest().reserve, now),
        }
    }

    /// The retry was not made: the token is returned, unless it has expired.
    pub(crate) fn refund(&self, claim: Claim) {
        match claim {
            // All of it expires with its oldest part, so that no deposit lives longer.
            Claim::Deposited { epoch } => self.put_back(epoch, TOKEN),
            Claim::Reserved => self.reserve.refund(),
        }
    }

    /// The whole tokens that could be withdrawn at once.
    pub(crate) fn balance(&self, latest: impl Fn() -> Rules, now: Instant) -> u32 {
        let deposited = self.deposited(latest().earnings.epoch(now)) / u64::from(TOKEN);
        u32::try_from(deposited).unwrap_or(u32::MAX).saturating_add(self.reserve.free(|| latest().reserve, now))
    }

    /// Whether the state equals that of a new budget: a full reserve and no deposits.
    pub(crate) fn is_as_new(&self, latest: impl Fn() -> Rules, now: Instant) -> bool {
        self.deposited(latest().earnings.epoch(now)) == 0 && self.reserve.is_full(|| latest().reserve, now)
    }

    /// Gives a new budget of these `rules` the reserve of `other`. Deposits stay there.
    pub(crate) fn inherit(&self, rules: &Rules, other: &Self, others: impl Fn() -> Rules, now: Instant) {
        self.reserve.inherit(&rules.reserve, &other.reserve, || others().reserve, now);
    }

    fn gather(&self, current: u64) -> Option<Claim> {
        // A racing withdrawal that fails holds parts of a token for a moment, so a second pass is needed to tell.
        for _ in 0..2 {
            if self.deposited(current) < u64::from(TOKEN) {
                return None;
            }
            let mut taken = [0; BUCKETS];
            let mut missing = TOKEN;
            let mut oldest = current;
            for (epoch, taken) in live(current).zip(&mut taken) {
                let (slot, stamp) = self.slot(epoch);
                *taken = slot.take(stamp, missing);
                if *taken > 0 {
                    oldest = oldest.min(epoch);
                    missing -= *taken;
                }
            }
            if missing == 0 {
                return Some(Claim::Deposited { epoch: oldest });
            }
            for (epoch, taken) in live(current).zip(taken) {
                self.put_back(epoch, taken);
            }
        }
        None
    }

    fn put_back(&self, epoch: u64, units: u32) {
        if units > 0 {
            let (slot, stamp) = self.slot(epoch);
            // Too late means expired.
            let _ = slot.add(stamp, units);
        }
    }

    fn deposited(&self, current: u64) -> u64 {
        live(current)
            .map(|epoch| {
                let (slot, stamp) = self.slot(epoch);
                u64::from(slot.get(stamp))
            })
            .sum()
    }

    /// The era extends the epoch beyond the bits of a stamp, so that no idle time makes old deposits look new.
    #[inline]
    fn slot(&self, epoch: u64) -> (&Slot, Stamp) {
        (&self.deposits[(epoch % BUCKETS as u64) as usize], Stamp::new((epoch >> Stamp::EPOCH_BITS) as u8, epoch))
    }
}

/// The epochs whose deposits are valid, oldest first. The current one is incomplete: a deposit lives for nine to ten tenths of its
/// time, never longer.
fn live(current: u64) -> impl Iterator<Item = u64> {
    current.saturating_sub(BUCKETS as u64 - 1)..=current
}

#[cfg(test)]
mod funded;
#[cfg(all(test, not(seawall_loom)))]
mod tests;

#[cfg(all(test, seawall_loom))]
mod loom_tests;
