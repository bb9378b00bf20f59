//! The record of a run: the dependency's counts over time.

use std::time::Duration;

use super::Script;

/// What was counted at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sample {
    /// Counted from the start of the run.
    pub(crate) at: Duration,
    /// Connections that the dependency has accepted and not seen closed, idle ones included.
    pub(crate) open: usize,
    /// Connections with a stalled body.
    pub(crate) stalled: usize,
    /// Responses that were read to their end so far.
    pub(crate) good: usize,
}

/// A run, counted.
#[derive(Debug)]
pub(crate) struct Record {
    /// In the order of time.
    pub(crate) samples: Vec<Sample>,
    /// The most connections that were open at once.
    pub(crate) most_open: usize,
    /// How many bodies were still stalled after the deadline of the last call during the stall.
    pub(crate) stalled_after_deadline: usize,
    /// Responses that were read to their end before the stall...
    pub(crate) good_before: usize,
    /// ...and after it.
    pub(crate) good_after: usize,
}

impl Record {
    pub(crate) fn new(script: &Script, samples: Vec<Sample>) -> Self {
        let good = |at| seen_at(&samples, at).good;
        Self {
            most_open: most_open(&samples),
            stalled_after_deadline: seen_at(&samples, script.settled()).stalled,
            good_before: good(script.stretch().start),
            good_after: good(script.length()) - good(script.stretch().end),
            samples,
        }
    }
}

/// The last sample at or before `at`.
fn seen_at(samples: &[Sample], at: Duration) -> Sample {
    samples.iter().rev().find(|sample| sample.at <= at).copied().unwrap_or_default()
}

/// The highest count that three samples in a row reached. A server may accept a connection a moment before it sees
/// that the client closed another one to make room for it, and counts both in that moment.
fn most_open(samples: &[Sample]) -> usize {
    let lasting = |samples: &[Sample]| samples.iter().map(|sample| sample.open).min();
    samples.windows(3).filter_map(lasting).max().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A sample each ten milliseconds of a quick run; all open connections are stalled.
    fn record(open: impl Fn(Duration) -> usize) -> Record {
        let script = Script::quick(1);
        let sample = |at| Sample { at, open: open(at), stalled: open(at), good: (at.as_millis() / 100) as usize };
        Record::new(&script, (0..=330).map(|tick| sample(10 * MS * tick)).collect())
    }

    #[test]
    fn what_is_open_for_a_moment_only_is_not_the_most() {
        assert_eq!(record(|at| if at == 500 * MS { 9 } else { 8 }).most_open, 8);
        assert_eq!(record(|at| if (500 * MS..530 * MS).contains(&at) { 9 } else { 8 }).most_open, 9);
    }

    #[test]
    fn what_is_left_is_counted_a_deadline_and_a_little_more_after_the_stretch() {
        assert_eq!(record(|at| usize::from(at < 2300 * MS)).stalled_after_deadline, 0);
        assert_eq!(record(|at| usize::from(at <= 2300 * MS)).stalled_after_deadline, 1);
    }

    #[test]
    fn whole_answers_are_counted_before_and_after_the_stretch() {
        let record = record(|_| 0);
        assert_eq!((record.good_before, record.good_after), (4, 16));
    }
}
