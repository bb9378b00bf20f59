//! The streak: consecutive calls that ended without a good answer.

use std::time::Duration;

use crate::ground::time::Instant;

/// See the module. A good answer replaces it with an empty one.
#[derive(Debug, Default)]
pub(super) struct Streak {
    length: Length,
    began: Option<Instant>,
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
}

impl Streak {
    pub(super) fn add_bad(&mut self, now: Instant) -> Length {
        self.began.get_or_insert(now);
        self.length.bad += 1;
        self.length
    }

    pub(super) fn add_unanswered(&mut self, now: Instant) -> Length {
        self.began.get_or_insert(now);
        self.length.unanswered += 1;
        self.length
    }

    pub(super) fn length(&self) -> Length {
        self.length
    }

    /// Zero while it is empty.
    pub(super) fn age(&self, now: Instant) -> Duration {
        self.began.map_or(Duration::ZERO, |began| now.since(began))
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use super::*;

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(1 << 60) + Duration::from_millis(millis)
    }

    #[test]
    fn streak_is_as_old_as_its_first_call() {
        let mut streak = Streak::default();
        streak.add_unanswered(at(0));
        assert_eq!(streak.add_bad(at(300)), Length { bad: 1, unanswered: 1 });
        assert_eq!((streak.length().total(), streak.age(at(500))), (2, Duration::from_millis(500)));
    }
}
