//! When a call ends, and when one attempt of it does.

use std::task::{self, Poll};

use tower::BoxError;

use super::terms::Terms;
use crate::admission::timer::Timer;
use crate::ground::error::{Reason, Rejected, Why};
use crate::ground::scope::{self, Context};
use crate::ground::time::Instant;
use crate::ground::verdict::Verdict;
use crate::layers::call::bound::Limits;
use crate::layers::call::inner::reject;
use crate::telemetry::Source;

/// The bound of a whole call.
#[derive(Clone, Copy, Debug)]
pub(super) struct Limit {
    pub(super) start: Instant,
    pub(super) at: Instant,
    reason: Reason,
    /// Whether an attempt may take all of the call's time: the head of a long poll or a long upload comes late.
    may_take_all: bool,
}

impl Limit {
    pub(super) fn new(inherited: Context, terms: &Terms, start: Instant) -> Self {
        let may_take_all = inherited.lasts() && inherited.end() <= inherited.deadline;
        match inherited.deadline {
            Some(at) => Self { start, at, reason: Reason::DeadlineExceeded, may_take_all },
            None => Self { start, at: start + terms.max_hold(), reason: Reason::HoldExceeded, may_take_all },
        }
    }

    /// When an attempt that begins now is cut, if that is before the call is.
    pub(super) fn cut(self, terms: &Terms, now: Instant) -> Option<Instant> {
        terms.attempt_timeout().map(|timeout| now + timeout).filter(|at| *at < self.at && !self.may_take_all)
    }

    /// The deadline of an attempt that began at `since`, and is cut at `cut` if that is before the call is.
    fn of_attempt(self, cut: Option<Instant>, since: Instant) -> Limits {
        match cut {
            Some(at) => Limits::new(since, at, Reason::AttemptTimeout),
            None => Limits::new(self.start, self.at, self.reason),
        }
    }

    /// Ready when the attempt that began at `since` has lasted too long. Poll this after the attempt: what is ready in time is not
    /// thrown away.
    ///
    /// While there is a failure to return, the call ends at its deadline by itself: the layer that enforces the deadline around us
    /// does not know of the failure, and would return an error of its own instead.
    #[allow(clippy::too_many_arguments, reason = "parts of one future, which borrows them apart")]
    pub(super) fn poll_cut<T>(
        self,
        cut: Option<Instant>,
        since: Instant,
        timer: &mut Timer,
        cx: &mut task::Context<'_>,
        has_failed: bool,
        was_waiting: bool,
        source: Source,
    ) -> Poll<(Verdict, Result<T, BoxError>)> {
        let _entered = has_failed.then(|| scope::enter(scope::current().with_enforced(false)));
        self.of_attempt(cut, since).poll(timer, cx).map(|why| {
            // An attempt that was not sent says nothing about the callee.
            let unsent = was_waiting && why.reason == Reason::AttemptTimeout;
            let rejected = Rejected::by(source, if unsent { Why { reason: Reason::NotReady, ..why } } else { why });
            (rejected.verdict(), Err(reject(rejected)))
        })
    }
}

/// The context of a call for its attempt of this number. Where retries are switched off, a retry further out is the one that counts.
#[inline]
pub(super) fn numbered(context: Context, terms: &Terms, attempt: u32) -> Context {
    if terms.enabled() { context.with_attempt(attempt) } else { context }
}

/// What is further in sees the time of its attempt and not that of the whole call: it waits no longer than that, and a
/// callee that hangs for all of it has hung.
pub(super) fn inside(context: Context, cut: Option<Instant>) -> Context {
    match cut {
        Some(_) if context.lasts() => context.with_deadline(cut).with_enforced(true),
        Some(_) => context.with_deadline(cut).with_end(None, false).with_enforced(true),
        None => context,
    }
}
