//! Windows over the last calls of a dependency: how many, how many failed, how many were slow.
//!
//! Both windows have a fixed size, are lock-free and cost O(1) a call. [`TimeWindow`] covers the last stretch of time, whatever the
//! traffic. [`CountWindow`] covers the last calls, and slides call by call.
//!
//! Each outcome comes with its *era*. A new era discards all counts, and drops outcomes of earlier eras that arrive late. The span
//! of a [`Window`] may change with a new era.

mod count;
mod outcome;
mod time;

#[cfg(all(test, not(seawall_loom)))]
mod tests;

use std::time::Duration;

use self::count::CountWindow;
pub(crate) use self::count::MAX_CALLS;
pub(crate) use self::outcome::{Counts, Outcome};
use self::time::TimeWindow;
use crate::ground::sync::atomic::{AtomicBool, Ordering};
use crate::ground::time::Instant;

/// What a window covers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    Time(Duration),
    Calls(u32),
}

/// Both windows, one of them in use, so that the span may change its kind in place.
#[derive(Debug)]
pub(crate) struct Window {
    counts_calls: AtomicBool,
    time: TimeWindow,
    count: CountWindow,
}

impl Window {
    pub(crate) fn new(span: Span) -> Self {
        let (time, count) = (TimeWindow::new(Duration::from_secs(1)), CountWindow::empty());
        let window = Self { counts_calls: AtomicBool::new(false), time, count };
        window.set_span(span);
        window
    }

    /// Sets the span from the next era on, which the caller must [begin](Self::begin) at once. Only one caller at a time.
    pub(crate) fn set_span(&self, span: Span) {
        match span {
            Span::Time(length) => self.time.set_length(length),
            Span::Calls(calls) => self.count.set_size(calls as usize),
        }
        self.counts_calls.store(matches!(span, Span::Calls(_)), Ordering::Release);
    }

    /// How long an outcome counts; zero for a window of calls.
    pub(crate) fn length(&self) -> Duration {
        if self.counts_calls() { Duration::ZERO } else { self.time.length() }
    }

    #[inline]
    fn counts_calls(&self) -> bool {
        // Relaxed is enough: a caller that adds to an era has seen its publication, which comes after this store.
        self.counts_calls.load(Ordering::Relaxed)
    }

    /// Counts a call. Returns whether the window has a bad outcome, so that a check of the counts may find something new. A window
    /// without bad outcomes is never summed.
    #[inline]
    pub(crate) fn add(&self, era: u8, now: Instant, outcome: Outcome) -> bool {
        if self.counts_calls() { self.count.add(era, outcome) } else { self.time.add(era, now, outcome) }
    }

    pub(crate) fn counts(&self, era: u8, now: Instant) -> Counts {
        if self.counts_calls() { self.count.counts(era) } else { self.time.counts(era, now) }
    }

    /// Discards all counts and begins an era. Only one caller at a time. No call may be added to the new era before this returns;
    /// calls of the earlier era may race.
    pub(crate) fn begin(&self, era: u8) {
        if self.counts_calls() { self.count.begin(era) } else { self.time.begin() }
    }
}
