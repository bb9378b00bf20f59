//! The seam between results and verdicts.

use std::fmt;
use std::future::{Future, Ready, ready};
use std::time::Duration;

use tower::BoxError;

use super::guard::{Expiry, Guard};
use super::verdicts::Verdict;
use crate::ground::error::{Rejected, rejection};
use crate::ground::sync::foreign;

/// The seam that decides what a result means and when the call is over. It is chosen once per layer.
///
/// Most classifiers are a closure, see [`from_fn`]. Implement the trait for a response that goes on after it was returned,
/// as a stream does: keep the guard inside, and settle it at the end.
pub trait Classify<Res>: Clone {
    /// A response in which a guard lives until the call is over.
    type Held<G: Guard>;

    /// A response as a retry hands it on: nothing of it waits to be read, or it is the caller's.
    type Settled;

    /// See [`settle`](Self::settle).
    type Settling: Future<Output = (Verdict, Self::Settled)>;

    /// See [`detach`](Self::detach).
    type Detaching: Future<Output = Self::Settled>;

    /// What the result means, as far as can be said when the response is there.
    fn classify(&self, result: Result<&Res, &BoxError>) -> Verdict;

    /// Hands the response on with the guard in it. If the call is already over, this settles the guard with `verdict`.
    fn hold<G: Guard>(&self, response: Res, verdict: Verdict, guard: G) -> Self::Held<G>;

    /// Finds out what the response means before it is handed on, if that is not clear from the response itself.
    fn settle(&self, response: Res) -> Self::Settling;

    /// How long a failed attempt asks to be left alone before another one is made: `Retry-After` over HTTP. A retry layer asks
    /// this of each attempt that it is going to repeat, whatever its verdict; the wait in [`Verdict::Overloaded`], if there is one,
    /// goes before it. The default knows of none.
    fn retry_after(&self, _failed: Result<&Self::Settled, &BoxError>) -> Option<Duration> {
        None
    }

    /// Lets go of all that a failed response still holds (its connection, its permits), so that they are free while a retry
    /// waits, and keeps what can be kept of it, in case that it is the last one. This must end soon by itself.
    fn detach(&self, response: Self::Settled) -> Self::Detaching;

    /// Bounds what is left of a response that a retry hands on, if that goes on after it was returned: at `expiry` it is cut. A
    /// response that is all there is handed on as it is, which is the default.
    fn bound(&self, response: Self::Settled, expiry: Expiry) -> Self::Settled {
        let _ = expiry;
        response
    }
}

/// What an error means that nobody knows more about: a refusal or a cut of ours says so itself, any other is a failure
/// that may pass.
pub fn of_error(error: &BoxError) -> Verdict {
    match rejection(error) {
        Some(rejected) => rejected.verdict(),
        None => Verdict::Transient,
    }
}

/// What a result means to a layer. What was refused further in never got to the dependency and says nothing about it, even to a
/// classifier to which every error is a failure: a full queue of ours must open no breaker, and an open breaker must not
/// be retried.
pub(crate) fn judge<Res>(classifier: &impl Classify<Res>, result: Result<&Res, &BoxError>) -> Verdict {
    match result.err().and_then(rejection).map(Rejected::verdict) {
        Some(Verdict::Ignored) => Verdict::Ignored,
        _ => foreign(|| classifier.classify(result)),
    }
}

/// The classifier for any service: `Ok` is a success, `Err` a failure, and the call is over when either is there.
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

/// A classifier made from a closure; the call is over at the response. See [`from_fn`].
#[derive(Clone, Copy)]
pub struct FromFn<F>(F);

impl<F> fmt::Debug for FromFn<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("FromFn").finish_non_exhaustive()
    }
}

/// A classifier made from a closure; the call is over at the response. The closure runs once a result and should be cheap.
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
