//! Deposits that expire: a ring of buckets, each for a tenth of the time to live.
//!
//! Each bucket has the epoch of its units. A bucket of an earlier round of the ring counts as empty, and the first deposit of a new
//! epoch restarts it. So nothing is cleared as time passes, and any idle time costs O(1).

use std::time::Duration;

use crate::ground::time::{self, Instant};

/// Deposits are counted in ten-thousandths of a token, so that a ratio of 0.6 acts as 0.6.
pub(super) const TOKEN: u64 = 10_000;

/// The resolution of expiry.
pub(super) const BUCKETS: usize = 10;

#[derive(Clone, Copy, Debug, Default)]
struct DepositBucket {
    epoch: u64,
    units: u64,
}

/// See the module.
#[derive(Debug)]
pub(super) struct Deposits {
    buckets: [DepositBucket; BUCKETS],
    /// The length of an epoch in nanoseconds, at least one.
    width: u64,
    /// The instant from which epochs have this length, and the number of the first of them: numbers continue when the length
    /// changes.
    since: u64,
    first: u64,
}

impl Deposits {
    pub(super) fn new(ttl: Duration) -> Self {
        Self { buckets: Default::default(), width: width(ttl), since: 0, first: 0 }
    }

    /// Deposits keep their epoch, and a new epoch begins.
    pub(super) fn set_ttl(&mut self, ttl: Duration, now: Instant) {
        let width = width(ttl);
        if width != self.width {
            self.first = self.epoch(now).saturating_add(1);
            self.since = now.as_nanos();
            self.width = width;
        }
    }

    #[inline]
    pub(super) fn add(&mut self, units: u64, now: Instant) {
        self.put(units, self.epoch(now));
    }

    /// Adds units that expire with those of `epoch`.
    #[inline]
    pub(super) fn put(&mut self, units: u64, epoch: u64) {
        let bucket = &mut self.buckets[index(epoch)];
        if bucket.epoch < epoch {
            *bucket = DepositBucket { epoch, units: 0 };
        }
        // Units of an earlier round of the ring have expired.
        if bucket.epoch == epoch {
            bucket.units = bucket.units.saturating_add(units);
        }
    }

    /// Takes `units` from the oldest deposits and returns the oldest epoch among them. `None`: there are fewer.
    pub(super) fn take(&mut self, units: u64, now: Instant) -> Option<u64> {
        if self.sum(now) < units {
            return None;
        }
        let (mut missing, mut oldest) = (units, None);
        for epoch in live(self.epoch(now)) {
            let bucket = &mut self.buckets[index(epoch)];
            if bucket.epoch == epoch && bucket.units > 0 && missing > 0 {
                let taken = bucket.units.min(missing);
                bucket.units -= taken;
                missing -= taken;
                oldest = oldest.or(Some(epoch));
            }
        }
        oldest
    }

    /// The units that have not expired.
    pub(super) fn sum(&self, now: Instant) -> u64 {
        live(self.epoch(now)).map(|epoch| self.buckets[index(epoch)].of(epoch)).fold(0, u64::saturating_add)
    }

    #[inline]
    fn epoch(&self, now: Instant) -> u64 {
        match now.as_nanos().checked_sub(self.since) {
            Some(after) => self.first.saturating_add(after / self.width),
            // The instant was read before the change.
            None => self.first.saturating_sub(1),
        }
    }
}

impl DepositBucket {
    /// The units, if they are of this epoch.
    fn of(self, epoch: u64) -> u64 {
        if self.epoch == epoch { self.units } else { 0 }
    }
}

fn width(ttl: Duration) -> u64 {
    (time::nanos(ttl) / BUCKETS as u64).max(1)
}

#[inline]
fn index(epoch: u64) -> usize {
    (epoch % BUCKETS as u64) as usize
}

/// The epochs whose deposits are valid, oldest first. The current one is incomplete: a deposit lives for nine to ten tenths of its
/// time, never longer.
fn live(current: u64) -> impl Iterator<Item = u64> {
    current.saturating_sub(BUCKETS as u64 - 1)..=current
}
