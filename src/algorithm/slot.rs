//! One bucket of a lock-free ring: a count with the stamp of its epoch.
//!
//! A ring of plain counters has to be cleared as time passes, and clearing races with counting. Here the stamp and the count change
//! in one atomic step, so that a bucket of an earlier round counts as empty: there is no clearing, any idle time costs O(1), and a
//! stale count is never read as a current one.
//!
//! The stamp also holds an *era*, which the owner increments to discard all earlier counts: an addition from an older era is
//! dropped, even if it races with the change.
//!
//! Checked by `loom` (`loom_*` below) and, through the rings built from it, by naive models.

use crate::ground::sync::atomic::{AtomicU64, Ordering};

const COUNT_BITS: u32 = 28;
const EPOCH_BITS: u32 = Stamp::EPOCH_BITS;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
const EPOCH_MASK: u64 = (1 << EPOCH_BITS) - 1;

/// The most epochs that a writer may lag: a day of 100 ms.
const LATEST: u64 = 1 << 20;

/// The highest count a slot can hold; it saturates there.
pub(crate) const MAX_COUNT: u32 = COUNT_MASK as u32;

/// The epoch and the era that a count belongs to.
///
/// Epochs wrap after 2^28 buckets (310 days of 100 ms), eras after 256.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(u64);

impl Stamp {
    /// The bits of an epoch that a stamp holds.
    pub(crate) const EPOCH_BITS: u32 = 28;

    #[inline]
    pub(crate) const fn new(era: u8, epoch: u64) -> Self {
        Self((era as u64) << EPOCH_BITS | (epoch & EPOCH_MASK))
    }

    #[inline]
    pub(crate) const fn era(self) -> u8 {
        (self.0 >> EPOCH_BITS) as u8
    }

    /// Whether `self` is of an earlier era than `other`, or of an earlier epoch in the same era. Wraps.
    ///
    /// A writer lags by a few epochs at most, but a slot can be arbitrarily old. When wrap-around makes the order ambiguous, the
    /// slot is stale.
    #[inline]
    fn is_before(self, other: Self) -> bool {
        if self.era() != other.era() {
            return other.era().wrapping_sub(self.era()) < 0x80;
        }
        let behind = self.0.wrapping_sub(other.0) & EPOCH_MASK;
        behind > LATEST
    }
}

/// The result of an addition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Added {
    /// Counted; the slot had this stamp before.
    Counted,
    /// Counted; the count of an earlier stamp was evicted.
    Evicted(Stamp, u32),
    /// The slot already has a later stamp: too late to count.
    TooLate,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Slot(AtomicU64);

impl Slot {
    /// An empty slot.
    #[inline]
    pub(crate) fn new() -> Self {
        Self(AtomicU64::new(0))
    }

    #[inline]
    fn unpack(word: u64) -> (Stamp, u32) {
        (Stamp(word >> COUNT_BITS), (word & COUNT_MASK) as u32)
    }

    #[inline]
    fn pack(stamp: Stamp, count: u32) -> u64 {
        stamp.0 << COUNT_BITS | u64::from(count.min(MAX_COUNT))
    }

    #[inline]
    pub(crate) fn load(&self) -> (Stamp, u32) {
        Self::unpack(self.0.load(Ordering::Acquire))
    }

    /// The count, if the slot has this stamp.
    pub(crate) fn get(&self, stamp: Stamp) -> u32 {
        let (current, count) = self.load();
        if current == stamp { count } else { 0 }
    }

    #[inline]
    pub(crate) fn add(&self, stamp: Stamp, n: u32) -> Added {
        let mut word = self.0.load(Ordering::Acquire);
        loop {
            let (current, count) = Self::unpack(word);
            let (next, added) = if current == stamp {
                (count.saturating_add(n), Added::Counted)
            } else if count == 0 || current.is_before(stamp) {
                (n, Added::Evicted(current, count))
            } else {
                return Added::TooLate;
            };
            match self.0.compare_exchange_weak(word, Self::pack(stamp, next), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return added,
                Err(actual) => word = actual,
            }
        }
    }

    /// Takes up to `n` from a count of this stamp, and returns how many were taken.
    #[inline]
    pub(crate) fn take(&self, stamp: Stamp, n: u32) -> u32 {
        let mut word = self.0.load(Ordering::Acquire);
        loop {
            let (current, count) = Self::unpack(word);
            let taken = if current == stamp { count.min(n) } else { 0 };
            if taken == 0 {
                return 0;
            }
            match self.0.compare_exchange_weak(
                word,
                Self::pack(stamp, count - taken),
                Ordering::AcqRel,
                Ordering::Acquire,
            ) {
                Ok(_) => return taken,
                Err(actual) => word = actual,
            }
        }
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use super::*;

    #[test]
    fn slot_counts_for_its_own_stamp_only() {
        let slot = Slot::new();
        let (monday, tuesday) = (Stamp::new(1, 7), Stamp::new(1, 8));
        let _ = slot.add(monday, 2);
        assert_eq!(slot.add(monday, 3), Added::Counted);
        assert_eq!(slot.add(tuesday, 1), Added::Evicted(monday, 5));
        assert_eq!((slot.get(monday), slot.get(tuesday)), (0, 1));
        assert_eq!(slot.add(monday, 1), Added::TooLate);
        assert_eq!(slot.take(monday, 1), 0);
        assert_eq!(slot.take(tuesday, 5), 1);
    }

    #[test]
    fn later_era_wins_whatever_the_epoch() {
        let slot = Slot::new();
        let _ = slot.add(Stamp::new(255, 9), 1);
        assert_eq!(slot.add(Stamp::new(0, 3), 1), Added::Evicted(Stamp::new(255, 9), 1));
        assert_eq!(slot.add(Stamp::new(255, 10), 1), Added::TooLate);
    }

    /// A stale slot is replaced after any idle time.
    #[test]
    fn stale_slot_is_not_taken_for_a_later_one() {
        let before = 77;
        for idle in [1, 1 << 20, (1 << 27) - 1, 1 << 27, (1 << 27) + 1, (1 << 28) - LATEST - 1] {
            let slot = Slot::new();
            let _ = slot.add(Stamp::new(0, before), 1);
            let _ = slot.add(Stamp::new(0, before + idle), 1);
            assert_eq!(slot.get(Stamp::new(0, before + idle)), 1, "after {idle}");
        }
        let slot = Slot::new();
        let _ = slot.add(Stamp::new(0, before), 1);
        assert_eq!(slot.add(Stamp::new(0, before.wrapping_sub(LATEST)), 1), Added::TooLate);
    }

    #[test]
    fn count_saturates() {
        let (slot, stamp) = (Slot::new(), Stamp::new(0, 1));
        let _ = slot.add(stamp, u32::MAX);
        let _ = slot.add(stamp, u32::MAX);
        assert_eq!(slot.get(stamp), MAX_COUNT);
    }
}

#[cfg(all(test, seawall_loom))]
mod loom_tests {
    use super::*;
    use crate::ground::sync::Arc;

    /// Two threads count across a change of epoch: nothing is lost or counted twice.
    #[test]
    fn loom_change_of_epoch_loses_no_count() {
        loom::model(|| {
            let slot = Arc::new(Slot::new());
            let (old, new) = (Stamp::new(0, 1), Stamp::new(0, 2));
            let _ = slot.add(old, 1);
            let theirs = Arc::clone(&slot);
            let thread = loom::thread::spawn(move || theirs.add(old, 1));
            let ours = slot.add(new, 1);
            let theirs = thread.join().expect("no panic");
            assert_eq!(slot.get(new), 1);
            let evicted = if let Added::Evicted(_, n) = ours { n } else { 0 };
            let late = u32::from(theirs == Added::TooLate);
            assert_eq!(evicted + late, 2);
        });
    }

    /// Two threads take two each of three: together they take three.
    #[test]
    fn loom_takers_never_exceed_the_count() {
        loom::model(|| {
            let slot = Arc::new(Slot::new());
            let stamp = Stamp::new(0, 1);
            let _ = slot.add(stamp, 3);
            let theirs = Arc::clone(&slot);
            let thread = loom::thread::spawn(move || theirs.take(stamp, 2));
            let ours = slot.take(stamp, 2);
            assert_eq!(ours + thread.join().expect("no panic"), 3);
            assert_eq!(slot.get(stamp), 0);
        });
    }
}
