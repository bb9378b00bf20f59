//! Classifiers: from results to verdicts.

use std::fmt;
use std::future::{Future, Ready, ready};
use std::time::Duration;

use tower::BoxError;

use super::guard::{Expiry, Guard};
use super::verdicts::Verdict;
use crate::ground::error::{Injected, Rejected, rejection};
use crate::ground::sync::foreign;

/// Decides what a result means and when the call is over. It is chosen once per layer.
///
/// Most classifiers are a closure, see [`from_fn`]. Implement the trait for a response that continues after it was returned, such
/// as a stream: keep the guard inside, and settle it at the end.
pub trait Classify<Res>: Clone {
    /// A response in which a guard lives until the call is over.
    type Held<G: Guard>;

    /// A response as a retry returns it: nothing of it is left to read, or the rest is for the caller.
    type Settled;

    /// See [`settle`](Self::settle).
    type Settling: Future<Output = (Verdict, Self::Settled)>;

    /// See [`detach`](Self::detach).
    type Detaching: Future<Output = Self::Settled>;

    /// What the result means, as far as the head of the response shows.
    fn classify(&self, result: Result<&Res, &BoxError>) -> Verdict;

    /// Returns the response with the guard in it. If the call is already over, this settles the guard with `verdict`.
    fn hold<G: Guard>(&self, response: Res, verdict: Verdict, guard: G) -> Self::Held<G>;

    /// Finds out what the response means before it is returned, if that needs more than its head.
    fn settle(&self, response: Res) -> Self::Settling;

    /// The wait that a failed attempt asks for before another one: `Retry-After` over HTTP. A retry layer calls this for each
    /// attempt that it is going to retry, whatever its verdict; the wait in [`Verdict::Overloaded`], if there is one, takes
    /// precedence. The default is none.
    fn retry_after(&self, _failed: Result<&Self::Settled, &BoxError>) -> Option<Duration> {
        None
    }

    /// How many other calls the endpoint had in flight when it responded, if the response says so. A [balancer](crate::balance) then
    /// also knows of the calls of other clients. The default knows nothing.
    fn reported_in_flight(&self, _response: &Res) -> Option<u32> {
        None
    }

    /// Releases all that a failed response still holds (its connection, its permits), so that they are free while a retry waits,
    /// and keeps what can be kept of it, in case it is the last one. The future must end soon by itself.
    fn detach(&self, response: Self::Settled) -> Self::Detaching;

    /// Bounds the rest of a response that a retry returns, if it continues after it was returned: it is cut at `expiry`. The
    /// default returns the response unchanged, for responses that are complete.
    fn bound(&self, response: Self::Settled, expiry: Expiry) -> Self::Settled {
        let _ = expiry;
        response
    }
}

/// The verdict on an error without further knowledge: a refusal or a cut of seawall has its own, an [injected](Injected) one is a lost
/// connection, and any other is a temporary failure.
pub fn of_error(error: &BoxError) -> Verdict {
    match rejection(error) {
        Some(rejected) => rejected.verdict(),
        None if Injected::find(error).is_some() => Verdict::Lost,
        None => Verdict::Transient,
    }
}

/// The verdict of a layer on a result. A call that an inner layer refused was not sent and is no evidence, even for a classifier to
/// which every error is a failure: a full queue of seawall must not open a breaker, and an open breaker must not be retried.
pub(crate) fn judge<Res>(classifier: &impl Classify<Res>, result: Result<&Res, &BoxError>) -> Verdict {
    if result.err().is_some_and(is_refusal) { Verdict::Ignored } else { foreign(|| classifier.classify(result)) }
}

/// Whether a layer of this crate has refused to send the call.
pub(crate) fn is_refusal(error: &BoxError) -> bool {
    rejection(error).map(Rejected::verdict) == Some(Verdict::Ignored)
}

/// The classifier for any service: `Ok` is a success, `Err` a failure, and the call is over at either.
#[derive(Clone, Copy, Debug, Default)]
#[non_exhaustive]
pub struct AtResponse;

impl<Res> Classify<Res> for AtResponse {
    type Held<G: Guard> = Res;
    type Settled = Res;
    type Settling = Ready<(Verdict, Res)>;
    type Detaching = Ready<Res>;

    fn classify(&self, result: Result<&Res, &BoxError>) -> Verdict {
        match result {
            Ok(_) => Verdict::Success,
            Err(error) => of_error(error),
        }
    }

    fn hold<G: Guard>(&self, response: Res, verdict: Verdict, guard: G) -> Res {
        guard.settle(verdict);
        response
    }

    fn settle(&self, response: Res) -> Self::Settling {
        ready((self.classify(Ok(&response)), response))
    }

    fn detach(&self, response: Res) -> Self::Detaching {
        ready(response)
    }
}

/// A classifier from a closure; the call is over at the response. See [`from_fn`].
#[derive(Clone, Copy)]
pub struct FromFn<F>(F);

impl<F> fmt::Debug for FromFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FromFn").finish_non_exhaustive()
    }
}

/// Creates a classifier from a closure; the call is over at the response. The closure runs once per result and should be cheap.
pub fn from_fn<F, Res>(classify: F) -> FromFn<F>
where
    F: Fn(Result<&Res, &BoxError>) -> Verdict + Clone,
{
    FromFn(classify)
}

impl<F, Res> Classify<Res> for FromFn<F>
where
    F: Fn(Result<&Res, &BoxError>) -> Verdict + Clone,
{
    type Held<G: Guard> = Res;
    type Settled = Res;
    type Settling = Ready<(Verdict, Res)>;
    type Detaching = Ready<Res>;

    fn classify(&self, result: Result<&Res, &BoxError>) -> Verdict {
        (self.0)(result)
    }

    fn hold<G: Guard>(&self, response: Res, verdict: Verdict, guard: G) -> Res {
        guard.settle(verdict);
        response
    }

    fn settle(&self, response: Res) -> Self::Settling {
        ready((self.classify(Ok(&response)), response))
    }

    fn detach(&self, response: Res) -> Self::Detaching {
        ready(response)
    }
}
