//! Counts of rare events: refusals, cuts, retries, transitions, reloads.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::ground::error::{Injected, Numbers, Reason};
use crate::ground::sync::global::{Mutex, lock, try_lock};
use crate::ground::time::{self, Instant};
use crate::ground::verdict::{Cause, Verdict};

/// The states of a circuit breaker, by their number in the metric. The higher, the fewer calls pass; disabled is outside that
/// order.
pub(crate) const STATES: [&str; 5] = ["closed", "half_open", "open", "forced_open", "disabled"];

/// Why a retryable attempt was not retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotRetried {
    NotRepeatable,
    Attempts,
    RetryAfter,
    Deadline,
    Budget,
    NotHelping,
    /// Of a hedge: useless hedges have taken their share of the time.
    TimeRatio,
    /// Of a hedge: a layer further in has refused it.
    Refused,
}

impl NotRetried {
    pub(crate) const NAMES: [&'static str; 8] =
        ["not_repeatable", "attempts", "retry_after", "deadline", "budget", "not_helping", "time_ratio", "refused"];

    pub(crate) const fn as_str(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// Why a fallback did not answer a failed call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NoFallback {
    /// It failed, too.
    Failed,
    /// It chose not to answer.
    Declined,
    /// The deadline of the call passed.
    Deadline,
    /// The request may have been executed, and may not be sent to a second service.
    NotRepeatable,
}

impl NoFallback {
    pub(crate) const NAMES: [&'static str; 4] = ["failed", "declined", "deadline", "not_repeatable"];

    pub(crate) const fn as_str(self) -> &'static str {
        Self::NAMES[self as usize]
    }
}

/// A count, and when it was last logged. An event is logged at most once per [`LOG_INTERVAL`], with the number of suppressed ones,
/// so that a storm of refusals does not become a storm of log lines.
#[derive(Debug, Default)]
pub(crate) struct Count {
    count: AtomicU64,
    /// Nanoseconds; zero: never.
    logged_at: AtomicU64,
    /// The count when it was logged.
    logged: AtomicU64,
}

/// The least time between two log lines of one count.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

impl Count {
    pub(super) const fn new() -> Self {
        Self { count: AtomicU64::new(0), logged_at: AtomicU64::new(0), logged: AtomicU64::new(0) }
    }

    #[inline]
    pub(crate) fn add(&self) {
        self.count.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.count.load(Ordering::Relaxed)
    }

    /// `Some` if the event is to be logged at `now`, with the number of events suppressed since the last log line. Returns `Some`
    /// to at most one caller per interval.
    pub(crate) fn due_log(&self, now: Instant) -> Option<u64> {
        let logged_at = self.logged_at.load(Ordering::Relaxed);
        // A much later instant is of another runtime, whose clock was paused and advanced.
        if logged_at != 0 && now.as_nanos().abs_diff(logged_at) < time::nanos(LOG_INTERVAL) {
            return None;
        }
        // Of several racing callers one logs.
        self.logged_at.compare_exchange(logged_at, now.as_nanos(), Ordering::Relaxed, Ordering::Relaxed).ok()?;
        let count = self.get();
        // A caller that is slow here must not undo the record of a later one.
        Some(count.saturating_sub(self.logged.fetch_max(count, Ordering::Relaxed)).saturating_sub(1))
    }
}

/// The counts of a layer value, except those of its calls.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) refused: [Count; Reason::ALL.len()],
    /// By reason: bodies that were being read, and parked bodies.
    pub(crate) bodies_cut: [[Count; 2]; Reason::ALL.len()],
    pub(crate) retried: [Count; Verdict::COUNT],
    pub(crate) not_retried: [Count; NotRetried::NAMES.len()],
    /// Failed calls that a fallback answered.
    pub(crate) fallbacks: [Count; Cause::COUNT],
    /// Failed calls that it did not answer.
    pub(crate) no_fallback: [Count; NoFallback::NAMES.len()],
    /// Calls with an injected fault.
    pub(crate) injected: [Count; Injected::FAULTS.len()],
    /// Calls that would have had one, beyond the cap.
    pub(crate) spared: Count,
    /// The ends of a time of faults.
    pub(crate) chaos_over: Count,
    pub(crate) transitions: [[Count; STATES.len()]; STATES.len()],
    /// Hedges of attempts that were slow, and calls that a hedge answered.
    pub(crate) hedged: Count,
    pub(crate) hedges_won: Count,
    /// Fingerprints that were quarantined.
    pub(crate) quarantines: Count,
    /// Calls that a rate limit admitted.
    pub(crate) passed: Count,
    /// Reloads that were applied, and that were rejected.
    pub(crate) reloads: [Count; 2],
    /// Active checks of endpoints that passed, and that failed.
    pub(crate) endpoint_checks: [Count; 2],
    last_refusal: Mutex<Option<TalliedRefusal>>,
}

/// The last call that was refused or cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TalliedRefusal {
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
            fallbacks: [const { Count::new() }; Cause::COUNT],
            no_fallback: [const { Count::new() }; NoFallback::NAMES.len()],
            injected: [const { Count::new() }; Injected::FAULTS.len()],
            spared: Count::new(),
            chaos_over: Count::new(),
            transitions: [const { [const { Count::new() }; STATES.len()] }; STATES.len()],
            hedged: Count::new(),
            hedges_won: Count::new(),
            quarantines: Count::new(),
            passed: Count::new(),
            reloads: [const { Count::new() }; 2],
            endpoint_checks: [const { Count::new() }; 2],
            last_refusal: Mutex::new(None),
        }
    }

    pub(crate) fn refuse(&self, reason: Reason, numbers: Numbers, at: Instant) -> &Count {
        // Of racing refusals one is kept: a call does not wait for this lock.
        if let Some(mut last) = try_lock(&self.last_refusal) {
            *last = Some(TalliedRefusal { reason, numbers, at });
        }
        let count = &self.refused[reason as usize];
        count.add();
        count
    }

    pub(crate) fn last_refusal(&self) -> Option<TalliedRefusal> {
        *lock(&self.last_refusal)
    }

    /// The counts that are not zero, by name.
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
    fn reasons_are_in_the_order_of_their_numbers() {
        for (number, reason) in Reason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, number, "{reason:?}");
        }
    }

    #[test]
    fn event_is_logged_once_a_second_with_suppressed_count() {
        let count = Count::default();
        let happens = |millis| {
            count.add();
            count.due_log(START + Duration::from_millis(millis))
        };
        assert_eq!(happens(0), Some(0));
        assert_eq!([happens(1), happens(500), happens(999)], [None; 3]);
        assert_eq!(happens(1000), Some(3));
        assert_eq!(happens(2500), Some(0));
        assert_eq!([happens(2400), happens(600)], [None, Some(1)]);
    }

    #[test]
    fn last_refusal_has_its_reason_and_numbers() {
        let tally = Tally::new();
        assert_eq!(tally.last_refusal(), None);
        let numbers = Numbers::NONE.with_waiting(3).with_limit(16);
        let refusals = [
            TalliedRefusal { reason: Reason::DeadlineExpired, numbers: Numbers::NONE, at: START },
            TalliedRefusal { reason: Reason::RateLimited, numbers, at: START + Duration::from_secs(1) },
        ];
        for refusal in refusals {
            tally.refuse(refusal.reason, refusal.numbers, refusal.at);
            assert_eq!(tally.last_refusal(), Some(refusal));
        }
    }
}
