//! A service whose own work is the bottleneck, once [bare] and once [protected] by seawall.
//!
//! As in a thread pool, accepted work is executed even if its caller is gone.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use seawall::deadline::DeadlineLayer;
use seawall::http::respond::RespondLayer;
use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};
use tower::ServiceBuilder;

use super::Script;
use crate::Error;
use crate::run::Contestant;

/// The service of a contestant.
pub(crate) fn service(contestant: Contestant, workers: Workers) -> Result<Router, Error> {
    let script = workers.script.clone();
    let bare = Router::new().route("/{request}", get(answer)).with_state(workers);
    match contestant {
        Contestant::Bare => Ok(bare),
        Contestant::Seawall => protected(&script, bare),
    }
}

/// The service sets only the deadline and the number of workers; everything else is a default.
fn protected(script: &Script, bare: Router) -> Result<Router, Error> {
    let workers = LoadShedConfig { max_in_flight: script.workers, ..LoadShedConfig::default() };
    let layers = ServiceBuilder::new()
        .layer(RespondLayer::new())
        .layer(DeadlineLayer::http(script.deadline)?)
        .layer(LoadShedLayer::http(workers)?);
    Ok(bare.layer(layers))
}

/// The workers, and an endless queue in front of them.
#[derive(Clone)]
pub(crate) struct Workers {
    script: Script,
    free: Arc<Semaphore>,
    start: Instant,
    done: Arc<Mutex<Vec<Piece>>>,
}

/// Work that was completed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Piece {
    /// Counted from the start of the run.
    pub(crate) end: Duration,
    /// Its real duration: on a busy machine, more than requested.
    pub(crate) took: Duration,
}

async fn answer(State(workers): State<Workers>, Path(request): Path<usize>) -> StatusCode {
    // Spawned: a caller that disconnects drops this handler, but not the work.
    match tokio::spawn(async move { workers.work(request).await }).await {
        Ok(()) => StatusCode::OK,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl Workers {
    pub(crate) fn new(script: &Script, start: Instant) -> Self {
        let free = Arc::new(Semaphore::new(script.workers as usize));
        Self { script: script.clone(), free, start, done: Arc::default() }
    }

    async fn work(&self, request: usize) {
        let _worker = self.free.acquire().await;
        let begun = Instant::now();
        sleep(self.script.work_of(request)).await;
        let piece = Piece { end: self.start.elapsed(), took: begun.elapsed() };
        self.done.lock().unwrap_or_else(PoisonError::into_inner).push(piece);
    }

    pub(crate) fn done(&self) -> Vec<Piece> {
        self.done.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
