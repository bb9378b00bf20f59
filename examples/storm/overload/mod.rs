//! The overload: a service is offered several times the capacity of its own workers, without any dependency.
//!
//! ```text
//! callers (open loop, rising load) ──HTTP──> service (axum, few workers)
//! ```
//! The bare service accepts everything, so each request waits behind all earlier ones: its workers are always busy,
//! and every answer is late. After the load falls, answers stay late until the workers have finished requests that no
//! caller waits for. With seawall the service refuses what it cannot do in time, and does the rest at its usual speed.

pub(crate) mod claim;
mod record;
mod script;
mod service;

use std::sync::Arc;

use tokio::runtime::Runtime;
use tokio::time::Instant;

pub(crate) use record::Record;
pub(crate) use script::Script;

use crate::Error;
use crate::listen::serve;
use crate::load::{Callers, Outcome, Pulse};
use crate::progress::{LastSecond, Progress};
use crate::run::{Contestant, PREPARATION};
use service::{Piece, Workers};

/// A contestant and what was recorded of its run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) contestant: Contestant,
    pub(crate) record: Record,
}

/// Runs the overload. Dropping the runtime discards all queued work before the next run.
pub(crate) fn run(contestant: Contestant, script: &Script, port: u16, progress: &Progress) -> Result<Run, Error> {
    let (outcomes, done) = Runtime::new()?.block_on(overload(contestant, script, port, progress))?;
    Ok(Run { contestant, record: Record::new(script, &outcomes, &done)? })
}

async fn overload(
    contestant: Contestant,
    script: &Script,
    port: u16,
    progress: &Progress,
) -> Result<(Vec<Outcome>, Vec<Piece>), Error> {
    let start = Instant::now() + PREPARATION;
    let workers = Workers::new(script, start);
    let service = serve(port, service::service(contestant, workers.clone())?).await?;
    let pulse = Arc::new(Pulse::default());
    let callers = Callers::new(service, start, script.deadline, Arc::clone(&pulse));
    let arrivals = script.arrivals();
    let mut last_second = LastSecond::default();
    let outcomes = tokio::select! {
        outcomes = callers.call(&arrivals) => outcomes?,
        never = progress.follow(contestant, "overload", start, script.length(), |_| last_second.of(&pulse)) => never,
    };
    Ok((outcomes, workers.done()))
}
