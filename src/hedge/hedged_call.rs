//! The attempts of one call: what another one needs, what is kept of those that failed, and how the call ends.

mod next_attempt;

use tower::BoxError;

use super::call_settings::HedgeCallSettings;
use super::policy::HedgePolicy;
use crate::admission::timer::{self, Timer};
use crate::algorithm::hedge::{AfterAttempt, AttemptLimits, Hedging, NoAttempt};
use crate::ground::call_deadline::CallDeadline;
use crate::ground::scope::{self, Context, ExhaustedBefore};
use crate::ground::sync::Arc;
use crate::ground::time::{self, Instant};
use crate::ground::verdict::{Classify, Verdict};
use crate::layers::call::attempted_endpoints::NotedEndpoints;
use crate::layers::core::observed;
use crate::layers::retry::Kept;
use crate::layers::retry::budget::Withdrawal;
use crate::layers::retry::report::{self, Report, Stop};
use crate::telemetry::{self, NotRetried};

/// See the module. `T` is a response that a hedged call may return.
pub(super) struct HedgedCall<S, K, T> {
    pub(super) hedging: Hedging,
    /// Fires when the next attempt is due, or at the end of the call.
    pub(super) timer: Timer,
    /// The instant at which an attempt was due that waits for others since then. A timer for an instant in the past would wake the
    /// task again at once.
    overdue: Option<Instant>,
    pub(super) deadline: CallDeadline,
    /// `None` once no further attempt can follow.
    source: Option<HedgeSource<S, K>>,
    /// `None` until an attempt has failed, or a report is requested.
    earlier: Option<Box<EndedAttempts<T>>>,
    /// The number of the last attempt for which the next one was scheduled.
    pub(super) scheduled: u32,
    /// The verdict on the last attempt that ended.
    pub(super) last: Verdict,
    /// A call that was never polled has not begun, and is not recorded.
    pub(super) polled: bool,
    /// Whether an attempt is a probe of a breaker.
    pub(super) is_probe: bool,
    /// The endpoints that balancers have chosen.
    pub(super) endpoints: NotedEndpoints,
    pub(super) inherited: Context,
    exhausted_before: ExhaustedBefore,
    pub(super) settings: HedgeCallSettings,
    pub(super) policy: Arc<HedgePolicy>,
}

/// What is needed to make further attempts.
#[derive(Debug)]
pub(super) struct HedgeSource<S, K> {
    pub(super) kept: K,
    pub(super) service: S,
}

/// What attempts that ended leave behind.
struct EndedAttempts<T> {
    /// The last failure of the dependency. A cut or a refusal of ours never replaces it.
    failure: Option<Result<T, BoxError>>,
    /// The last cut or refusal of ours, to return if there is nothing else.
    refusal: Option<BoxError>,
    /// The token of the attempt that is due, if nothing is in flight.
    paid: Option<Withdrawal>,
    /// The verdict that the attempt that is due follows.
    cause: Option<Verdict>,
    /// The verdicts of all attempts, if a report was requested.
    verdicts: Vec<Verdict>,
}

impl<T> Default for EndedAttempts<T> {
    fn default() -> Self {
        Self { failure: None, refusal: None, paid: None, cause: None, verdicts: Vec::new() }
    }
}

/// Why the report says that no further attempt was made.
pub(super) fn stop_of(why: NoAttempt) -> Stop {
    match why {
        NoAttempt::Verdict => Stop::Verdict,
        NoAttempt::NotRepeatable => Stop::NotRepeatable,
        NoAttempt::Attempts => Stop::Attempts,
        NoAttempt::RetryAfter => Stop::RetryAfter,
        NoAttempt::Deadline => Stop::Deadline,
    }
}

impl<S, K, T> HedgedCall<S, K, T> {
    /// Before the first attempt.
    #[inline(always)]
    pub(super) fn new(
        inherited: Context,
        settings: HedgeCallSettings,
        deadline: CallDeadline,
        policy: Arc<HedgePolicy>,
    ) -> Self {
        Self {
            hedging: Hedging::new(settings.max_attempts, policy.inside_retries),
            timer: Timer::new(),
            overdue: None,
            deadline,
            source: None,
            earlier: None,
            scheduled: 0,
            last: Verdict::Ignored,
            polled: false,
            is_probe: false,
            endpoints: NotedEndpoints::default(),
            inherited,
            exhausted_before: scope::exhausted_before(),
            settings,
            policy,
        }
    }

    /// Counts the first attempt, after which `source` makes more.
    #[inline(always)]
    pub(super) fn first(
        mut self,
        source: Option<HedgeSource<S, K>>,
        endpoints: NotedEndpoints,
        is_probe: bool,
    ) -> Self {
        self.hedging.start();
        Self { source, endpoints, is_probe, ..self }
    }

    fn earlier(&mut self) -> &mut EndedAttempts<T> {
        self.earlier.get_or_insert_default()
    }

    pub(super) fn has_failure(&self) -> bool {
        self.earlier.as_ref().is_some_and(|earlier| earlier.failure.is_some())
    }

    /// The failure to return if no attempt succeeds: the dependency's own, or ours.
    pub(super) fn take_failure(&mut self) -> Option<Result<T, BoxError>> {
        let earlier = self.earlier.as_mut()?;
        earlier.failure.take().or_else(|| earlier.refusal.take().map(Err))
    }

    /// Keeps a failure of the dependency.
    pub(super) fn keep_failure(&mut self, failure: Result<T, BoxError>) {
        self.earlier().failure = Some(failure);
    }

    /// Keeps a cut or refusal of ours.
    pub(super) fn keep_refusal(&mut self, refusal: BoxError) {
        self.earlier().refusal = Some(refusal);
    }

    /// The newest attempt was sent: schedules the next one.
    pub(super) fn schedule(&mut self, attempt: u32)
    where
        K: Kept,
    {
        self.scheduled = attempt;
        if !self.hedging.may_start() || !self.may_run_beside() {
            return;
        }
        let now = time::now();
        let delay = self.policy.delay(&self.settings, now);
        self.hedging.sent(now, delay);
    }

    /// Whether the request may be sent a second time while the first one may be executed. A long-lived call is not: that it takes long
    /// is what its caller wants. Nor is a probe: cancelled by a hedge that wins, it would never show that its endpoint is well.
    fn may_run_beside(&self) -> bool
    where
        K: Kept,
    {
        !self.inherited.lasts()
            && !self.is_probe
            && self.source.as_ref().is_some_and(|source| source.kept.repeatable_beside())
    }

    fn limits(&self, now: Instant, took: std::time::Duration) -> AttemptLimits {
        let (deadline, max_pause) = (self.deadline.at(), self.settings.max_retry_after);
        AttemptLimits { now, deadline, grain: timer::GRAIN, max_pause, took }
    }

    fn count_refused(&self, why: NotRetried) {
        telemetry::not_hedged(&self.policy.instruments, why);
        observed::request_publication();
    }

    /// Ends the call, whose attempts were dropped, and records how it went.
    pub(super) fn finish(&mut self, stopped: Stop, last: Verdict) {
        self.timer.disarm();
        if let Some(why) = stopped.not_retried().filter(|_| self.settings.enabled) {
            self.count_refused(why);
        }
        let instruments = &self.policy.instruments;
        // A call without an attempt was refused, and is already counted as that.
        if instruments.named().is_some() && self.polled && self.hedging.started() > 0 {
            observed::record(instruments, last, time::latest_or_now().since(self.deadline.start()));
        }
        let mut earlier = self.earlier.take();
        if report::is_requested() {
            report::publish(Report {
                attempts: self.hedging.started(),
                stopped,
                verdicts: earlier.as_mut().map(|earlier| std::mem::take(&mut earlier.verdicts)).unwrap_or_default(),
                elapsed: time::now().since(self.deadline.start()),
                endpoints: Vec::new(),
                fallback: None,
            });
        }
        // The failure is of no use any more, and holds what is left of a response.
        drop(earlier);
        self.source = None;
    }

    /// Tells the tiers above that further attempts are not wanted, or that the handler has recovered from an earlier failure.
    pub(super) fn report_exhaustion(&self, stopped: Stop, last: Verdict) {
        if matches!(last, Verdict::Success | Verdict::CallerFault) {
            scope::recovered(self.exhausted_before);
        } else if stopped.is_final(last, self.hedging.started()) {
            scope::mark_exhausted();
        }
    }
}

impl<S, K: Kept, T> HedgedCall<S, K, T> {
    /// Decides what follows an attempt that ended. `theirs` is the dependency's own failure, if there is one.
    pub(super) fn end_attempt<R>(
        &mut self,
        classifier: &impl Classify<R, Settled = T>,
        verdict: Verdict,
        theirs: Option<Result<&T, &BoxError>>,
        took: std::time::Duration,
    ) -> AfterAttempt {
        self.last = verdict;
        if report::is_requested() {
            self.earlier().verdicts.push(verdict);
        }
        if verdict == Verdict::Lost && self.hedging.is_loss_repeated() {
            scope::mark_loss_repeated();
        }
        let limits = self.limits(time::now(), took);
        let Self { hedging, source, .. } = self;
        let repeatable = |verdict| source.as_ref().is_some_and(|source| source.kept.repeatable(verdict));
        let pause = || theirs.and_then(|failed| classifier.retry_after(failed));
        hedging.end(verdict, &limits, pause, repeatable)
    }
}
