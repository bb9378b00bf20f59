//! The overload: a service is offered several times what its own workers can do, with no dependency in sight.
//!
//! ```text
//! callers (open loop, rising load) ──HTTP──> service (axum, few workers)
//! ```
//! The bare service takes on everything, so that each request waits behind all earlier ones: its workers are always busy,
//! and every answer is late. They stay late when the load is low again, for as long as it takes to work through what nobody
//! waits for any more. With seawall the service refuses what it cannot do in time, and does the rest as ever.

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

/// A contestant and what was recorded of its run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) contestant: Contestant,
    pub(crate) record: Record,
}

/// Runs the overload. With the runtime, all work still queued goes away before the next run.
pub(crate) fn run(contestant: Contestant, script: &Script, port: u16, progress: &Progress) -> Result<Run, Error> {
    let outcomes = Runtime::new()?.block_on(overload(contestant, script, port, progress))?;
    Ok(Run { contestant, record: Record::new(script, &outcomes)? })
}

async fn overload(
    contestant: Contestant,
    script: &Script,
    port: u16,
    progress: &Progress,
) -> Result<Vec<Outcome>, Error> {
    let start = Instant::now() + PREPARATION;
    let service = serve(port, service::service(contestant, script)?).await?;
    let pulse = Arc::new(Pulse::default());
    let callers = Callers::new(service, start, script.deadline, Arc::clone(&pulse));
    let arrivals = script.arrivals();
    let mut last_second = LastSecond::default();
    tokio::select! {
        outcomes = callers.call(&arrivals) => outcomes,
        never = progress.follow(contestant, "overload", start, script.length(), |_| last_second.of(&pulse)) => never,
    }
}
