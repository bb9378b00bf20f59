//! When a call ends, and when one attempt of it does.

use std::task::{self, Poll};

use tower::BoxError;

use super::call_settings::CallSettings;
use crate::admission::timer::Timer;
use crate::ground::call_deadline::CallDeadline;
use crate::ground::error::{Reason, Why};
use crate::ground::layer_id::LayerId;
use crate::ground::scope::{self, Context};
use crate::ground::time::Instant;
use crate::ground::verdict::Verdict;
use crate::layers::call::bound::poll_deadline;
use crate::layers::call::inner::reject;
use crate::telemetry;

/// When an attempt that begins now is cut, if that is before the call is. (The head of a long poll or a long upload comes late: an
/// attempt may take all of such a call's time.)
pub(super) fn attempt_cut(
    call: &CallDeadline,
    inherited: &Context,
    settings: &CallSettings,
    now: Instant,
) -> Option<Instant> {
    let may_take_all = inherited.lasts() && inherited.end() <= inherited.deadline;
    settings.attempt_timeout.map(|timeout| now + timeout).filter(|at| *at < call.at() && !may_take_all)
}

/// What bounds an attempt.
#[derive(Clone, Copy, Debug)]
pub(super) struct AttemptBounds {
    pub(super) call: CallDeadline,
    /// When the attempt is cut, if that is before the call is.
    pub(super) cut: Option<Instant>,
    /// When the attempt began.
    pub(super) since: Instant,
    /// Whether there is a failure of an earlier attempt to return.
    pub(super) has_failed: bool,
}

impl AttemptBounds {
    fn deadline(&self) -> CallDeadline {
        self.cut.map_or(self.call, |at| CallDeadline::new(self.since, at, Reason::AttemptTimeout))
    }

    /// Ready when the attempt has lasted too long. Poll this after the attempt: what is ready in time is not thrown away.
    ///
    /// While there is a failure to return, the call ends at its deadline by itself: the layer that enforces the deadline around us
    /// does not know of the failure, and would return an error of its own instead.
    pub(super) fn poll_cut<T>(
        &self,
        timer: &mut Timer,
        cx: &mut task::Context<'_>,
        was_waiting: bool,
        layer_id: LayerId,
    ) -> Poll<(Verdict, Result<T, BoxError>)> {
        let _entered = self.has_failed.then(|| scope::enter(scope::current().with_enforced(false)));
        poll_deadline(&self.deadline(), timer, cx).map(|why| {
            // An attempt that was not sent says nothing about the callee.
            let unsent = was_waiting && why.reason == Reason::AttemptTimeout;
            let refusal =
                telemetry::refuse(layer_id, if unsent { Why { reason: Reason::NotReady, ..why } } else { why });
            (refusal.rejected().verdict(), Err(reject(refusal)))
        })
    }
}

/// The context of a call for its attempt of this number. Where retries are switched off, a retry further out is the one that counts.
#[inline]
pub(super) fn numbered(context: Context, settings: &CallSettings, attempt: u32) -> Context {
    if settings.enabled { context.with_attempt(attempt) } else { context }
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
