//! A new configuration while calls are in flight: what changes, what survives, and that calls notice nothing else.
#![allow(clippy::disallowed_methods, reason = "tests sleep and look at the clock as users do")]

mod breaker;
mod crowd;
mod deadlines;
mod invalid;
mod keys;
mod permits;
mod rates;
mod retries;
#[cfg(feature = "http")]
mod stacks;

use std::future::{Pending, pending};
use std::time::Duration;

use seawall::error::{Reason, rejection};
use tower::util::ServiceFn;
use tower::{BoxError, service_fn};

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const MINUTE: Duration = Duration::from_secs(60);

type Callee = ServiceFn<fn(u32) -> Pending<Result<u32, BoxError>>>;

/// Never answers.
fn silent() -> Callee {
    service_fn(|_| pending())
}

fn reason<T>(answer: Result<T, BoxError>) -> Option<Reason> {
    rejection(&answer.err()?).map(|rejected| rejected.reason())
}
