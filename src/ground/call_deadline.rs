//! The deadline of one call or attempt: its start, its end, and the reason that the caller gets.

use std::time::Duration;

use crate::ground::error::{Numbers, Reason, Why};
use crate::ground::scope::Context;
use crate::ground::time::Instant;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallDeadline {
    /// The start of the call or attempt.
    start: Instant,
    at: Instant,
    /// The end of the response's body, if it is later.
    end: Option<Instant>,
    reason: Reason,
}

impl CallDeadline {
    /// The deadline of a call or attempt that began at `start`.
    #[inline]
    pub(crate) fn new(start: Instant, at: Instant, reason: Reason) -> Self {
        Self { start, at, end: None, reason }
    }

    /// The deadline of a call that begins now in this context, or `max_hold` from now without one.
    #[inline]
    pub(crate) fn within(now: Instant, context: &Context, max_hold: Duration) -> Self {
        match context.deadline {
            Some(at) => Self { end: context.end(), ..Self::new(now, at, Reason::DeadlineExceeded) },
            None => Self::new(now, now + max_hold, Reason::HoldExceeded),
        }
    }

    /// For a call that is over before it begins.
    #[inline]
    pub(crate) fn never() -> Self {
        Self::new(Instant::MAX, Instant::MAX, Reason::HoldExceeded)
    }

    /// The reason for ending the call at `now`, with the time that it had.
    pub(crate) fn why(&self, now: Instant) -> Why {
        let Self { start, at, reason, .. } = *self;
        Why { reason, numbers: Numbers::of_timeout(at.since(start), now.since(start)) }
    }

    #[inline]
    pub(crate) fn start(&self) -> Instant {
        self.start
    }

    /// The deadline of the answer.
    #[inline]
    pub(crate) fn at(&self) -> Instant {
        self.at
    }

    #[inline]
    pub(crate) fn reason(&self) -> Reason {
        self.reason
    }

    /// The end of the whole response.
    #[inline]
    pub(crate) fn end(&self) -> Instant {
        self.end.unwrap_or(self.at)
    }

    /// Whether the body of the response may continue beyond the deadline.
    #[inline]
    pub(crate) fn has_end(&self) -> bool {
        self.end.is_some()
    }
}
