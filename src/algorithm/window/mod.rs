//! What a callee's last calls were like: how many, how many failed, how many were slow.
//!
//! Two windows, both of fixed size, lock-free and O(1) a call. [`TimeWindow`] covers the last stretch of time, whatever the
//! traffic; [`CountWindow`] covers the last so many calls, and really slides: what falls out is subtracted.
//!
//! Both are told the *era* of each outcome. When a new era begins, all that was counted is forgotten, and whatever comes late
//! from the era before is dropped. What a [`Window`] covers may change, with a new era.

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

/// Both, of which one counts: they stand side by side, so that the span may change from one kind to the other in place.
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

    /// Covers something else from the next era on, which its caller [begins](Self::begin) at once. Only one caller at a time.
    pub(crate) fn set_span(&self, span: Span) {
        match span {
            Span::Time(length) => self.time.set_length(length),
            Span::Calls(calls) => self.count.set_size(calls as usize),
        }
        self.counts_calls.store(matches!(span, Span::Calls(_)), Ordering::Release);
    }

    /// How long an outcome counts; zero where it counts until so many others have come.
    pub(crate) fn length(&self) -> Duration {
        if self.counts_calls() { Duration::ZERO } else { self.time.length() }
    }

    #[inline]
    fn counts_calls(&self) -> bool {
        // Whoever adds to an era has seen it published after this.
        self.counts_calls.load(Ordering::Relaxed)
    }

    /// Counts one call; says whether there is anything bad in the window, that is, whether a look at the counts can tell
    /// anything new. A window without a single bad outcome never sums anything up.
    #[inline]
    pub(crate) fn add(&self, era: u8, now: Instant, outcome: Outcome) -> bool {
        if self.counts_calls() { self.count.add(era, outcome) } else { self.time.add(era, now, outcome) }
    }

    pub(crate) fn counts(&self, era: u8, now: Instant) -> Counts {
        if self.counts_calls() { self.count.counts(era) } else { self.time.counts(era, now) }
    }

    /// Forgets everything and begins a new era. Only one caller at a time, and nobody adds to the new era before it is done;
    /// those of the era before may still be at it.
    pub(crate) fn begin(&self, era: u8) {
        if self.counts_calls() { self.count.begin(era) } else { self.time.begin() }
    }
}
