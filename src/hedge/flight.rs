//! One attempt, from its call to its result.

use std::pin::Pin;
use std::sync::Arc as Shared;
use std::task::{self, Poll, ready};
use std::time::Duration;

use pin_project::pin_project;
use tower::{BoxError, Service};

use super::policy::SpentTime;
use crate::algorithm::hedge::{self, HedgeEnd};
use crate::ground::layer_id::LayerId;
use crate::ground::scope::{self, Context};
use crate::ground::stopwatch::Stopwatch;
use crate::ground::time::{self, Instant};
use crate::ground::verdict::{self, Classify, Verdict};
use crate::layers::call::attempted_endpoints::AttemptedEndpoints;
use crate::layers::call::inner::{Call, CallError};
use crate::layers::call::upload_waits::{self, UploadWaits};
use crate::layers::retry::Kept;
use crate::layers::retry::budget::Withdrawal;

/// See the module.
#[pin_project]
pub(super) struct AttemptFlight<S, K, C>
where
    K: Kept,
    S: Service<K::Attempt>,
    C: Classify<S::Response>,
{
    #[allow(clippy::type_complexity, reason = "three futures, each in its stage")]
    #[pin]
    stage: FlightStage<Call<S, K::Attempt, S::Future>, C::Settling, C::Detaching>,
    parts: FlightParts,
}

/// What an attempt has besides its futures.
#[derive(Debug)]
pub(super) struct FlightParts {
    /// The number of the attempt, from 1; 0 for a call that is refused.
    number: u32,
    /// The token that pays for the attempt, if it is not the first.
    withdrawal: Option<Withdrawal>,
    /// Its time, if it was started because others are slow.
    spent_time: Option<SpentTime>,
    /// The verdict that a further attempt follows, or `None` in it if others are slow, until the attempt is counted.
    cause: Option<Option<Verdict>>,
    /// The endpoints that may not take it.
    others_only: Option<Shared<AttemptedEndpoints>>,
    /// The waits of its request body.
    upload_waits: Option<Shared<UploadWaits>>,
    /// Measures the dependency.
    watch: Stopwatch,
    /// Whether the dependency has the request, as far as is known.
    sent: bool,
    /// How long it had, if it has ended without an answer.
    had: Option<Duration>,
}

#[pin_project(project = FlightStageProj)]
enum FlightStage<Call, Settling, Detaching> {
    /// It is in flight => Settling | Over
    Calling {
        #[pin]
        call: Call,
    },
    /// There is a response, and the classifier decides what it means => Over
    Settling {
        #[pin]
        settling: Settling,
    },
    /// It has failed while the call goes on, and its response releases what it holds => Over
    Detaching {
        #[pin]
        detaching: Detaching,
    },
    Over,
}

/// What a poll of an attempt finds.
pub(super) enum FlightNews<T> {
    /// It has ended.
    Ended(Verdict, Result<T, BoxError>),
    /// What is left of its failed response.
    Detached(T),
}

impl<T> FlightNews<T> {
    /// Whether a layer of this crate has refused the attempt.
    pub(super) fn is_refusal(news: &Poll<Self>) -> bool {
        matches!(news, Poll::Ready(Self::Ended(_, Err(error))) if verdict::is_refusal(error))
    }
}

impl FlightParts {
    pub(super) fn new(number: u32, now: Instant, upload_waits: Option<Shared<UploadWaits>>) -> Self {
        let watch = Stopwatch::start(now);
        Self {
            number,
            withdrawal: None,
            spent_time: None,
            cause: None,
            others_only: None,
            upload_waits,
            watch,
            sent: false,
            had: None,
        }
    }

    /// The parts of an attempt that is not the first.
    pub(super) fn further(
        self,
        withdrawal: Withdrawal,
        spent_time: Option<SpentTime>,
        cause: Option<Verdict>,
        others_only: Option<Shared<AttemptedEndpoints>>,
    ) -> Self {
        Self { withdrawal: Some(withdrawal), spent_time, cause: Some(cause), others_only, ..self }
    }

    fn took(&self, now: Instant) -> Duration {
        let uploading = self.upload_waits.as_ref().map_or(Duration::ZERO, |waits| waits.waited(now).0);
        self.watch.elapsed(now).saturating_sub(uploading)
    }

    /// The attempt has ended with this verdict.
    fn end(&mut self, verdict: Verdict) {
        if self.sent && matches!(verdict, Verdict::TimedOut | Verdict::Lost) {
            self.had = Some(self.took(time::now()));
        }
        if let Some(withdrawal) = self.withdrawal.take() {
            withdrawal.ended(verdict);
        }
        if let Some(spent_time) = self.spent_time.take() {
            spent_time.ends(match verdict {
                _ if hedge::decides(verdict) => HedgeEnd::Won,
                // A layer of ours has refused it: that costs the dependency nothing, and says nothing about hedges.
                _ if !self.sent => HedgeEnd::Unknown,
                _ => HedgeEnd::Useless,
            });
        }
    }

    /// Records whether the attempt was sent, which is what its token pays for.
    fn mark(&mut self, sent: bool) {
        self.sent = sent;
        if let Some(withdrawal) = &mut self.withdrawal {
            withdrawal.mark(sent);
        }
    }
}

impl<S, K, C> AttemptFlight<S, K, C>
where
    K: Kept,
    S: Service<K::Attempt>,
    C: Classify<S::Response>,
{
    #[inline(always)]
    pub(super) fn new(call: Call<S, K::Attempt, S::Future>, parts: FlightParts) -> Self {
        Self { stage: FlightStage::Calling { call }, parts }
    }

    pub(super) fn number(&self) -> u32 {
        self.parts.number
    }

    /// What a further attempt follows, once, to be counted.
    pub(super) fn take_cause(self: Pin<&mut Self>) -> Option<Option<Verdict>> {
        self.project().parts.cause.take()
    }

    /// Whether its result is still to come.
    pub(super) fn is_in_flight(&self) -> bool {
        matches!(self.stage, FlightStage::Calling { .. } | FlightStage::Settling { .. })
    }

    pub(super) fn is_detaching(&self) -> bool {
        matches!(self.stage, FlightStage::Detaching { .. })
    }

    /// Whether the dependency has the request, as far as is known: the attempt does not wait in a queue of this crate.
    pub(super) fn is_sent(&self) -> bool {
        self.parts.sent
    }

    /// Whether it waits in a queue of this crate now.
    pub(super) fn waits_locally(&self) -> bool {
        self.parts.watch.waits_locally()
    }

    /// How long the dependency has had for it so far, without our waits and those for the caller's upload.
    pub(super) fn took(&self, now: Instant) -> Duration {
        self.parts.took(now)
    }

    /// How long the dependency has had for it, if it has the request and has not answered it.
    pub(super) fn unanswered_for(&self, now: Instant) -> Option<Duration> {
        if self.is_in_flight() { self.is_sent().then(|| self.took(now)) } else { self.parts.had }
    }

    /// Releases a failed response, while other attempts follow or are in flight.
    pub(super) fn detach(self: Pin<&mut Self>, classifier: &C, response: C::Settled) {
        self.project().stage.set(FlightStage::Detaching { detaching: classifier.detach(response) });
    }

    /// Another attempt has answered the call.
    pub(super) fn lose(self: Pin<&mut Self>) {
        if let Some(spent_time) = self.project().parts.spent_time.take() {
            spent_time.ends(HedgeEnd::Useless);
        }
    }

    /// Drops it: it is cancelled if it is in flight. A hedge that lost the race counts for nothing at the budget: it would have helped
    /// if the first attempt had been as slow as it seemed.
    pub(super) fn cancel(self: Pin<&mut Self>) {
        let mut this = self.project();
        this.stage.set(FlightStage::Over);
        (this.parts.withdrawal, this.parts.spent_time) = (None, None);
    }

    /// Polls the attempt in its context. Ended attempts stay pending.
    pub(super) fn poll(
        self: Pin<&mut Self>,
        cx: &mut task::Context<'_>,
        classifier: &C,
        context: Context,
        layer_id: LayerId,
    ) -> Poll<FlightNews<C::Settled>>
    where
        S::Error: Into<BoxError>,
    {
        let mut this = self.project();
        let parts = this.parts;
        let _entered = scope::enter(context);
        loop {
            match this.stage.as_mut().project() {
                FlightStageProj::Calling { mut call } => {
                    let _sending = upload_waits::enter(parts.upload_waits.as_ref());
                    let _others = parts.others_only.as_ref().map(AttemptedEndpoints::enter);
                    let watch = &mut parts.watch;
                    let poll = || watch.watch(|| call.as_mut().poll_call(cx, layer_id));
                    let (answer, is_local) = scope::hiding_local_wait(poll);
                    match answer {
                        Poll::Ready(Ok(response)) => {
                            parts.mark(true);
                            let settling = classifier.settle(response);
                            this.stage.set(FlightStage::Settling { settling });
                        }
                        Poll::Ready(Err(failed)) => {
                            let is_called = matches!(failed, CallError::Called(_));
                            let error = failed.into_inner();
                            let verdict = verdict::judge(classifier, Err(&error));
                            parts.mark(is_called && verdict != Verdict::Unsent && !verdict::is_refusal(&error));
                            this.stage.set(FlightStage::Over);
                            parts.end(verdict);
                            return Poll::Ready(FlightNews::Ended(verdict, Err(error)));
                        }
                        Poll::Pending => {
                            // Not back to unsent: an inner retry that waits for its backoff has sent the request before.
                            if !is_local {
                                parts.mark(true);
                            }
                            return Poll::Pending;
                        }
                    }
                }
                FlightStageProj::Settling { settling } => {
                    let (verdict, response) = ready!(settling.poll(cx));
                    parts.mark(verdict != Verdict::Unsent);
                    this.stage.set(FlightStage::Over);
                    parts.end(verdict);
                    return Poll::Ready(FlightNews::Ended(verdict, Ok(response)));
                }
                FlightStageProj::Detaching { detaching } => {
                    let response = ready!(detaching.poll(cx));
                    this.stage.set(FlightStage::Over);
                    return Poll::Ready(FlightNews::Detached(response));
                }
                FlightStageProj::Over => return Poll::Pending,
            }
        }
    }
}
