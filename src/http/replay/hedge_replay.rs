use std::fmt;
use std::sync::Arc as Shared;
use std::task::{Context, Poll};

use ::http::Request;
use http_body::Body;
use tower::BoxError;

use super::body::ReplayBody;
use super::by_method::ByMethod;
use super::idempotent::may_run_beside;
use super::kept_body::KeptBody;
use super::source::ReplaySource;
use crate::ground::verdict::Verdict;
use crate::layers::call::upload_waits::UploadWaits;
use crate::layers::retry::{Kept, Replay};

/// The replay of a hedge inside a retry: both layers read one record of the request body.
///
/// `R` is the replay of the retry. It decides which requests may be sent twice, and keeps the head. It is asked with an empty body in the
/// place of the request's own. Of these requests, only those with a safe method or [`Idempotent(true)`](crate::http::Idempotent) are hedged,
/// because a hedge runs beside the first attempt. The body of a retry's attempt is a [`ReplayBody`], and a hedge sends another one with
/// the same record. So nothing is recorded twice, and the type of the body stays as it is.
///
/// **Cost:** that of `R` for a request without a body, and two allocations for the body of a hedge.
///
/// ```
/// use seawall::hedge::{HedgeConfig, HedgeLayer};
/// use seawall::http::{ByMethod, HedgeReplay};
/// use seawall::retry::{RetryConfig, RetryLayer};
///
/// let retry = RetryLayer::http(RetryConfig::default())?;
/// let hedge = HedgeLayer::http(HedgeConfig::default())?
///     .with_replay(HedgeReplay::new(ByMethod::default()))
///     .inside_retries(retry.budget().clone());
/// # let _ = hedge;
/// # Ok::<(), seawall::error::InvalidConfig>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HedgeReplay<R = ByMethod> {
    rules: R,
}

impl<R> HedgeReplay<R> {
    /// Sends again what `rules`, the replay of the retry around the hedge, would send again, and what may run beside itself.
    pub const fn new(rules: R) -> Self {
        Self { rules }
    }
}

impl<B, R, X> Replay<Request<ReplayBody<B>>> for HedgeReplay<R>
where
    B: Body,
    B::Error: Into<BoxError>,
    R: Replay<Request<ReplayBody<B>>, Attempt = Request<X>>,
{
    type Attempt = Request<ReplayBody<B>>;
    type Kept = KeptAttempt<R::Kept, B>;

    fn first(&self, request: Request<ReplayBody<B>>) -> (Self::Attempt, Self::Kept) {
        let (head, body) = request.into_parts();
        let beside = may_run_beside(&head);
        let (attempt, rules) = self.rules.first(Request::from_parts(head, ReplayBody::default()));
        let ReplayBody { source, sending, left, .. } = &body;
        if let Some(source) = source {
            source.keep();
        }
        let kept = KeptAttempt { rules, body: KeptBody::new(source.clone(), sending.clone(), *left), beside };
        (attempt.map(|_| body), kept)
    }
}

/// The request of an attempt, kept for hedges. See [`HedgeReplay`].
///
/// Public only so that [`Replay::Kept`](crate::retry::Replay::Kept) can name it.
pub struct KeptAttempt<K, B> {
    rules: K,
    body: KeptBody<B>,
    /// Whether two executions may run at once.
    beside: bool,
}

impl<K, B, X> Kept for KeptAttempt<K, B>
where
    K: Kept<Attempt = Request<X>>,
{
    type Attempt = Request<ReplayBody<B>>;

    fn repeatable(&self, verdict: Verdict) -> bool {
        self.rules.repeatable(verdict) && self.body.is_repeatable()
    }

    fn repeatable_beside(&self) -> bool {
        self.beside && self.rules.repeatable_beside() && self.repeatable(Verdict::TimedOut)
    }

    fn give_up(&mut self) {
        self.rules.give_up();
        self.body.give_up();
    }

    fn sending(&self) -> Option<Shared<UploadWaits>> {
        self.body.sending()
    }

    fn next_beside(&mut self) -> Option<Self::Attempt> {
        let attempt = self.rules.next_beside()?;
        let body = self.body.again(ReplaySource::begin_beside)?;
        Some(attempt.map(|_| body))
    }

    fn poll_beside(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.body.poll_sent(cx)
    }

    fn next(&mut self) -> Option<Self::Attempt> {
        let attempt = self.rules.next()?;
        let body = self.body.again(ReplaySource::begin)?;
        Some(attempt.map(|_| body))
    }
}

impl<K: fmt::Debug, B> fmt::Debug for KeptAttempt<K, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { rules, body, beside } = self;
        f.debug_struct("KeptAttempt").field("rules", rules).field("body", body).field("beside", beside).finish()
    }
}
