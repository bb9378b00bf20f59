//! What an attempt says about the dependency, and when it has said it.
//!
//! A layer asks one seam, [`Classify`], two things about each result: *what does it mean* and *when is the call over*. For
//! any service the answer is [`AtResponse`]: an `Ok` is a success, an `Err` a failure, and the call is over when the
//! response is there. Protocols know better: see the `::http` constructors of the layers.
//!
//! # What is done with a verdict
//!
//! | verdict | retried | circuit breaker |
//! |---|---|---|
//! | [`Success`](Verdict::Success) | – | success |
//! | [`CallerFault`](Verdict::CallerFault) | no | success: the dependency is alive and did its work |
//! | [`Unprocessed`](Verdict::Unprocessed) | yes | alive: in no rate |
//! | [`Overloaded`](Verdict::Overloaded) | yes | alive: in no rate |
//! | [`DoNotRetry`](Verdict::DoNotRetry) | no | alive: in no rate |
//! | [`Transient`](Verdict::Transient) | yes | failure |
//! | [`Failed`](Verdict::Failed) | no | failure |
//! | [`Lost`](Verdict::Lost) | once, if the request is idempotent | failure |
//! | [`TimedOut`](Verdict::TimedOut) | yes | by the time that the call was given |
//! | [`Abandoned`](Verdict::Abandoned) | no | by the time that the caller waited |
//! | [`Unsent`](Verdict::Unsent) | yes, whatever the request is | neutral, unless no call at all is answered |
//! | [`Ignored`](Verdict::Ignored) | no | neutral |
//!
//! Every retry that is sent is paid for from the budget, whatever the verdict, and none is made sooner than the dependency
//! [asks for](Classify::retry_after). Whether a call was slow is measured beside the verdict. How it is measured, and what each way
//! for a call to end says about whom, is one table: see [`evidence`](crate::evidence).
//!
//! ```
//! use seawall::verdict::{self, Classify, Verdict};
//!
//! // a cache miss is an answer, not a failure
//! let classifier = verdict::from_fn(|result: Result<&u32, &tower::BoxError>| match result {
//!     Ok(_) => Verdict::Success,
//!     Err(error) if error.to_string() == "miss" => Verdict::CallerFault,
//!     Err(_) => Verdict::Transient,
//! });
//! assert_eq!(classifier.classify(Err(&"miss".into())), Verdict::CallerFault);
//! ```

mod guard;

use std::fmt;
use std::future::{Future, Ready, ready};
use std::time::Duration;

pub(crate) use self::guard::Pace;
pub use self::guard::{Expiry, Guard};

use tower::BoxError;

use crate::ground::error::{Rejected, rejection};
use crate::ground::sync::foreign;

/// What an attempt says about the dependency. The [module](self) has the table of what follows from each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It did what it was asked to.
    Success,
    /// The request was at fault, which proves the dependency alive: HTTP 404, `INVALID_ARGUMENT`.
    CallerFault,
    /// It did not process the request, for a reason that lies with the caller or the connection; the same request may succeed when
    /// it is sent again: HTTP 408, 421, 425. This proves the dependency alive.
    Unprocessed,
    /// It failed in a way that may pass: HTTP 500, a 503 that says nothing more, `UNAVAILABLE`.
    Transient,
    /// It refused the request by name: too many requests, `Retry-After`, `RESOURCE_EXHAUSTED`. This proves the dependency alive;
    /// pacing answers it, not the circuit breaker.
    Overloaded {
        /// How long it asked to be left alone.
        retry_after: Option<Duration>,
    },
    /// It refused the request, or speaks for what failed further in, and said that another attempt is not wanted: 502, 503, 504 or 429
    /// with `x-should-retry: false`, `UNAVAILABLE` with a negative `grpc-retry-pushback-ms`. This proves the dependency alive. A failure
    /// of its own that forbids retries, as 500 or `INTERNAL`, is [`Failed`](Self::Failed).
    DoNotRetry,
    /// It took longer than it was given.
    TimedOut,
    /// The request provably never got there: no connection could be made, or the dependency turned it away unread.
    Unsent,
    /// The connection died after the request was sent: it may have been executed, and it may be what killed the server.
    Lost,
    /// It failed in a way that does not pass: `INTERNAL`, `DATA_LOSS`.
    Failed,
    /// The caller gave up before there was an answer.
    Abandoned,
    /// It says nothing about the dependency: refused by a layer of ours before it got there.
    Ignored,
}

impl Verdict {
    /// The verdict in one word, as logs and metrics have it.
    pub const fn as_str(self) -> &'static str {
        Self::NAMES[self.index()]
    }

    /// How many there are.
    pub(crate) const COUNT: usize = 12;

    /// Each in one word, by [`index`](Self::index).
    pub(crate) const NAMES: [&'static str; Self::COUNT] = [
        "success",
        "caller_fault",
        "transient",
        "overloaded",
        "timed_out",
        "unsent",
        "lost",
        "failed",
        "abandoned",
        "ignored",
        "unprocessed",
        "do_not_retry",
    ];

    #[inline]
    pub(crate) const fn index(self) -> usize {
        match self {
            Self::Success => 0,
            Self::CallerFault => 1,
            Self::Transient => 2,
            Self::Overloaded { .. } => 3,
            Self::TimedOut => 4,
            Self::Unsent => 5,
            Self::Lost => 6,
            Self::Failed => 7,
            Self::Abandoned => 8,
            Self::Ignored => 9,
            Self::Unprocessed => 10,
            Self::DoNotRetry => 11,
        }
    }
}

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
