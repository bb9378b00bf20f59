//! One run: a dependency, a service in front of it, the callers, and the script of the outage, all in a runtime of their own.

use std::sync::Arc;
use std::time::Duration;

use clap::ValueEnum;
use tokio::runtime::Runtime;
use tokio::time::{Instant, sleep_until};

use crate::Error;
use crate::dependency::Dependency;
use crate::front::{self, Refusals};
use crate::load::{Callers, Pulse};
use crate::progress::{LastSecond, Progress};
use crate::record::{Record, Seen};
use crate::scenario::{Phase, Scenario};

/// How the service in the middle calls its dependency.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Contestant {
    /// A timeout for each attempt and naive retries.
    Bare,
    /// Protected by seawall's layers.
    Seawall,
}

impl Contestant {
    pub(crate) const ALL: [Self; 2] = [Self::Bare, Self::Seawall];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Seawall => "seawall",
        }
    }
}

/// A contestant and what was recorded of its run.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) contestant: Contestant,
    pub(crate) record: Record,
}

/// The time between the start of the servers and the first request.
pub(crate) const PREPARATION: Duration = Duration::from_millis(50);

/// Runs the storm. Dropping the runtime closes all connections and discards all queued work before the next run.
pub(crate) fn run(contestant: Contestant, scenario: &Scenario, port: u16, progress: &Progress) -> Result<Run, Error> {
    let seen = Runtime::new()?.block_on(storm(contestant, scenario, port, progress))?;
    Ok(Run { contestant, record: Record::new(scenario, &seen)? })
}

async fn storm(contestant: Contestant, scenario: &Scenario, port: u16, progress: &Progress) -> Result<Seen, Error> {
    let arrivals = scenario.arrivals();
    let start = Instant::now() + PREPARATION;
    let refusals = Refusals::since(start);
    let dependency = Dependency::start(port, scenario, arrivals.len(), start).await?;
    let service = match contestant {
        Contestant::Bare => front::bare::service(scenario, dependency.address),
        Contestant::Seawall => front::protected::service(scenario, dependency.address, &refusals)?,
    };
    let service_port = if port == 0 { 0 } else { port + 1 };
    let service = crate::listen::serve(service_port, service).await?;

    let pulse = Arc::new(Pulse::default());
    tokio::spawn(outage(scenario.clone(), dependency.clone(), start));
    let callers = Callers::new(service, start, scenario.deadline, Arc::clone(&pulse));
    let mut last_second = LastSecond::default();
    let tell = |elapsed| format!("{}: {}", scenario.phase_at(elapsed).name(), last_second.of(&pulse));
    let outcomes = tokio::select! {
        outcomes = callers.call(&arrivals) => outcomes?,
        never = progress.follow(contestant, "storm", start, scenario.length(), tell) => never,
    };
    Ok(Seen { outcomes, attempts: dependency.attempts(), refusals: refusals.seen() })
}

/// The script: the dependency becomes slow, and later healthy again.
async fn outage(scenario: Scenario, dependency: Dependency, start: Instant) {
    let outage = scenario.span(Phase::Outage);
    sleep_until(start + outage.start).await;
    dependency.slow_down(scenario.slowdown);
    sleep_until(start + outage.end).await;
    dependency.slow_down(1);
}
