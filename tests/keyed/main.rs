//! State per key in bounded memory: which effect calls with other keys can have on it, and what happens when the code
//! of a key panics or calls back.
#![allow(clippy::disallowed_methods, reason = "tests sleep as users do, in virtual time")]

mod churn;
mod foreign;
#[cfg(feature = "http")]
mod per_authority;
mod shared_states;

use std::future::pending;
use std::time::Duration;

use seawall::bulkhead::BulkheadConfig;
use seawall::circuit_breaker::CircuitBreakerConfig;
use seawall::error::{Reason, rejection};
use seawall::load_shed::LoadShedConfig;
use seawall::rate_limit::RateLimitConfig;
use seawall::retry::{Backoff, BudgetConfig, RetryConfig};
use tower::BoxError;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3600);

/// How a call ends in the test service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Behaviour {
    Succeed,
    Fail,
    Hang,
}

use Behaviour::{Fail, Hang, Succeed};

/// A request: its key, and how it ends.
type Request = (u32, Behaviour);

fn key((key, _): &Request) -> u32 {
    *key
}

async fn serve((_, behaviour): Request) -> Result<(), BoxError> {
    match behaviour {
        Succeed => Ok(()),
        Fail => Err("down".into()),
        Hang => pending().await,
    }
}

fn reason<T>(answer: Result<T, BoxError>) -> Option<Reason> {
    rejection(&answer.err()?).map(|rejected| rejected.reason())
}

/// Five calls an hour.
fn rate(max_keys: usize) -> RateLimitConfig {
    RateLimitConfig { permits: 5, per: HOUR, max_keys, ..Default::default() }
}

/// Three failures open it for an hour.
fn breaker(max_keys: usize) -> CircuitBreakerConfig {
    CircuitBreakerConfig {
        consecutive_failures: Some(3),
        break_duration: HOUR,
        max_break: HOUR,
        max_keys,
        ..Default::default()
    }
}

/// Two calls at a time, and no queue.
fn bulkhead(max_keys: usize) -> BulkheadConfig {
    BulkheadConfig { max_concurrent: 2, max_waiting: 0, max_hold: 24 * HOUR, max_keys, ..Default::default() }
}

/// One call at a time, and one queued.
fn load_shed(max_keys: usize) -> LoadShedConfig {
    LoadShedConfig { max_in_flight: 1, queue_ratio: 0.0, max_hold: 24 * HOUR, max_keys, ..Default::default() }
}

/// A budget of two retries, which refills within the hour.
fn retry(max_keys: usize) -> RetryConfig {
    RetryConfig {
        max_attempts: 2,
        backoff: Backoff::constant(MS),
        budget: BudgetConfig { ratio: 0.0, reserve_per_second: 0.001, reserve_burst: 2, ..Default::default() },
        max_keys,
        ..Default::default()
    }
}
