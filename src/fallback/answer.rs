//! What answers in place of the inner service: a value, a closure, or another service.

use std::fmt;
use std::future::{Future, Ready, ready};
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use pin_project::pin_project;
use tower::{BoxError, Service};

use super::failure::Failure;
use crate::ground::error::Reason;
use crate::ground::layer_id::LayerId;
use crate::ground::verdict::Verdict;
use crate::layers::call::inner::{Call, Taken};
use crate::layers::call::upload_waits::UploadWaits;
use crate::layers::core::readiness_limit::ReadinessLimit;
use crate::layers::retry::{CloneRequest, Kept, Replay};

/// How the request of a call is kept for a fallback.
///
/// This trait is sealed: use [`value`], [`from_fn`] or [`service`].
pub trait KeepRequest<Req>: sealed::SealedAnswer + Clone {
    /// The request that the inner service gets.
    type Attempt;

    /// What is kept of the request while the inner service has it.
    type Kept;

    #[doc(hidden)]
    fn first(&self, request: Req) -> (Self::Attempt, Self::Kept);

    #[doc(hidden)]
    fn sending(_kept: &Self::Kept) -> Option<Arc<UploadWaits>> {
        None
    }

    #[doc(hidden)]
    fn may_answer(_kept: &Self::Kept, _verdict: Verdict) -> bool {
        true
    }
}

/// What answers in place of an inner service whose response is of the type `T`, with what was [kept](KeepRequest::Kept) of the
/// request.
///
/// This trait is sealed: use [`value`], [`from_fn`] or [`service`].
pub trait FallbackAnswer<Kept, T>: sealed::SealedAnswer + Clone {
    /// The response of the fallback.
    type Answer;

    #[doc(hidden)]
    type Answering: Future<Output = Result<Self::Answer, BoxError>>;

    /// Prepares the answer, which begins when it is polled. `None` if it declines.
    #[doc(hidden)]
    fn begin(&self, kept: Kept, failure: &Failure<T>) -> Option<Self::Answering>;
}

mod sealed {
    /// Not nameable outside of the crate, which seals the trait.
    pub trait SealedAnswer {}
}

/// Answers with a clone of `value`.
pub fn value<R>(value: R) -> Value<R> {
    Value(Arc::new(value))
}

/// See [`value`].
#[derive(Debug)]
pub struct Value<R>(Arc<R>);

impl<R> Clone for Value<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R> sealed::SealedAnswer for Value<R> {}

impl<Req, R> KeepRequest<Req> for Value<R> {
    type Attempt = Req;
    type Kept = ();

    fn first(&self, request: Req) -> (Req, ()) {
        (request, ())
    }
}

impl<T, R: Clone> FallbackAnswer<(), T> for Value<R> {
    type Answer = R;
    type Answering = Ready<Result<R, BoxError>>;

    fn begin(&self, (): (), _failure: &Failure<T>) -> Option<Self::Answering> {
        Some(ready(Ok(R::clone(&self.0))))
    }
}

/// Answers with what `answer` makes of the [`Failure`]. If that is `None`, the result of the inner service is returned unchanged.
///
/// The closure does not see the request, and cannot wait. For both, use a [`service`] made by `tower::service_fn`.
///
/// ```
/// use seawall::fallback::{self, Failure, FallbackLayer};
///
/// // a stale price is better than none, but only while the dependency is protected
/// let answer = fallback::from_fn(|failure: &Failure<u32>| failure.rejected().map(|_| 42));
/// let layer = FallbackLayer::new(Default::default(), answer)?;
/// # drop(layer);
/// # Ok::<(), seawall::error::InvalidConfig>(())
/// ```
pub fn from_fn<F, T, R>(answer: F) -> Computed<F, T>
where
    F: Fn(&Failure<T>) -> Option<R>,
{
    Computed { answer: Arc::new(answer), failed: PhantomData }
}

/// See [`from_fn`].
pub struct Computed<F, T> {
    answer: Arc<F>,
    failed: PhantomData<fn(T)>,
}

impl<F, T> Clone for Computed<F, T> {
    fn clone(&self) -> Self {
        Self { answer: Arc::clone(&self.answer), failed: PhantomData }
    }
}

impl<F, T> fmt::Debug for Computed<F, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Computed").finish_non_exhaustive()
    }
}

impl<F, T> sealed::SealedAnswer for Computed<F, T> {}

impl<Req, F, T> KeepRequest<Req> for Computed<F, T> {
    type Attempt = Req;
    type Kept = ();

    fn first(&self, request: Req) -> (Req, ()) {
        (request, ())
    }
}

impl<F, T, R> FallbackAnswer<(), T> for Computed<F, T>
where
    F: Fn(&Failure<T>) -> Option<R>,
{
    type Answer = R;
    type Answering = Ready<Result<R, BoxError>>;

    fn begin(&self, (): (), failure: &Failure<T>) -> Option<Self::Answering> {
        (self.answer)(failure).map(Ok).map(ready)
    }
}

/// Sends the request to `service`, within the time that is left of the call.
///
/// The request is kept for it as a [retry](crate::retry::Replay) keeps it: by default it is cloned before the inner service gets
/// it. A request that the inner service may have executed already is sent a second time only if the replay allows that. A request
/// that a [`quarantine`](crate::quarantine) refused is never sent: it may crash the instances of this service, too.
pub fn service<S>(service: S) -> OtherService<S> {
    OtherService { service, replay: CloneRequest::new(), readiness_limit: ReadinessLimit::default() }
}

/// See [`service`].
#[derive(Clone, Debug)]
pub struct OtherService<S, P = CloneRequest> {
    service: S,
    replay: P,
    readiness_limit: ReadinessLimit,
}

impl<S, P> OtherService<S, P> {
    /// Sets the replay, which makes the request for the service, and decides whether it may be sent again.
    pub fn with_replay<Q>(self, replay: Q) -> OtherService<S, Q> {
        OtherService { service: self.service, replay, readiness_limit: self.readiness_limit }
    }
}

impl<S, P> sealed::SealedAnswer for OtherService<S, P> {}

impl<Req, S: Clone, P: Replay<Req>> KeepRequest<Req> for OtherService<S, P> {
    type Attempt = P::Attempt;
    type Kept = P::Kept;

    fn first(&self, request: Req) -> (P::Attempt, P::Kept) {
        self.replay.first(request)
    }

    fn sending(kept: &P::Kept) -> Option<Arc<UploadWaits>> {
        kept.sending()
    }

    fn may_answer(kept: &P::Kept, verdict: Verdict) -> bool {
        // A layer refused it, so it was not sent.
        kept.repeatable(if verdict == Verdict::Ignored { Verdict::Unsent } else { verdict })
    }
}

impl<K, T, S, P> FallbackAnswer<K, T> for OtherService<S, P>
where
    K: Kept,
    S: Service<K::Attempt> + Clone,
    S::Error: Into<BoxError>,
    P: Clone,
{
    type Answer = S::Response;
    type Answering = Answering<S, K::Attempt, S::Future>;

    fn begin(&self, mut kept: K, failure: &Failure<T>) -> Option<Self::Answering> {
        // The request may crash every instance that gets it, those of this service as well.
        if failure.rejected().is_some_and(|rejected| rejected.reason() == Reason::Quarantined) {
            return None;
        }
        // Supersedes the attempt of the inner service, but only if there is a request. `give_up` before would end that attempt in any
        // case, and with its request body perhaps the response that the caller gets.
        let request = kept.next()?;
        let service = Taken::not_ready(self.service.clone(), self.readiness_limit.clone());
        Some(Answering { call: service.call(request), layer_id: failure.layer_id })
    }
}

/// The answer of another service.
#[pin_project]
#[derive(Debug)]
pub struct Answering<S, Req, F> {
    #[pin]
    call: Call<S, Req, F>,
    layer_id: LayerId,
}

impl<S, Req, F> Future for Answering<S, Req, F>
where
    S: Service<Req, Future = F>,
    S::Error: Into<BoxError>,
    F: Future<Output = Result<S::Response, S::Error>>,
{
    type Output = Result<S::Response, BoxError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        this.call.poll(cx, *this.layer_id)
    }
}
