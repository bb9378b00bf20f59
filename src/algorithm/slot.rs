//! One bucket of a lock-free ring: a count that knows which stretch of time it belongs to.
//!
//! A ring of plain counters has to be cleaned when time moves on, and whoever cleans it races with whoever counts. Here the
//! bucket's stamp and its count change in one atomic step, so that a bucket left over from an earlier round is empty by
//! definition: no cleaning, O(1) after any silence, and nothing of yesterday is ever read as today's.
//!
//! The stamp also holds an *era*, which its owner moves on when all that was counted before is to be forgotten: what comes
//! late from an older era is dropped, even if it races with the change.
//!
//! Checked by `loom` (`loom_*` below) and, through the rings made of it, against naive models.

use crate::ground::sync::atomic::{AtomicU64, Ordering};

const COUNT_BITS: u32 = 28;
const EPOCH_BITS: u32 = Stamp::EPOCH_BITS;
const COUNT_MASK: u64 = (1 << COUNT_BITS) - 1;
const EPOCH_MASK: u64 = (1 << EPOCH_BITS) - 1;

/// The highest count a slot can hold; it saturates there.
pub(crate) const MAX_COUNT: u32 = COUNT_MASK as u32;

/// Which stretch of time a count belongs to: the number of the bucket since the beginning of time, within an era.
///
/// Epochs wrap after 2^28 buckets (310 days of 100 ms), eras after 256. Who comes late does so by a few epochs, but a slot may
/// not be used for any time: so nearly all of that circle is the past, and only [`Stamp::LATE`] of it the future.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Stamp(u64);

impl Stamp {
    /// How many bits of an epoch a stamp tells apart.
    pub(crate) const EPOCH_BITS: u32 = 28;

    /// By how many epochs a stamp can be late; what is further back is taken for what is left of a round long ago.
    const LATE: u64 = 1 << 16;

    #[inline]
    pub(crate) const fn new(era: u8, epoch: u64) -> Self {
        Self((era as u64) << EPOCH_BITS | (epoch & EPOCH_MASK))
    }

    #[inline]
    pub(crate) const fn era(self) -> u8 {
        (self.0 >> EPOCH_BITS) as u8
    }

    /// By how many epochs `epoch` is ahead of this stamp's; negative if it is behind.
    pub(crate) fn epochs_until(self, epoch: u64) -> i64 {
        let ahead = epoch.wrapping_sub(self.0) & EPOCH_MASK;
        if ahead < 1 << (EPOCH_BITS - 1) { ahead as i64 } else { ahead as i64 - (1 << EPOCH_BITS) }
    }

    /// Whether `self` is of an earlier era than `other`, or of an earlier epoch in the same era. Wraps.
    #[inline]
    fn is_before(self, other: Self) -> bool {
        if self.era() != other.era() {
            return other.era().wrapping_sub(self.era()) < 0x80;
        }
        let ahead = (other.0.wrapping_sub(self.0)) & EPOCH_MASK;
        ahead != 0 && ahead <= EPOCH_MASK - Self::LATE
    }
}

/// What became of an addition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Added {
    /// It was counted, and the slot was of this stamp before.
    Counted,
    /// It was counted, and pushed out what an earlier stamp had left here.
    Evicted(Stamp, u32),
    /// The slot already belongs to a later time: too late to count.
    TooLate,
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Slot(AtomicU64);

impl Slot {
    /// An empty slot of a time long ago.
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

    /// The count, if the slot is of that very stamp.
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

    /// Forgets what is counted here, whatever it belongs to. (A swap, because the model checker does not order a plain store
    /// against a racing update.)
    pub(crate) fn clear(&self) {
        self.0.swap(0, Ordering::AcqRel);
    }

    /// Takes up to `n` from a count of that stamp, and says how many there were to take.
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
    fn a_slot_counts_for_its_own_stamp_alone() {
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
    fn a_later_era_wins_whatever_the_epoch_and_eras_wrap() {
        let slot = Slot::new();
        let _ = slot.add(Stamp::new(255, 9), 1);
        assert_eq!(slot.add(Stamp::new(0, 3), 1), Added::Evicted(Stamp::new(255, 9), 1));
        assert_eq!(slot.add(Stamp::new(255, 10), 1), Added::TooLate);
    }

    /// A count of failures of 100 ms may well not be touched for half a year.
    #[test]
    fn a_slot_that_was_not_used_for_most_of_the_circle_counts_again() {
        for silence in [1, 1 << 27, (1 << 27) + 1, (1 << 28) - (1 << 17)] {
            let slot = Slot::new();
            let _ = slot.add(Stamp::new(1, 7), 2);
            assert_eq!(slot.add(Stamp::new(1, 7 + silence), 1), Added::Evicted(Stamp::new(1, 7), 2), "{silence}");
        }
    }

    #[test]
    fn a_count_saturates() {
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

    /// Two threads count across a change of epoch: nothing is lost, nothing is counted twice.
    #[test]
    fn loom_nothing_is_lost_at_the_change_of_epoch() {
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

    /// Two threads take the last two of three: together they take three.
    #[test]
    fn loom_takers_never_take_more_than_there_is() {
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
