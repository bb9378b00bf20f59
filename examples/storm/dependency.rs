//! The dependency: a real server with few slots and an endless queue, whose work outlives its callers.
//!
//! Like a database, it executes an accepted query to its end, even if no caller waits for the answer any more. That
//! makes the outage last: the slots are busy with answers for callers that are gone.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::Error;
use crate::listen::serve;
use crate::scenario::Scenario;

/// A running dependency and its counters.
#[derive(Clone)]
pub(crate) struct Dependency {
    pub(crate) address: SocketAddr,
    desk: Arc<Desk>,
}

/// The attempts that have arrived at the dependency.
#[derive(Clone, Debug)]
pub(crate) struct Attempts {
    /// How many attempts each request took.
    pub(crate) per_request: Vec<u32>,
    /// When each one arrived, counted from the start of the run.
    pub(crate) arrivals: Vec<Duration>,
}

struct Desk {
    scenario: Scenario,
    start: Instant,
    slots: Semaphore,
    slowdown: AtomicU32,
    attempts: Mutex<Attempts>,
}

impl Dependency {
    /// Starts the dependency on `port` (0 = any), for a trace of this many requests.
    pub(crate) async fn start(port: u16, scenario: &Scenario, requests: usize, start: Instant) -> Result<Self, Error> {
        let desk = Arc::new(Desk {
            scenario: scenario.clone(),
            start,
            slots: Semaphore::new(scenario.slots as usize),
            slowdown: AtomicU32::new(1),
            attempts: Mutex::new(Attempts { per_request: vec![0; requests], arrivals: Vec::new() }),
        });
        let app = Router::new().route("/{request}", get(answer)).with_state(Arc::clone(&desk));
        Ok(Self { address: serve(port, app).await?, desk })
    }

    /// From now on, work that begins takes `factor` times as long as normal.
    pub(crate) fn slow_down(&self, factor: u32) {
        self.desk.slowdown.store(factor, Ordering::Relaxed);
    }

    pub(crate) fn attempts(&self) -> Attempts {
        self.desk.attempts.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

async fn answer(State(desk): State<Arc<Desk>>, Path(request): Path<usize>) -> StatusCode {
    let Some(attempt) = desk.arrived(request) else { return StatusCode::NOT_FOUND };
    // Spawned: a caller that disconnects drops this handler, but not the work.
    match tokio::spawn(async move { desk.work(request, attempt).await }).await {
        Ok(()) => StatusCode::OK,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl Desk {
    /// Counts an attempt and returns its number; `None` for a request that is not in the trace.
    fn arrived(&self, request: usize) -> Option<u32> {
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let attempt = attempts.per_request.get_mut(request)?;
        *attempt += 1;
        let attempt = *attempt;
        attempts.arrivals.push(self.start.elapsed());
        Some(attempt)
    }

    async fn work(&self, request: usize, attempt: u32) {
        let _slot = self.slots.acquire().await;
        let slowdown = self.slowdown.load(Ordering::Relaxed);
        tokio::time::sleep(self.scenario.service_time(request, attempt) * slowdown).await;
    }
}
