//! The retry layer, through its public API and in virtual time.
#![allow(clippy::disallowed_methods, reason = "tests sleep and look at the clock as users do")]

use std::future::{Future, ready};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use seawall::context;
use seawall::retry::{Backoff, Jitter, RetryConfig, RetryLayer};
use tokio::time::Instant;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, Service, service_fn};

mod attempts;
mod budget;
mod contract;
mod refunds;
mod report;
#[cfg(feature = "http")]
mod retry_after;
mod switched_off;
mod usual_time;
mod waits;

const SECOND: Duration = Duration::from_secs(1);

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Backoffs of exactly a second.
fn every_second() -> RetryConfig {
    RetryConfig { backoff: Backoff { jitter: Jitter::None, ..Backoff::constant(SECOND) }, ..RetryConfig::default() }
}

fn layer(config: RetryConfig) -> RetryLayer {
    RetryLayer::new(config).expect("a valid configuration")
}

/// The instant of each attempt, and the attempt number in its context.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<(Instant, u32)>>>);

impl Log {
    fn note(&self) -> u32 {
        let attempt = context::attempt();
        self.0.lock().unwrap().push((Instant::now(), attempt));
        attempt
    }

    fn attempts(&self) -> Vec<u32> {
        self.0.lock().unwrap().iter().map(|(_, attempt)| *attempt).collect()
    }

    /// The time from each attempt to the next.
    fn waits(&self) -> Vec<Duration> {
        self.0.lock().unwrap().windows(2).map(|pair| pair[1].0 - pair[0].0).collect()
    }
}

/// A service whose answers depend on the number of the attempt.
fn callee<F, R>(log: &Log, script: F) -> Callee
where
    F: Fn(u32) -> R + Send + Sync + 'static,
    R: Future<Output = Result<u32, BoxError>> + Send + 'static,
{
    let log = log.clone();
    let script = Arc::new(script);
    BoxCloneSyncService::new(service_fn(move |()| script(log.note())))
}

type Callee = BoxCloneSyncService<(), u32, BoxError>;

/// A service that fails at once, with the number of the attempt.
fn failing(log: &Log) -> Callee {
    callee(log, |attempt| ready(Err(format!("failure {attempt}").into())))
}
