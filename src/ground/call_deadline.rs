//! The deadline of one call, or of one attempt of it: when it began, when it must be over, and the reason that its caller is given.

use std::time::Duration;

use crate::ground::error::{Numbers, Reason, Why};
use crate::ground::scope::Context;
use crate::ground::time::Instant;

/// See the module.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CallDeadline {
    /// When the call, or the attempt, began.
    start: Instant,
    at: Instant,
    /// When what the call leaves in its response must be over, if that is later.
    end: Option<Instant>,
    reason: Reason,
}

impl CallDeadline {
    /// The deadline of what began at `start`.
    #[inline]
    pub(crate) fn new(start: Instant, at: Instant, reason: Reason) -> Self {
        Self { start, at, end: None, reason }
    }

    /// The deadline of what begins now in a call that has this context, or else `max_hold` from now.
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

    /// Why a call that is ended at `now` was, and how much time it had.
    pub(crate) fn why(&self, now: Instant) -> Why {
        let Self { start, at, reason, .. } = *self;
        Why { reason, numbers: Numbers::of_timeout(at.since(start), now.since(start)) }
    }

    #[inline]
    pub(crate) fn start(&self) -> Instant {
        self.start
    }

    /// When there must be an answer.
    #[inline]
    pub(crate) fn at(&self) -> Instant {
        self.at
    }

    #[inline]
    pub(crate) fn reason(&self) -> Reason {
        self.reason
    }

    /// When all of it must be there.
    #[inline]
    pub(crate) fn end(&self) -> Instant {
        self.end.unwrap_or(self.at)
    }

    /// Whether what the call leaves in its response may go on beyond its deadline.
    #[inline]
    pub(crate) fn has_end(&self) -> bool {
        self.end.is_some()
    }
}
