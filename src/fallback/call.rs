//! What a call needs while a fallback may follow: its bound, its context, and how it is reported.

use std::sync::Arc;
use std::task::{self, Poll};

use tower::BoxError;

use crate::admission::timer::Timer;
use crate::ground::call_deadline::CallDeadline;
use crate::ground::error::{Rejected, Why, rejection};
use crate::ground::scope::{self, Context, ExhaustedBefore};
use crate::ground::time::{self, Instant};
use crate::ground::verdict::{Cause, Verdict};
use crate::layers::call::bound::poll_deadline;
use crate::layers::call::inner::reject;
use crate::layers::call::upload_waits::UploadWaits;
use crate::layers::core::observed;
use crate::layers::retry::report;
use crate::telemetry::{self, Instruments, NoFallback};

/// The bound of a call, and how it is reported.
#[derive(Debug)]
pub(super) struct FallbackCall {
    pub(super) inherited: Context,
    pub(super) deadline: CallDeadline,
    pub(super) timer: Timer,
    /// The waits of the request body while the inner service has it.
    pub(super) sending: Option<Arc<UploadWaits>>,
    exhausted_before: ExhaustedBefore,
    reports_before: u64,
    pub(super) instruments: Instruments,
    pub(super) polled: bool,
}

impl FallbackCall {
    pub(super) fn new(inherited: Context, deadline: CallDeadline, instruments: Instruments) -> Self {
        Self {
            inherited,
            deadline,
            timer: Timer::new(),
            sending: None,
            exhausted_before: scope::exhausted_before(),
            reports_before: report::published(),
            instruments,
            polled: false,
        }
    }

    pub(super) fn sending(self, sending: Option<Arc<UploadWaits>>) -> Self {
        Self { sending, ..self }
    }

    /// The context of the call. It may have been moved to a task in which no outer layer enforces its deadline.
    pub(super) fn context(&self) -> Context {
        let enforced = self.inherited.deadline.is_some_and(|deadline| scope::current().ends_by(deadline));
        self.inherited.with_enforced(enforced)
    }

    pub(super) fn poll_deadline(&mut self, cx: &mut task::Context<'_>) -> Poll<Why> {
        poll_deadline(&self.deadline, &mut self.timer, cx)
    }

    pub(super) fn record(&self, verdict: Verdict) {
        if self.instruments.named().is_some() {
            observed::record(&self.instruments, verdict, time::now().since(self.deadline.start()));
        }
    }

    /// The call failed, and the caller gets the failure.
    pub(super) fn not_answered(&self, cause: Cause, why: NoFallback, error: Option<&BoxError>) {
        telemetry::not_fallen_back(&self.instruments, cause, why, error);
        observed::request_publication();
    }

    pub(super) fn answered(&self, cause: Cause) {
        scope::recovered(self.exhausted_before);
        telemetry::fell_back(&self.instruments, cause);
        report::note_fallback(cause.as_str(), self.reports_before, self.inherited.attempt() > 0);
        observed::request_publication();
        self.record(Verdict::Success);
    }

    /// The error of a call that is cut.
    pub(super) fn cut(&self, why: Why) -> BoxError {
        let error = reject(self.instruments.refuse(why));
        self.record(rejection(&error).map_or(Verdict::TimedOut, Rejected::verdict));
        error
    }

    /// Whether there is no time left for a fallback at `now`.
    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.inherited.has_expired(now) || now >= self.deadline.at()
    }
}
