//! The leak: a dependency sends heads and then stalls its bodies, and a client makes no use of either.
//!
//! ```text
//! callers (open loop) ── client with a pool ──HTTP──> dependency (heads, and for a while nothing after them)
//! ```
//! A timeout around the client ends with the head. Each stalled body therefore keeps its connection for as long as a
//! caller waits for it or just holds it. With seawall a call is over when its body is over, at the latest at its
//! deadline.

mod callers;
pub(crate) mod claim;
mod client;
mod dependency;
mod gauge;
mod record;
mod script;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

pub(crate) use record::Record;
use record::Sample;
pub(crate) use script::Script;

use crate::Error;
use crate::load::Pulse;
use crate::progress::Progress;
use crate::run::{Contestant, PREPARATION};
use callers::Callers;
use dependency::Dependency;

/// How often the connections are counted.
const SAMPLING: Duration = Duration::from_millis(10);

/// A contestant and what was recorded of its run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) contestant: Contestant,
    pub(crate) record: Record,
}

/// Runs the leak. Dropping the runtime closes everything that leaked before the next run.
pub(crate) fn run(contestant: Contestant, script: &Script, port: u16, progress: &Progress) -> Result<Run, Error> {
    let samples = Runtime::new()?.block_on(leak(contestant, script, port, progress))?;
    Ok(Run { contestant, record: Record::new(script, samples) })
}

async fn leak(contestant: Contestant, script: &Script, port: u16, progress: &Progress) -> Result<Vec<Sample>, Error> {
    let start = Instant::now() + PREPARATION;
    let dependency = Dependency::start(port).await?;
    let pulse = Arc::new(Pulse::default());
    let client = client::client(contestant, script)?;
    let callers = Callers { client, dependency: dependency.address, pulse: Arc::clone(&pulse) };
    tokio::spawn(callers.call(start, script.arrivals()));
    tokio::spawn(stretch(script.clone(), dependency.clone(), start));
    let tell = |_| format!("{} of {} connections have a stalled body", dependency.stalled.now(), dependency.open.now());
    tokio::select! {
        samples = sample(script, &dependency, &pulse, start) => Ok(samples),
        never = progress.follow(contestant, "leak", start, script.length(), tell) => never,
    }
}

/// The script: bodies stall for some time, and then they complete again.
async fn stretch(script: Script, dependency: Dependency, start: Instant) {
    let stretch = script.stretch();
    sleep_until(start + stretch.start).await;
    dependency.stall(true);
    sleep_until(start + stretch.end).await;
    dependency.stall(false);
}

async fn sample(script: &Script, dependency: &Dependency, pulse: &Pulse, start: Instant) -> Vec<Sample> {
    sleep_until(start).await;
    let mut samples = Vec::new();
    let mut ticks = interval(SAMPLING);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    while start.elapsed() <= script.length() {
        ticks.tick().await;
        samples.push(Sample {
            at: start.elapsed(),
            open: dependency.open.now(),
            stalled: dependency.stalled.now(),
            good: pulse.good.load(Ordering::Relaxed),
        });
    }
    samples
}
