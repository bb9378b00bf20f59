//! The attempts of one call: how many there were, what another one needs, and how the call ends.

use std::sync::Arc as Shared;

use tower::{BoxError, Service};

use super::budget::Withdrawal;
use super::call_settings::RetryCallSettings;
use super::limit::{AttemptBounds, attempt_cut, inside};
use super::policy::{EndedAttempt, GrantedRetry, RetryPolicy, RetryProgress};
use super::replay::Kept;
use super::report::{self, Report, Stop};
use crate::admission::timer::Timer;
use crate::ground::call_deadline::CallDeadline;
use crate::ground::chance;
use crate::ground::scope::{self, Context, ExhaustedBefore};
use crate::ground::sync::Arc;
use crate::ground::time::{self, Instant};
use crate::ground::verdict::{Classify, Verdict};
use crate::layers::call::attempted_endpoints::NotedEndpoints;
use crate::layers::call::inner::{Call, Taken};
use crate::layers::call::upload_waits::{self, UploadWaits};
use crate::layers::core::observed;
use crate::telemetry::{self, AttemptSpan};

/// See the module. `T` is a response that a retry may return.
pub(super) struct Attempts<S, K, T> {
    /// Fires when the current attempt times out.
    pub(super) timer: Timer,
    /// When the current attempt is cut, if that is before the end of the call.
    pub(super) cut: Option<Instant>,
    /// The bound of the whole call.
    pub(super) deadline: CallDeadline,
    /// `None` once no further attempt can follow.
    source: Option<RetrySource<S, K>>,
    /// `None` until an attempt has failed and a retry follows, or a report is requested.
    earlier: Option<Box<EarlierAttempts<T>>>,
    pub(super) progress: RetryProgress,
    /// A call that was never polled has not begun, and is not recorded.
    pub(super) polled: bool,
    /// The span of the current attempt, if spans are enabled.
    pub(super) span: Option<Box<AttemptSpan>>,
    /// The waits of the current attempt's request body.
    pub(super) upload_waits: Option<Shared<UploadWaits>>,
    /// The endpoints that balancers have chosen.
    pub(super) endpoints: NotedEndpoints,
    pub(super) inherited: Context,
    exhausted_before: ExhaustedBefore,
    pub(super) settings: RetryCallSettings,
    pub(super) policy: Arc<RetryPolicy>,
}

/// What is needed to make further attempts.
#[derive(Debug)]
pub(super) struct RetrySource<S, K> {
    pub(super) kept: K,
    pub(super) service: S,
}

/// What the attempts before the current one leave behind.
struct EarlierAttempts<T> {
    /// The token of the current attempt, until the attempt has ended.
    withdrawal: Option<Withdrawal>,
    /// How the last attempt failed. A cut or a refusal of ours never replaces the dependency's own failure.
    failure: Option<Result<T, BoxError>>,
    /// The verdicts of all attempts, if a report was requested.
    verdicts: Vec<Verdict>,
}

impl<T> Default for EarlierAttempts<T> {
    fn default() -> Self {
        Self { withdrawal: None, failure: None, verdicts: Vec::new() }
    }
}

impl<S, K, T> Attempts<S, K, T> {
    /// Before the first attempt.
    #[inline(always)]
    pub(super) fn new(
        inherited: Context,
        settings: RetryCallSettings,
        deadline: CallDeadline,
        policy: Arc<RetryPolicy>,
    ) -> Self {
        Self {
            timer: Timer::new(),
            cut: None,
            deadline,
            source: None,
            earlier: None,
            progress: RetryProgress::new(0, deadline.start()),
            polled: false,
            span: None,
            upload_waits: None,
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
        cut: Option<Instant>,
        source: Option<RetrySource<S, K>>,
        span: Option<Box<AttemptSpan>>,
        upload_waits: Option<Shared<UploadWaits>>,
    ) -> Self {
        self.progress.attempts = 1;
        Self { cut, source, span, upload_waits, ..self }
    }

    fn earlier(&mut self) -> &mut EarlierAttempts<T> {
        self.earlier.get_or_insert_default()
    }

    /// The failure to return if no further attempt succeeds.
    pub(super) fn take_failure(&mut self) -> Option<Result<T, BoxError>> {
        self.earlier.as_mut()?.failure.take()
    }

    /// Keeps the failure of the last attempt.
    pub(super) fn keep_failure(&mut self, failure: Result<T, BoxError>) {
        self.earlier().failure = Some(failure);
    }

    /// The bounds of the current attempt.
    pub(super) fn bounds(&self) -> AttemptBounds {
        let has_failed = self.earlier.as_ref().is_some_and(|earlier| earlier.failure.is_some());
        AttemptBounds { call: self.deadline, cut: self.cut, since: self.progress.since, has_failed }
    }

    /// Marks whether the current attempt was sent, which is what its token pays for.
    #[inline]
    pub(super) fn mark(&mut self, sent: bool) {
        if let Some(withdrawal) = self.earlier.as_mut().and_then(|earlier| earlier.withdrawal.as_mut()) {
            withdrawal.mark(sent);
        }
    }

    /// Keeps the token of the next attempt.
    pub(super) fn keep_withdrawal(&mut self, withdrawal: Withdrawal) {
        self.earlier().withdrawal = Some(withdrawal);
    }

    /// Spends or refunds the token of the current attempt, which has ended with this verdict.
    pub(super) fn end_withdrawal(&mut self, verdict: Verdict) {
        if let Some(withdrawal) = self.earlier.as_mut().and_then(|earlier| earlier.withdrawal.take()) {
            withdrawal.ended(verdict);
        }
    }

    pub(super) fn end_span(&mut self, verdict: Verdict) {
        if let Some(span) = self.span.take() {
            span.end(verdict);
        }
    }

    /// Ends the call, whose current attempt was dropped, and records how it went.
    pub(super) fn finish(&mut self, stopped: Stop, last: Verdict) {
        self.end_withdrawal(last);
        self.end_span(last);
        if let Some(why) = stopped.not_retried().filter(|_| self.settings.enabled) {
            telemetry::not_retried(&self.policy.instruments, why);
            observed::request_publication();
        }
        let instruments = &self.policy.instruments;
        // A call without an attempt was refused, and is already counted as that.
        if instruments.named().is_some() && self.polled && self.progress.attempts > 0 {
            observed::record(instruments, last, time::latest_or_now().since(self.deadline.start()));
        }
        self.publish_report(stopped);
    }

    /// Tells the tiers above that the retries of this one are exhausted, or that the handler has recovered from an earlier failure.
    pub(super) fn report_exhaustion(&self, stopped: Stop, last: Verdict) {
        if matches!(last, Verdict::Success | Verdict::CallerFault) {
            scope::recovered(self.exhausted_before);
        } else if stopped.is_final(last, self.progress.attempts) {
            scope::mark_exhausted();
        }
    }

    fn publish_report(&mut self, stopped: Stop) {
        if report::is_requested() {
            report::publish(Report {
                attempts: self.progress.attempts,
                stopped,
                verdicts: self
                    .earlier
                    .as_mut()
                    .map(|earlier| std::mem::take(&mut earlier.verdicts))
                    .unwrap_or_default(),
                elapsed: time::now().since(self.deadline.start()),
                endpoints: Vec::new(),
                fallback: None,
            });
        }
    }
}

impl<S, K: Kept, T> Attempts<S, K, T> {
    /// Nothing of the attempt that failed may go on during the backoff.
    pub(super) fn give_up_attempt(&mut self) {
        if let Some(source) = &mut self.source {
            source.kept.give_up();
        }
    }

    /// Starts the next attempt. `None` if its request cannot be made after all.
    pub(super) fn begin(&mut self, context: Context, now: Instant) -> Option<Call<S, K::Attempt, S::Future>>
    where
        S: Service<K::Attempt> + Clone,
    {
        self.endpoints.avoid_last();
        let attempt = self.progress.attempts.saturating_add(1);
        let cut = attempt_cut(&self.deadline, &self.inherited, &self.settings, now);
        let _entered = scope::enter(inside(context.with_attempt(attempt), cut));
        let source = self.source.as_mut()?;
        let request = source.kept.next()?;
        self.upload_waits = source.kept.sending();
        let service = Taken::not_ready(source.service.clone(), self.policy.readiness_limit.clone());
        self.progress.attempts = attempt;
        self.progress.since = now;
        self.progress.waited = false;
        self.cut = cut;
        self.timer.disarm();
        if attempt >= self.settings.max_attempts {
            self.source = None;
        }
        self.span = self.settings.attempt_spans.then(|| Box::new(AttemptSpan::new(&self.policy.instruments, attempt)));
        let _span = (self.span.as_ref().map(|span| span.enter()), upload_waits::enter(self.upload_waits.as_ref()));
        Some(service.call(request))
    }

    /// Notes how long a success took, for the backoffs of later calls.
    #[inline]
    fn learn_usual_time(&self) {
        // The head of a long poll says nothing about when the dependency has time again.
        let tells = !self.progress.waited && !self.inherited.lasts() && self.settings.max_attempts > 1;
        if tells {
            self.policy.succeeded(time::latest_or_now().since(self.progress.since));
        }
    }

    /// Decides what follows an attempt that ended. `theirs` is the dependency's own result, if there is one.
    pub(super) fn next<R>(
        &mut self,
        classifier: &impl Classify<R, Settled = T>,
        verdict: Verdict,
        theirs: Option<Result<&T, &BoxError>>,
    ) -> Result<GrantedRetry, Stop> {
        if report::is_requested() {
            let attempts = self.progress.attempts as usize;
            let verdicts = &mut self.earlier().verdicts;
            // An attempt that failed may be cut while its response is detached. It has its verdict already.
            if verdicts.len() < attempts {
                verdicts.push(verdict);
            }
        }
        // Checked first, so that a call that succeeds does not read the clock again where an inner layer has just read it.
        if verdict == Verdict::Success {
            self.learn_usual_time();
            return Err(Stop::Succeeded);
        }
        let Self { source, deadline, progress, settings, .. } = self;
        let repeatable = |verdict| source.as_ref().is_some_and(|source| source.kept.repeatable(verdict));
        let ended = EndedAttempt { verdict, now: time::now(), limit: deadline.at() };
        let retry_after = || theirs.and_then(|failed| classifier.retry_after(failed));
        self.policy.retry(settings, progress, ended, retry_after, repeatable, chance::sample)
    }
}
