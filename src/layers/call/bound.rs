//! The bound on a call: whoever holds something for it lets go at the deadline, or after `max_hold` where there is none.

use std::task::{Context, Poll};
use std::time::Duration;

use crate::admission::timer::Timer;
use crate::ground::error::{Numbers, Reason, Why};
use crate::ground::layer_id::LayerId;
use crate::ground::scope;
use crate::ground::time::{self, Instant};
use crate::ground::verdict::Expiry;

/// `max_hold` where nothing else is configured: the bound of a call without a deadline.
pub(crate) const DEFAULT_MAX_HOLD: Duration = Duration::from_secs(60);

/// When a call must be over, and why. Costs nothing until it is polled.
#[derive(Debug)]
pub(crate) struct Bound {
    limits: Limits,
    timer: Timer,
}

/// The same without the timer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// When what is bounded began.
    start: Instant,
    at: Instant,
    /// When what the call leaves in its response must be over, if that is later.
    end: Option<Instant>,
    reason: Reason,
}

impl Limits {
    /// The deadline of what began at `start`.
    #[inline]
    pub(crate) fn new(start: Instant, at: Instant, reason: Reason) -> Self {
        Self { start, at, end: None, reason }
    }

    /// Ready when the time is over. Poll this after the call itself: what is ready in time is not thrown away.
    ///
    /// No timer is armed while a layer around us, in this very task, ends the call at the same time or before. That is
    /// asked on each poll, since the call may have been moved to another task, or be shared with one.
    #[inline]
    pub(crate) fn poll(&self, timer: &mut Timer, cx: &mut Context<'_>) -> Poll<Why> {
        if scope::current().ends_by(self.at) && scope::is_enforced_for(cx.waker()) {
            return Poll::Pending;
        }
        timer.poll_until(cx, self.at).map(|()| self.why(time::now()))
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
    pub(crate) fn deadline(&self) -> Instant {
        self.at
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

    /// The bound of what the call leaves in its response.
    #[inline]
    pub(crate) fn expiry(&self, layer_id: LayerId) -> Expiry {
        Expiry::new(layer_id, self.end(), self.reason).since(self.start)
    }
}

impl Bound {
    /// The bound of a call that begins now: its deadline, or else `max_hold`.
    #[inline]
    pub(crate) fn new(now: Instant, max_hold: Duration) -> Self {
        Self::within(now, &scope::current(), max_hold)
    }

    /// The bound of what begins now in a call that has this context.
    #[inline]
    pub(crate) fn within(now: Instant, context: &scope::Context, max_hold: Duration) -> Self {
        match context.deadline {
            Some(deadline) => {
                let bound = Self::at(now, deadline, Reason::DeadlineExceeded);
                Self { limits: Limits { end: context.end(), ..bound.limits }, ..bound }
            }
            None => Self::at(now, now + max_hold, Reason::HoldExceeded),
        }
    }

    /// The bound of what began at `start`.
    #[inline]
    pub(crate) fn at(start: Instant, at: Instant, reason: Reason) -> Self {
        Self { limits: Limits::new(start, at, reason), timer: Timer::new() }
    }

    /// For a call that is over before it begins.
    #[inline]
    pub(crate) fn never() -> Self {
        Self::at(Instant::MAX, Instant::MAX, Reason::HoldExceeded)
    }

    #[inline]
    pub(crate) fn instant(&self) -> Instant {
        self.limits.at
    }

    #[inline]
    pub(crate) fn limits(&self) -> Limits {
        self.limits
    }

    /// The call is over, and nothing is waited for.
    #[inline]
    pub(crate) fn disarm(&mut self) {
        self.timer.disarm();
    }

    /// Ready when the time is over. See [`Limits::poll`].
    #[inline]
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Why> {
        self.limits.poll(&mut self.timer, cx)
    }
}
