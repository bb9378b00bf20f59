//! The streak: consecutive calls that ended without a good answer.

use std::time::Duration;

use crate::ground::sync::atomic::{AtomicU64, Ordering};
use crate::ground::time::Instant;

const ERA_BITS: u32 = 8;
const COUNT_BITS: u32 = 28;
const MAX_COUNT: u64 = (1 << COUNT_BITS) - 1;

/// Both counts share one word with their era, so that a good answer ends the streak in one step, and a call of an older era neither
/// extends nor ends it.
#[derive(Debug)]
pub(super) struct Streak {
    word: AtomicU64,
    /// Nanoseconds; meaningless while the streak is empty.
    began: AtomicU64,
}

/// The length of a streak.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Length {
    /// Failures.
    pub(super) bad: u64,
    /// Calls without an answer, which count only while no call is answered.
    pub(super) unanswered: u64,
}

impl Length {
    pub(super) fn total(self) -> u64 {
        self.bad + self.unanswered
    }

    fn unpack(word: u64) -> Self {
        Self { bad: word >> ERA_BITS & MAX_COUNT, unanswered: word >> (ERA_BITS + COUNT_BITS) }
    }

    fn pack(self, era: u8) -> u64 {
        self.unanswered.min(MAX_COUNT) << (ERA_BITS + COUNT_BITS) | self.bad.min(MAX_COUNT) << ERA_BITS | u64::from(era)
    }
}

impl Streak {
    pub(super) fn new() -> Self {
        Self { word: AtomicU64::new(0), began: AtomicU64::new(0) }
    }

    /// Begins an era with an empty streak.
    pub(super) fn begin_era(&self, era: u8) {
        self.word.swap(u64::from(era), Ordering::AcqRel);
    }

    /// A good answer ends the streak.
    #[inline]
    pub(super) fn end(&self, era: u8) {
        if self.word.load(Ordering::Acquire) != u64::from(era) {
            let _ = self.word.fetch_update(Ordering::AcqRel, Ordering::Acquire, |word| {
                (word as u8 == era).then_some(u64::from(era))
            });
        }
    }

    pub(super) fn add_bad(&self, era: u8, now: Instant) -> Length {
        self.add(era, now, Length { bad: 1, unanswered: 0 })
    }

    pub(super) fn add_unanswered(&self, era: u8, now: Instant) -> Length {
        self.add(era, now, Length { bad: 0, unanswered: 1 })
    }

    /// Extends the streak, and returns its new length; empty if the era is over.
    fn add(&self, era: u8, now: Instant, more: Length) -> Length {
        let mut word = self.word.load(Ordering::Acquire);
        loop {
            if word as u8 != era {
                return Length::default();
            }
            let before = Length::unpack(word);
            if before.total() == 0 {
                // Stored before the count, so that no call reads the start of an older streak with this one. A racing first call
                // may store a later time, which shortens the streak by a moment.
                self.began.store(now.as_nanos(), Ordering::Release);
            }
            let after = Length { bad: before.bad + more.bad, unanswered: before.unanswered + more.unanswered };
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

    /// The age of a streak that is not empty.
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
    fn good_answer_ends_the_streak() {
        let streak = Streak::new();
        streak.add_unanswered(0, at(0));
        assert_eq!(streak.add_bad(0, at(300)), Length { bad: 1, unanswered: 1 });
        assert_eq!(streak.age(at(500)), Duration::from_millis(500));
        streak.end(0);
        assert_eq!(streak.length(0), Length::default());
        streak.add_unanswered(0, at(1000));
        assert_eq!(streak.age(at(1100)), Duration::from_millis(100));
    }

    #[test]
    fn other_eras_leave_the_streak_unchanged() {
        let streak = Streak::new();
        streak.begin_era(7);
        streak.add_bad(7, at(0));
        streak.end(6);
        assert_eq!(streak.add_bad(6, at(0)), Length::default());
        assert_eq!(streak.length(7), Length { bad: 1, unanswered: 0 });
        assert_eq!(streak.length(6), Length::default());
    }

    #[test]
    fn streak_counts_saturate() {
        let streak = Streak::new();
        let word = Length { bad: MAX_COUNT, unanswered: MAX_COUNT }.pack(3);
        streak.word.store(word, Ordering::Relaxed);
        streak.add_bad(3, at(0));
        streak.add_unanswered(3, at(0));
        assert_eq!(streak.length(3), Length { bad: MAX_COUNT, unanswered: MAX_COUNT });
    }
}
