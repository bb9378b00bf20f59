//! Which calls are enough to open a breaker, and what they are counted as.

use super::policy::Policy;
use super::row::Length;
use crate::algorithm::window::Counts;
use crate::ground::error::{Trip, TripCause};

/// The watch has seen enough: trip the machine out of this generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) struct Detection {
    pub(crate) generation: u64,
    pub(crate) trip: Trip,
}

/// The rates of a window, if one of them is too high.
pub(super) fn rates(counts: Counts, policy: &Policy) -> Option<Trip> {
    let enough = counts.calls >= u64::from(policy.minimum_calls);
    if enough && policy.too_many_failures(counts.failures as f64, counts.calls as f64) {
        Some(of_window(TripCause::FailureRate, counts, 0))
    } else {
        are_slow(counts, 0, policy).then(|| of_window(TripCause::SlowRate, counts, 0))
    }
}

/// The calls of a window and those in flight past the slow threshold, if too many are slow.
pub(super) fn overdue(counts: Counts, overdue: u64, policy: &Policy) -> Option<Trip> {
    are_slow(counts, overdue, policy).then(|| of_window(TripCause::Hanging, counts, overdue))
}

/// Calls in flight past the slow threshold beside a row of bad ones.
pub(super) fn stall(overdue: u64, row: Length) -> Trip {
    of_row(TripCause::Hanging, row, overdue)
}

/// A row of failures.
pub(super) fn consecutive(row: Length) -> Trip {
    of_row(TripCause::ConsecutiveFailures, Length { silent: 0, ..row }, 0)
}

/// A row of calls without an answer.
pub(super) fn unanswered(row: Length) -> Trip {
    of_row(TripCause::Unanswered, row, 0)
}

fn are_slow(counts: Counts, overdue: u64, policy: &Policy) -> bool {
    let calls = counts.calls + overdue;
    calls >= u64::from(policy.minimum_calls) && policy.too_many_slow((counts.slow + overdue) as f64, calls as f64)
}

fn of_window(cause: TripCause, counts: Counts, overdue: u64) -> Trip {
    Trip {
        calls: count(counts.calls + overdue),
        failures: count(counts.failures),
        slow: count(counts.slow),
        overdue: count(overdue),
        ..Trip::by(cause)
    }
}

fn of_row(cause: TripCause, row: Length, overdue: u64) -> Trip {
    Trip {
        calls: count(row.total() + overdue),
        failures: count(row.bad),
        overdue: count(overdue),
        unanswered: count(row.silent),
        ..Trip::by(cause)
    }
}

fn count(calls: u64) -> u32 {
    u32::try_from(calls).unwrap_or(u32::MAX)
}
