//! The bounds of a call and of each attempt.

use std::task::{self, Poll};

use tower::BoxError;

use super::call_settings::RetryCallSettings;
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

/// When an attempt that starts now is cut, if that is before the end of the call. The head of a long poll or a long upload arrives
/// late, so an attempt may take all of such a call's time.
pub(super) fn attempt_cut(
    call: &CallDeadline,
    inherited: &Context,
    settings: &RetryCallSettings,
    now: Instant,
) -> Option<Instant> {
    let may_take_all = inherited.lasts() && inherited.end() <= inherited.deadline;
    settings.attempt_timeout.map(|timeout| now + timeout).filter(|at| *at < call.at() && !may_take_all)
}

/// The bounds of an attempt.
#[derive(Clone, Copy, Debug)]
pub(super) struct AttemptBounds {
    pub(super) call: CallDeadline,
    /// When the attempt is cut, if that is before the end of the call.
    pub(super) cut: Option<Instant>,
    /// When the attempt started.
    pub(super) since: Instant,
    /// Whether there is a failure of an earlier attempt to return.
    pub(super) has_failed: bool,
}

impl AttemptBounds {
    fn deadline(&self) -> CallDeadline {
        self.cut.map_or(self.call, |at| CallDeadline::new(self.since, at, Reason::AttemptTimeout))
    }

    /// Ready when the attempt has timed out. Poll this after the attempt, or a result that is ready in time would be lost.
    ///
    /// While there is a failure to return, this layer enforces the deadline itself: the outer layer that enforces it does not know
    /// of the failure, and would return its own error instead.
    pub(super) fn poll_cut<T>(
        &self,
        timer: &mut Timer,
        cx: &mut task::Context<'_>,
        was_waiting: bool,
        layer_id: LayerId,
    ) -> Poll<(Verdict, Result<T, BoxError>)> {
        let _entered = self.has_failed.then(|| scope::enter(scope::current().with_enforced(false)));
        poll_deadline(&self.deadline(), timer, cx).map(|why| {
            // An attempt that was not sent says nothing about the dependency.
            let unsent = was_waiting && why.reason == Reason::AttemptTimeout;
            let refusal =
                telemetry::refuse(layer_id, if unsent { Why { reason: Reason::NotReady, ..why } } else { why });
            (refusal.rejected().verdict(), Err(reject(refusal)))
        })
    }
}

/// The context of a call for its attempt of this number. Where retries are disabled, an outer retry numbers the attempts.
#[inline]
pub(super) fn numbered(context: Context, settings: &RetryCallSettings, attempt: u32) -> Context {
    if settings.enabled { context.with_attempt(attempt).paid_in() } else { context }
}

/// The context of an attempt: inner layers see the deadline of the attempt instead of that of the call. They wait no longer than
/// that, and a dependency that hangs for all of it counts as hanging.
pub(super) fn inside(context: Context, cut: Option<Instant>) -> Context {
    match cut {
        Some(_) if context.lasts() => context.with_deadline(cut).with_enforced(true),
        Some(_) => context.with_deadline(cut).with_end(None, false).with_enforced(true),
        None => context,
    }
}
