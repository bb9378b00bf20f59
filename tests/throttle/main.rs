//! The throttle, through its public API and in virtual time.
#![allow(clippy::disallowed_methods, reason = "tests sleep and look at the clock as users do")]

use std::time::Duration;

use seawall::context::{self, Priority};
use seawall::error::{Reason, rejection};
use seawall::throttle::{ThrottleConfig, ThrottleLayer};
use seawall::verdict::{self, FromFn, Verdict};
use tokio::time::{advance, sleep};
use tower::{BoxError, Layer, Service, ServiceExt, service_fn};

mod answers;
#[cfg(feature = "http")]
mod closed;
mod harmless;
mod keys;
#[cfg(feature = "http")]
mod over_http;
#[cfg(feature = "http")]
#[path = "../pipes/mod.rs"]
#[allow(dead_code, reason = "other tests ask more of it")]
mod pipes;
mod reload;
mod stacked;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);

const OVERLOADED: Verdict = Verdict::Overloaded { retry_after: None };

type AsTold = FromFn<fn(Result<&Verdict, &BoxError>) -> Verdict>;

/// Classifies a response by the verdict that it contains.
fn as_told() -> AsTold {
    verdict::from_fn(|result| result.map_or_else(verdict::of_error, |verdict| *verdict))
}

fn layer(config: ThrottleConfig) -> ThrottleLayer<AsTold> {
    ThrottleLayer::new(config).expect("a valid config").with_classifier(as_told())
}

/// Responds with the requested verdict.
async fn echo(verdict: Verdict) -> Result<Verdict, BoxError> {
    Ok(verdict)
}

/// Makes so many calls of a dependency that responds like this, and returns how many were refused locally.
async fn calls(layer: &ThrottleLayer<AsTold>, verdict: Verdict, calls: u32) -> u32 {
    let mut refused = 0;
    for _ in 0..calls {
        refused += u32::from(is_throttled(layer.layer(service_fn(echo)).oneshot(verdict).await));
    }
    refused
}

fn is_throttled<T>(result: Result<T, BoxError>) -> bool {
    result.is_err_and(|error| rejection(&error).is_some_and(|rejected| rejected.reason() == Reason::Throttled))
}
