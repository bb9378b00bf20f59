//! Windows over the last calls of a dependency: how many, how many failed, how many were slow.
//!
//! Both windows have a fixed size and cost O(1) a call. [`TimeWindow`] covers the last stretch of time, whatever the traffic.
//! [`CountWindow`] covers the last calls, and slides call by call.

mod count;
mod outcome;
mod time;

#[cfg(all(test, not(seawall_loom)))]
mod tests;

use std::time::Duration;

use self::count::CountWindow;
pub(crate) use self::count::MAX_CALLS;
pub(crate) use self::outcome::{CallOutcome, OutcomeCounts};
use self::time::TimeWindow;
use crate::ground::time::Instant;

/// What a window covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    Time(Duration),
    Calls(u32),
}

/// A window of either kind.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "a box would cost each call a pointer more, to save few bytes a breaker")]
pub(crate) enum OutcomeWindow {
    Time(TimeWindow),
    Calls(CountWindow),
}

impl OutcomeWindow {
    pub(crate) fn new(span: Span) -> Self {
        match span {
            Span::Time(length) => Self::Time(TimeWindow::new(length)),
            Span::Calls(calls) => Self::Calls(CountWindow::new(calls as usize)),
        }
    }

    /// Whether it is a window of this span.
    pub(crate) fn covers(&self, span: Span) -> bool {
        match (self, span) {
            (Self::Time(window), Span::Time(length)) => window.covers(length),
            (Self::Calls(window), Span::Calls(calls)) => window.covers(calls as usize),
            _ => false,
        }
    }

    /// How long an outcome counts; zero for a window of calls.
    pub(crate) fn length(&self) -> Duration {
        match self {
            Self::Time(window) => window.length(),
            Self::Calls(_) => Duration::ZERO,
        }
    }

    /// Counts a call. Returns whether the window has a bad outcome, so that a check of the counts may find something new. A window
    /// without bad outcomes is never summed.
    #[inline]
    pub(crate) fn add(&mut self, now: Instant, outcome: CallOutcome) -> bool {
        match self {
            Self::Time(window) => window.add(now, outcome),
            Self::Calls(window) => window.add(outcome),
        }
    }

    pub(crate) fn counts(&self, now: Instant) -> OutcomeCounts {
        match self {
            Self::Time(window) => window.counts(now),
            Self::Calls(window) => window.counts(),
        }
    }

    /// Discards all counts.
    pub(crate) fn clear(&mut self) {
        match self {
            Self::Time(window) => window.clear(),
            Self::Calls(window) => window.clear(),
        }
    }
}
