//! All runs: the storm itself, the leak and the overload, each once for every contestant.

use std::time::Duration;

use clap::ValueEnum;

use crate::Error;
use crate::claim;
use crate::leak;
use crate::overload;
use crate::progress::Progress;
use crate::run::{self, Contestant, Run};
use crate::scenario::Scenario;

/// One of the three runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Act {
    /// A dependency becomes slow for a while.
    Storm,
    /// A dependency stalls its bodies.
    Leak,
    /// A service is offered more than its capacity.
    Overload,
}

impl Act {
    pub(crate) const ALL: [Self; 3] = [Self::Storm, Self::Leak, Self::Overload];
}

/// The parameters of all runs.
#[derive(Debug)]
pub(crate) struct Scripts {
    pub(crate) storm: Scenario,
    pub(crate) leak: leak::Script,
    pub(crate) overload: overload::Script,
}

/// The results of all runs.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    pub(crate) storm: Vec<Run>,
    pub(crate) leak: Vec<leak::Run>,
    pub(crate) overload: Vec<overload::Run>,
}

impl Scripts {
    pub(crate) fn full(seed: u64) -> Self {
        Self { storm: Scenario::full(seed), leak: leak::Script::full(seed), overload: overload::Script::full(seed) }
    }

    pub(crate) fn quick(seed: u64) -> Self {
        Self { storm: Scenario::quick(seed), leak: leak::Script::quick(seed), overload: overload::Script::quick(seed) }
    }

    /// How long an act takes for one contestant.
    pub(crate) fn length(&self, act: Act) -> Duration {
        match act {
            Act::Storm => self.storm.length(),
            Act::Leak => self.leak.length(),
            Act::Overload => self.overload.length(),
        }
    }

    /// Runs an act and adds its results.
    pub(crate) fn run(
        &self,
        act: Act,
        contestant: Contestant,
        port: u16,
        progress: &Progress,
        runs: &mut Runs,
    ) -> Result<(), Error> {
        match act {
            Act::Storm => runs.storm.push(run::run(contestant, &self.storm, port, progress)?),
            Act::Leak => runs.leak.push(leak::run(contestant, &self.leak, port, progress)?),
            Act::Overload => runs.overload.push(overload::run(contestant, &self.overload, port, progress)?),
        }
        Ok(())
    }

    /// A sentence for each promise that was not kept.
    pub(crate) fn broken_promises(&self, runs: &Runs) -> Vec<String> {
        let mut broken = claim::broken_promises(&runs.storm);
        broken.extend(leak::claim::broken_promises(&self.leak, &runs.leak));
        broken.extend(overload::claim::broken_promises(&self.overload, &runs.overload));
        broken
    }
}

impl Runs {
    /// The figures for machines: `figure <name> <value>`, a line each.
    pub(crate) fn figures(&self) -> Vec<String> {
        let mut figures = claim::figures(&self.storm);
        figures.extend(leak::claim::figures(&self.leak));
        figures.extend(overload::claim::figures(&self.overload));
        figures
    }
}
