//! A service whose own work is the bottleneck, once [bare] and once [protected] by seawall.
//!
//! As with a pool of threads, work that was handed in is done, even if its caller has gone.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use seawall::deadline::DeadlineLayer;
use seawall::http::respond::RespondLayer;
use seawall::load_shed::{LoadShedConfig, LoadShedLayer};
use tokio::sync::Semaphore;
use tokio::time::sleep;
use tower::ServiceBuilder;

use super::Script;
use crate::Error;
use crate::run::Contestant;

pub(crate) fn service(contestant: Contestant, script: &Script) -> Result<Router, Error> {
    let workers = Workers { script: script.clone(), free: Arc::new(Semaphore::new(script.workers as usize)) };
    let bare = Router::new().route("/{request}", get(answer)).with_state(workers);
    match contestant {
        Contestant::Bare => Ok(bare),
        Contestant::Seawall => protected(script, bare),
    }
}

/// Only the deadline and the number of workers are this service's own; all else is the library's defaults.
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
struct Workers {
    script: Script,
    free: Arc<Semaphore>,
}

async fn answer(State(workers): State<Workers>, Path(request): Path<usize>) -> StatusCode {
    // Spawned: a caller that hangs up drops this handler, not the work.
    match tokio::spawn(async move { workers.work(request).await }).await {
        Ok(()) => StatusCode::OK,
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

impl Workers {
    async fn work(&self, request: usize) {
        let _worker = self.free.acquire().await;
        sleep(self.script.work_of(request)).await;
    }
}
