//! The deadline of one call or attempt: its start, its end, and the reason that the caller gets.
//!
//! This is the deadline as one layer enforces it, with a timer beside it where the layer waits. Other types name a deadline for another
//! purpose, and stay apart:
//!
//! | type | what it has | why it is another one |
//! |---|---|---|
//! | `scope::Context` | the instants that inner layers inherit | travels in two words; knows no start and no reason, because each layer has its own |
//! | `OwnDeadline` of the deadline layer | the context inside the layer, with start and reason | the layer sets the context, instead of inheriting it |
//! | `ResponseBounds` of the deadline layer | what bounds the body after the head | durations: their start is not known before the head |
//! | `AttemptBounds` of a retry | a `CallDeadline`, and when the attempt is cut before it | a cut attempt does not end the call |
//! | [`Expiry`](crate::ground::verdict::Expiry) | when a body is cut, by which layer | public through [`Guard`](crate::ground::verdict::Guard), and kept by the reaper without a call |
//! | `Until` of a queue, `WaitLimits` of a bucket | when a wait in a queue ends | part of a decision in `algorithm`, where a call is known only by its numbers |

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

    /// The same deadline for what starts now: nothing of the call has been sent before.
    pub(crate) fn restarted(self, now: Instant) -> Self {
        Self { start: now, ..self }
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
