//! Which calls open a breaker, and how the trip reports them.

use super::policy::BreakerPolicy;
use super::streak::Length;
use super::window::OutcomeCounts;
use crate::ground::error::{Trip, TripCause};

/// Calls of this generation show an outage: trip the machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct Detection {
    pub(crate) generation: u64,
    pub(crate) trip: Trip,
}

/// The trip by the rates of a window, if one of them is too high.
pub(super) fn rates(counts: OutcomeCounts, policy: &BreakerPolicy) -> Option<Trip> {
    let enough = counts.calls >= u64::from(policy.minimum_calls);
    if enough && policy.too_many_failures(counts.failures as f64, counts.calls as f64) {
        Some(of_window(TripCause::FailureRate, counts, 0))
    } else {
        are_slow(counts, 0, policy).then(|| of_window(TripCause::SlowRate, counts, 0))
    }
}

/// The trip by slow calls, with those in flight past the slow threshold, if too many are slow.
pub(super) fn overdue(counts: OutcomeCounts, overdue: u64, policy: &BreakerPolicy) -> Option<Trip> {
    are_slow(counts, overdue, policy).then(|| of_window(TripCause::Hanging, counts, overdue))
}

/// Calls in flight past the slow threshold, with a streak of bad ones.
pub(super) fn stall(overdue: u64, streak: Length) -> Trip {
    of_streak(TripCause::Hanging, streak, overdue)
}

/// A streak of failures.
pub(super) fn consecutive(streak: Length) -> Trip {
    of_streak(TripCause::ConsecutiveFailures, Length { unanswered: 0, ..streak }, 0)
}

/// A streak of calls without an answer. `is_unreachable`: the last one was refused at once.
pub(super) fn unanswered(streak: Length, is_unreachable: bool) -> Trip {
    Trip { is_unreachable, ..of_streak(TripCause::Unanswered, streak, 0) }
}

fn are_slow(counts: OutcomeCounts, overdue: u64, policy: &BreakerPolicy) -> bool {
    let calls = counts.calls + overdue;
    calls >= u64::from(policy.minimum_calls) && policy.too_many_slow((counts.slow + overdue) as f64, calls as f64)
}

fn of_window(cause: TripCause, counts: OutcomeCounts, overdue: u64) -> Trip {
    Trip {
        calls: count(counts.calls + overdue),
        failures: count(counts.failures),
        slow: count(counts.slow),
        overdue: count(overdue),
        ..Trip::by(cause)
    }
}

fn of_streak(cause: TripCause, streak: Length, overdue: u64) -> Trip {
    Trip {
        calls: count(streak.total() + overdue),
        failures: count(streak.bad),
        overdue: count(overdue),
        unanswered: count(streak.unanswered),
        ..Trip::by(cause)
    }
}

fn count(calls: u64) -> u32 {
    u32::try_from(calls).unwrap_or(u32::MAX)
}
