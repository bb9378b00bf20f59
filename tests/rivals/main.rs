//! Known faults of similar layers in other libraries. Each test shows that the fault does not exist here.
//!
//! The laws in `tests/laws` cover what holds for every layer: stale answers change nothing (`stale`), waits do not spin
//! (`bounds`), idle clones hold nothing (`readiness`), and gauges return to zero (`cancellation`).
#![allow(clippy::disallowed_methods, reason = "tests sleep and look at the clock as users do")]

use std::time::Duration;

mod bulkhead;
mod circuit_breaker;
mod deadline;
mod rate_limit;
mod retry;

const SECOND: Duration = Duration::from_secs(1);
const MILLISECOND: Duration = Duration::from_millis(1);
