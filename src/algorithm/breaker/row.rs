//! The row: calls that ended without a good answer since the last good one.

use std::time::Duration;

use crate::ground::sync::atomic::{AtomicU64, Ordering};
use crate::ground::time::Instant;

const ERA_BITS: u32 = 8;
const COUNT_BITS: u32 = 28;
const MOST: u64 = (1 << COUNT_BITS) - 1;

/// Both counts stand in one word with their era, so that a good answer ends the row in one step, and calls of an older era
/// neither lengthen nor end it.
#[derive(Debug)]
pub(super) struct Row {
    word: AtomicU64,
    /// Nanoseconds; of no meaning while the row is empty.
    began: AtomicU64,
}

/// How long a row is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Length {
    /// Failures.
    pub(super) bad: u64,
    /// Calls without any answer, which prove something only while there are no answers at all.
    pub(super) silent: u64,
}

impl Length {
    pub(super) fn total(self) -> u64 {
        self.bad + self.silent
    }

    fn unpack(word: u64) -> Self {
        Self { bad: word >> ERA_BITS & MOST, silent: word >> (ERA_BITS + COUNT_BITS) }
    }

    fn pack(self, era: u8) -> u64 {
        self.silent.min(MOST) << (ERA_BITS + COUNT_BITS) | self.bad.min(MOST) << ERA_BITS | u64::from(era)
    }
}

impl Row {
    pub(super) fn new() -> Self {
        Self { word: AtomicU64::new(0), began: AtomicU64::new(0) }
    }

    /// A new era: the row is empty.
    pub(super) fn begin_era(&self, era: u8) {
        self.word.swap(u64::from(era), Ordering::AcqRel);
    }

    /// A good answer.
    #[inline]
    pub(super) fn end(&self, era: u8) {
        if self.word.load(Ordering::Acquire) != u64::from(era) {
            let _ = self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
                (word as u8 == era).then_some(u64::from(era))
            });
        }
    }

    pub(super) fn add_bad(&self, era: u8, now: Instant) -> Length {
        self.add(era, now, Length { bad: 1, silent: 0 })
    }

    pub(super) fn add_silent(&self, era: u8, now: Instant) -> Length {
        self.add(era, now, Length { bad: 0, silent: 1 })
    }

    /// The row as it is then; empty if the era is over.
    fn add(&self, era: u8, now: Instant, more: Length) -> Length {
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            if word as u8 != era {
                return Length::default();
            }
            let before = Length::unpack(word);
            if before.total() == 0 {
                // First, so that no call finds a long row with the beginning of an older one. (Another first call may write a later
                // time over it, which makes the row seem shorter by moments.)
                self.began.store(now.as_nanos(), Ordering::Release);
            }
            let after = Length { bad: before.bad + more.bad, silent: before.silent + more.silent };
            match self.word.compare_exchange_weak(word, after.pack(era), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return after,
                Err(actual) => word = actual,
            }
        }
    }

    pub(super) fn length(&self, era: u8) -> Length {
        let word = self.word.load(Ordering::Acquire);
        if word as u8 == era { Length::unpack(word) } else { Length::default() }
    }

    /// For how long a row that is not empty has lasted.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.since(Instant::from_nanos(self.began.load(Ordering::Acquire)))
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(1 << 60) + Duration::from_millis(millis)
    }

    #[test]
    fn row_ends_with_a_good_answer_and_is_as_old_as_its_first_call() {
        let row = Row::new();
        row.add_silent(0, at(0));
        assert_eq!(row.add_bad(0, at(300)), Length { bad: 1, silent: 1 });
        assert_eq!(row.age(at(500)), Duration::from_millis(500));
        row.end(0);
        assert_eq!(row.length(0), Length::default());
        row.add_silent(0, at(1000));
        assert_eq!(row.age(at(1100)), Duration::from_millis(100));
    }

    #[test]
    fn row_of_another_era_is_neither_lengthened_nor_ended() {
        let row = Row::new();
        row.begin_era(7);
        row.add_bad(7, at(0));
        row.end(6);
        assert_eq!(row.add_bad(6, at(0)), Length::default());
        assert_eq!(row.length(7), Length { bad: 1, silent: 0 });
        assert_eq!(row.length(6), Length::default());
    }

    #[test]
    fn row_counts_saturate() {
        let row = Row::new();
        let word = Length { bad: MOST, silent: MOST }.pack(3);
        row.word.store(word, Ordering::Relaxed);
        row.add_bad(3, at(0));
        row.add_silent(3, at(0));
        assert_eq!(row.length(3), Length { bad: MOST, silent: MOST });
    }
}
