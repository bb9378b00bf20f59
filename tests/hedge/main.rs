//! The hedge layer, through its public API and in virtual time.
#![allow(clippy::disallowed_methods, reason = "tests sleep and look at the clock as users do")]

use std::future::Future;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use seawall::context;
use seawall::hedge::{HedgeConfig, HedgeDelay, HedgeLayer, LearnedDelay};
use seawall::retry::BudgetConfig;
use tokio::time::Instant;
use tower::util::BoxCloneSyncService;
use tower::{BoxError, service_fn};

mod attempts;
#[cfg(feature = "http")]
mod bodies;
mod budget;
mod censored;
mod learned;
mod load;
mod losses;
mod observed;
mod vectors;

const SECOND: Duration = Duration::from_secs(1);
const DELAY: Duration = millis(10);

const fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// Hedges after exactly ten milliseconds.
fn fixed() -> HedgeConfig {
    HedgeConfig { delay: HedgeDelay::Fixed(DELAY), ..HedgeConfig::default() }
}

fn learned(learned: LearnedDelay) -> HedgeConfig {
    HedgeConfig { delay: HedgeDelay::Learned(learned), ..HedgeConfig::default() }
}

fn layer(config: HedgeConfig) -> HedgeLayer {
    HedgeLayer::new(config).expect("a valid configuration")
}

/// A reserve of this many hedges that hardly refills, and no deposits by calls.
fn reserve(burst: u32) -> BudgetConfig {
    BudgetConfig { ratio: 0.0, reserve_per_second: 0.001, reserve_burst: burst, ..BudgetConfig::default() }
}

/// The instant of each attempt, its number, and how many were dropped before they ended.
#[derive(Clone, Debug, Default)]
struct Log {
    started: Arc<Mutex<Vec<(Instant, u32)>>>,
    cancelled: Arc<AtomicUsize>,
}

impl Log {
    fn attempts(&self) -> Vec<u32> {
        self.started.lock().unwrap().iter().map(|(_, attempt)| *attempt).collect()
    }

    /// When each attempt started, from the first.
    fn times(&self) -> Vec<Duration> {
        let started = self.started.lock().unwrap();
        started.iter().map(|(at, _)| *at - started[0].0).collect()
    }

    fn cancelled(&self) -> usize {
        self.cancelled.load(Ordering::SeqCst)
    }
}

/// Counts an attempt that is dropped before it ends.
struct Running(Option<Arc<AtomicUsize>>);

impl Running {
    fn end(mut self) {
        self.0 = None;
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(cancelled) = &self.0 {
            cancelled.fetch_add(1, Ordering::SeqCst);
        }
    }
}

type Callee = BoxCloneSyncService<(), u32, BoxError>;

/// A service whose answers depend on the number of the attempt.
fn callee<F, R>(log: &Log, script: F) -> Callee
where
    F: Fn(u32) -> R + Send + Sync + 'static,
    R: Future<Output = Result<u32, BoxError>> + Send + 'static,
{
    let (log, script) = (log.clone(), Arc::new(script));
    BoxCloneSyncService::new(service_fn(move |()| {
        let attempt = context::attempt();
        log.started.lock().unwrap().push((Instant::now(), attempt));
        let (answer, running) = (script(attempt), Running(Some(Arc::clone(&log.cancelled))));
        async move {
            let answer = answer.await;
            running.end();
            answer
        }
    }))
}

/// A service whose attempts take these times, in milliseconds, and succeed with their number; those without a time take for ever.
fn taking(log: &Log, times: &'static [u64]) -> Callee {
    callee(log, move |attempt| async move {
        match times.get(attempt as usize - 1) {
            Some(time) => tokio::time::sleep(millis(*time)).await,
            None => std::future::pending().await,
        }
        Ok(attempt)
    })
}
