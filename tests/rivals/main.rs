//! What is known to go wrong with layers like these, promised not to go wrong here. Each test is one such promise.
//!
//! What holds for every layer alike is among the laws, in `tests/laws`: that answers of an earlier era move nothing (`late`),
//! that nobody spins while he waits (`bounds`), that idle clones hold nothing (`readiness`), that gauges come back
//! (`cancellation`).
#![allow(clippy::disallowed_methods, reason = "tests sleep and look at the clock as users do")]

use std::time::Duration;

mod bulkhead;
mod circuit_breaker;
mod deadline;
mod rate_limit;
mod retry;

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);
