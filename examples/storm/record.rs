//! The record of a run, counted by phase and by bin of half a second.
//!
//! A request belongs to the phase and the bin of its *intended* start, and so do its attempts. Refusals, and attempts
//! a second at the dependency, are counted when they happen.
//! given per second of time (attempts that arrive at the dependency) and refusals are counted when they happen.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::Duration;

use hdrhistogram::Histogram;

use crate::Error;
use crate::dependency::Attempts;
use crate::front::Refusal;
use crate::load::{Answer, Outcome};
use crate::scenario::{BIN, Phase, Scenario};

/// A bin is good if at least this share of the requests offered in it got good answers.
pub(crate) const WELL: f64 = 0.9;

/// The observations of a run.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) attempts: Attempts,
    pub(crate) refusals: Vec<Refusal>,
}

/// The results of a run.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) whole: Tally,
    /// In the order of [`Phase::ALL`].
    phases: [Tally; 3],
    pub(crate) bins: Vec<Bin>,
    /// From the end of the outage to the start of the first bin from which all bins to the end of the run are
    /// [`WELL`].
    pub(crate) recovery: Option<Duration>,
    /// The requests offered after the recovery; without a recovery, in the whole last phase.
    pub(crate) after: Tally,
}

/// The requests whose intended start is in a period.
#[derive(Debug)]
pub(crate) struct Tally {
    pub(crate) offered: usize,
    pub(crate) good: usize,
    attempts: u64,
    /// Milliseconds from the intended start to the answer, for all callers that were not refused.
    waits: Histogram<u64>,
    /// By the layer that refused.
    pub(crate) refusals: BTreeMap<&'static str, usize>,
}

/// Half a second of a run.
#[derive(Debug)]
pub(crate) struct Bin {
    pub(crate) start: Duration,
    pub(crate) tally: Tally,
    /// Attempts that arrived at the dependency each second.
    pub(crate) attempt_rate: f64,
}

impl Record {
    pub(crate) fn new(scenario: &Scenario, seen: &Seen) -> Result<Self, Error> {
        let tally = |span| Tally::new(scenario.deadline, seen, span);
        let [before, outage, after] = Phase::ALL.map(|phase| tally(scenario.span(phase)));
        let mut bins = Vec::new();
        let mut start = Duration::ZERO;
        while start < scenario.length() {
            let span = start..start + BIN;
            let arrived = seen.attempts.arrivals.iter().filter(|at| span.contains(at)).count();
            bins.push(Bin { start, attempt_rate: arrived as f64 / BIN.as_secs_f64(), tally: tally(span)? });
            start += BIN;
        }
        let healed = scenario.span(Phase::Outage).end;
        let recovery = recovery(&bins, healed);
        Ok(Self {
            whole: tally(Duration::ZERO..scenario.length())?,
            phases: [before?, outage?, after?],
            bins,
            recovery,
            after: tally(healed + recovery.unwrap_or_default()..scenario.length())?,
        })
    }

    pub(crate) fn phase(&self, phase: Phase) -> &Tally {
        &self.phases[phase as usize]
    }
}

/// From `healed` to the start of the first bin from which all bins are good, if there is one.
fn recovery(bins: &[Bin], healed: Duration) -> Option<Duration> {
    let after: Vec<&Bin> = bins.iter().filter(|bin| bin.start >= healed).collect();
    let ill = |bin: &&Bin| bin.tally.good_share().is_some_and(|share| share < WELL);
    let first_well = after.iter().rposition(ill).map_or(0, |last_ill| last_ill + 1);
    after.get(first_well).map(|bin| bin.start - healed)
}

impl Tally {
    fn new(deadline: Duration, seen: &Seen, span: Range<Duration>) -> Result<Self, Error> {
        let mut tally = Self { offered: 0, good: 0, attempts: 0, waits: Histogram::new(3)?, refusals: BTreeMap::new() };
        for outcome in seen.outcomes.iter().filter(|outcome| span.contains(&outcome.intended)) {
            tally.offered += 1;
            tally.good += usize::from(outcome.is_good(deadline));
            tally.attempts += seen.attempts.per_request.get(outcome.request).copied().map_or(0, u64::from);
            if outcome.answer != Answer::Refused {
                tally.waits.record(outcome.latency.as_millis() as u64)?;
            }
        }
        for refusal in seen.refusals.iter().filter(|refusal| span.contains(&refusal.at)) {
            *tally.refusals.entry(refusal.layer).or_default() += 1;
        }
        Ok(tally)
    }

    /// Good answers as a share of the offered requests; `None` if none was offered.
    pub(crate) fn good_share(&self) -> Option<f64> {
        (self.offered > 0).then(|| self.good as f64 / self.offered as f64)
    }

    /// Attempts at the dependency for each offered request; `None` if none was offered.
    pub(crate) fn attempts_per_request(&self) -> Option<f64> {
        (self.offered > 0).then(|| self.attempts as f64 / self.offered as f64)
    }

    /// How long unrefused callers waited; `None` if all were refused.
    pub(crate) fn wait_at(&self, quantile: f64) -> Option<Duration> {
        (!self.waits.is_empty()).then(|| Duration::from_millis(self.waits.value_at_quantile(quantile)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A quick run (the outage ends after 4 s of 8) in which the requests of some periods fail.
    fn record(failing: &[Range<Duration>]) -> Record {
        let scenario = Scenario::quick(1);
        let arrivals = scenario.arrivals();
        let outcome = |(request, intended): (usize, &Duration)| {
            let fails = failing.iter().any(|span| span.contains(intended));
            let answer = if fails { Answer::Failed } else { Answer::Success };
            Outcome { request, intended: *intended, latency: 20 * MS, answer }
        };
        let outcomes = arrivals.iter().enumerate().map(outcome).collect();
        let attempts = Attempts { per_request: vec![2; arrivals.len()], arrivals };
        Record::new(&scenario, &Seen { outcomes, attempts, refusals: Vec::new() }).unwrap()
    }

    #[test]
    fn recovery_is_the_first_bin_from_which_all_are_good() {
        assert_eq!(record(&[]).recovery, Some(Duration::ZERO));
        assert_eq!(
            record(&[2000 * MS..4000 * MS]).recovery,
            Some(Duration::ZERO),
            "failures before the end do not count"
        );
        assert_eq!(record(&[2000 * MS..4700 * MS]).recovery, Some(1000 * MS));
        assert_eq!(record(&[4000 * MS..4500 * MS, 6000 * MS..6400 * MS]).recovery, Some(2500 * MS), "a relapse counts");
        assert_eq!(record(&[7800 * MS..8000 * MS]).recovery, None, "failing to the end");
    }

    #[test]
    fn share_after_the_outage_starts_at_the_recovery() {
        assert_eq!(record(&[2000 * MS..5000 * MS]).after.good_share(), Some(1.0));
        let down = record(&[4000 * MS..8000 * MS]);
        assert_eq!((down.recovery, down.after.good_share()), (None, Some(0.0)));
        assert_eq!(down.after.offered, down.phase(Phase::After).offered);
    }

    #[test]
    fn every_request_and_attempt_is_counted_once() {
        let record = record(&[]);
        let in_phases: usize = Phase::ALL.iter().map(|phase| record.phase(*phase).offered).sum();
        let in_bins: usize = record.bins.iter().map(|bin| bin.tally.offered).sum();
        assert_eq!((in_phases, in_bins), (record.whole.offered, record.whole.offered));
        assert_eq!(record.whole.attempts_per_request(), Some(2.0));
        let arrived: f64 = record.bins.iter().map(|bin| bin.attempt_rate * BIN.as_secs_f64()).sum();
        assert_eq!(arrived, record.whole.offered as f64);
    }
}
