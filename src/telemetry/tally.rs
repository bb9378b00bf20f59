//! Counts of what happens now and then: refusals, cuts, retries, transitions, reloads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::ground::error::{Numbers, Reason};
use crate::ground::sync::global::{Mutex, lock, try_lock};
use crate::ground::time::{self, Instant};
use crate::ground::verdict::Verdict;

/// The states of a circuit breaker, by the number that the metric has for them. The higher, the less passes; a breaker that is
/// switched off is beside that.
pub(crate) const STATES: [&str; 5] = ["closed", "half_open", "open", "forced_open", "disabled"];

/// Why a retry that would have been in order was not made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotRetried {
    NotRepeatable,
    Attempts,
    RetryAfter,
    Deadline,
    Budget,
}

impl NotRetried {
    pub(crate) const NAMES: [&'static str; 5] = ["not_repeatable", "attempts", "retry_after", "deadline", "budget"];

    pub(crate) const fn as_str(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// A count, and when it was last talked about: the same thing is told at most once a [`QUIET`], with how often it happened
/// meanwhile, so that a storm of refusals is no storm of log lines.
#[derive(Debug, Default)]
pub(crate) struct Count {
    count: AtomicU64,
    /// Nanoseconds; zero: never.
    told_at: AtomicU64,
    /// The count when it was told.
    told: AtomicU64,
}

/// For so long the same thing is not told again.
const QUIET: Duration = Duration::from_secs(1);

impl Count {
    pub(super) const fn new() -> Self {
        Self { count: AtomicU64::new(0), told_at: AtomicU64::new(0), told: AtomicU64::new(0) }
    }

    #[inline]
    pub(crate) fn add(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// Whether it is to be told at `now`, and if so, how often it has happened since it was told last without being told.
    pub(crate) fn to_be_told(&self, now: Instant) -> Option<u64> {
        let told_at = self.told_at.load(Ordering::Relaxed);
        // A time that is further ahead is that of another runtime, whose clock was paused and moved.
        if told_at != 0 && now.as_nanos().abs_diff(told_at) < time::nanos(QUIET) {
            return None;
        }
        // Of several who come at once one tells.
        self.told_at.compare_exchange(told_at, now.as_nanos(), Ordering::Relaxed, Ordering::Relaxed).ok()?;
        let count = self.get();
        // One who is slow to come here must not undo what a later one has told.
        Some(count.saturating_sub(self.told.fetch_max(count, Ordering::Relaxed)).saturating_sub(1))
    }
}

/// All that a layer value counts beside its calls.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) refused: [Count; Reason::ALL.len()],
    /// Of each reason: bodies whose reader waited, and bodies that were put aside.
    pub(crate) bodies_cut: [[Count; 2]; Reason::ALL.len()],
    pub(crate) retried: [Count; Verdict::COUNT],
    pub(crate) not_retried: [Count; NotRetried::NAMES.len()],
    pub(crate) transitions: [[Count; STATES.len()]; STATES.len()],
    /// Calls that a rate limit let start.
    pub(crate) passed: Count,
    /// Reloads that were applied, and such that were refused.
    pub(crate) reloads: [Count; 2],
    last_refusal: Mutex<Option<LastRefusal>>,
}

/// The last call that was refused or cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LastRefusal {
    pub(crate) reason: Reason,
    pub(crate) numbers: Numbers,
    pub(crate) at: Instant,
}

impl Tally {
    pub(crate) const fn new() -> Self {
        Self {
            refused: [const { Count::new() }; Reason::ALL.len()],
            bodies_cut: [const { [const { Count::new() }; 2] }; Reason::ALL.len()],
            retried: [const { Count::new() }; Verdict::COUNT],
            not_retried: [const { Count::new() }; NotRetried::NAMES.len()],
            transitions: [const { [const { Count::new() }; STATES.len()] }; STATES.len()],
            passed: Count::new(),
            reloads: [const { Count::new() }; 2],
            last_refusal: Mutex::new(None),
        }
    }

    pub(crate) fn refuse(&self, reason: Reason, numbers: Numbers, at: Instant) -> &Count {
        // Of several refusals at one moment, one is kept: a storm does not wait for this.
        if let Some(mut last) = try_lock(&self.last_refusal) {
            *last = Some(LastRefusal { reason, numbers, at });
        }
        let count = &self.refused[reason as usize];
        count.add();
        count
    }

    pub(crate) fn last_refusal(&self) -> Option<LastRefusal> {
        *lock(&self.last_refusal)
    }

    /// How often something happened, by name, without what never did.
    pub(crate) fn occurred<'a>(
        counts: &'a [Count],
        names: impl IntoIterator<Item = &'static str> + 'a,
    ) -> impl Iterator<Item = (&'static str, u64)> + 'a {
        names.into_iter().zip(counts).map(|(name, count)| (name, count.get())).filter(|(_, count)| *count > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: Instant = Instant::from_nanos(1 << 63);

    #[test]
    fn reasons_stand_in_the_order_of_their_numbers() {
        for (number, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, number, "{reason:?}");
        }
    }

    #[test]
    fn the_same_is_told_once_a_second_with_what_was_left_out() {
        let count = Count::default();
        let happens = |millis| {
            count.add();
            count.to_be_told(START + Duration::from_millis(millis))
        };
        assert_eq!(happens(0), Some(0));
        assert_eq!([happens(1), happens(500), happens(999)], [None; 3]);
        assert_eq!(happens(1000), Some(3));
        assert_eq!(happens(2500), Some(0));
        assert_eq!([happens(2400), happens(600)], [None, Some(1)]);
    }

    #[test]
    fn the_last_refusal_is_known_with_its_reason_and_numbers() {
        let tally = Tally::new();
        assert_eq!(tally.last_refusal(), None);
        let numbers = Numbers::NONE.with_waiting(3).with_limit(16);
        let refusals = [
            LastRefusal { reason: Reason::DeadlineExpired, numbers: Numbers::NONE, at: START },
            LastRefusal { reason: Reason::RateLimited, numbers, at: START + Duration::from_secs(1) },
        ];
        for refusal in refusals {
            tally.refuse(refusal.reason, refusal.numbers, refusal.at);
            assert_eq!(tally.last_refusal(), Some(refusal));
        }
    }
}
