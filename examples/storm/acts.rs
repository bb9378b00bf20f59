//! All that is run: the storm itself, the leak and the overload, each once for every contestant.

use std::time::Duration;

use crate::Error;
use crate::claim;
use crate::leak;
use crate::overload;
use crate::progress::Progress;
use crate::run::{self, Contestant, Run};
use crate::scenario::Scenario;

/// What is going to happen.
#[derive(Debug)]
pub(crate) struct Scripts {
    pub(crate) storm: Scenario,
    pub(crate) leak: leak::Script,
    pub(crate) overload: overload::Script,
}

/// What has happened.
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

    /// How long it takes one contestant.
    pub(crate) fn length(&self) -> Duration {
        self.storm.length() + self.leak.length() + self.overload.length()
    }

    pub(crate) fn run(&self, contestants: &[Contestant], port: u16, progress: &Progress) -> Result<Runs, Error> {
        let mut runs = Runs::default();
        for contestant in contestants {
            runs.storm.push(run::run(*contestant, &self.storm, port, progress)?);
        }
        for contestant in contestants {
            runs.leak.push(leak::run(*contestant, &self.leak, port, progress)?);
        }
        for contestant in contestants {
            runs.overload.push(overload::run(*contestant, &self.overload, port, progress)?);
        }
        Ok(runs)
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
