//! What an attempt proves about the dependency, and when the call is over.
//!
//! [`Classify`] decides two things about each result: *what it means* and *when the call is over*. For
//! any service the answer is [`AtResponse`]: an `Ok` is a success, an `Err` a failure, and the call is over when the
//! response is there. HTTP and gRPC have their own: see the `::http` constructors of the layers.
//!
//! # Effects of a verdict
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
//! Every retry takes a token from the budget, whatever the verdict, and none is made sooner than the dependency
//! [asks for](Classify::retry_after). Whether a call was slow is measured separately. How it is measured, and what each way
//! for a call to end proves, is in one table: see [`evidence`](crate::evidence).
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

mod cause;
mod classify;
mod guard;
mod of_rejected;
mod verdicts;

pub(crate) use self::cause::Cause;
pub use self::classify::{AtResponse, Classify, FromFn, from_fn, of_error};
pub(crate) use self::classify::{is_refusal, judge};
pub(crate) use self::guard::Pace;
pub(crate) use self::guard::sealed::SealedGuard;
pub use self::guard::{Expiry, Guard};
pub use self::verdicts::Verdict;
