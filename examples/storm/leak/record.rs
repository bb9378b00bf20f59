//! What is kept of a run: the dependency's counts over time.

use std::time::Duration;

use super::Script;
use super::dependency::Dependency;

/// What was counted at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    /// Counted from the start of the run.
    pub(crate) at: Duration,
    /// Connections that the dependency has accepted and not seen closed, idle ones included.
    pub(crate) open: usize,
    /// Those with a stalled body.
    pub(crate) stalled: usize,
    /// Answers that were read to their end so far.
    pub(crate) good: usize,
}

/// A run, counted.
#[derive(Debug)]
pub(crate) struct Record {
    /// In the order of time.
    pub(crate) samples: Vec<Sample>,
    /// The most connections that were ever open at once, between the samples, too.
    pub(crate) most_open: usize,
    /// The most that ever had a stalled body at once.
    pub(crate) most_stalled: usize,
    /// How many still had a stalled body when the deadline of the last call of the stretch was over.
    pub(crate) stalled_after_deadline: usize,
    /// Answers that were read to their end before the stretch...
    pub(crate) good_before: usize,
    /// ...and since that deadline.
    pub(crate) good_after: usize,
}

impl Record {
    pub(crate) fn new(script: &Script, dependency: &Dependency, samples: Vec<Sample>) -> Self {
        let good = |at| seen_at(&samples, at).good;
        Self {
            most_open: dependency.open.most(),
            most_stalled: dependency.stalled.most(),
            stalled_after_deadline: seen_at(&samples, script.settled()).stalled,
            good_before: good(script.stretch().start),
            good_after: good(script.length()) - good(script.settled()),
            samples,
        }
    }
}

/// The last sample that was taken no later than `at`.
fn seen_at(samples: &[Sample], at: Duration) -> Sample {
    samples.iter().rev().find(|sample| sample.at <= at).copied().unwrap_or_default()
}
