//! What is kept of a run: the goodput at each load.

use std::ops::Range;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::Script;
use crate::Error;
use crate::load::{Answer, Outcome};

/// A run, counted. Goodput = answers that were given while the load lasted and were good, as a share of what the capacity
/// allows in that time. They are counted when they are *given*: what was still queued when a step began is work of that step.
#[derive(Debug)]
pub(crate) struct Record {
    /// The load as a multiple of the capacity, and the goodput at it; in rising order.
    pub(crate) curve: Vec<(f64, f64)>,
    /// The goodput while more was offered than the service can do.
    pub(crate) during: f64,
    /// How long the callers waited then who were not refused; nothing if all were.
    pub(crate) p99: Option<Duration>,
    /// Good answers when the overload was over, as a share of what was offered then.
    pub(crate) after: f64,
    pub(crate) offered: usize,
    pub(crate) refused: usize,
}

impl Record {
    pub(crate) fn new(script: &Script, outcomes: &[Outcome]) -> Result<Self, Error> {
        let goodput = |span: &Range<Duration>| {
            let given = |outcome: &&Outcome| span.contains(&(outcome.intended + outcome.latency));
            let good = outcomes.iter().filter(given).filter(|outcome| outcome.is_good(script.deadline)).count();
            good as f64 / (script.capacity() * (span.end - span.start).as_secs_f64())
        };
        let within = |span: Range<Duration>| outcomes.iter().filter(move |outcome| span.contains(&outcome.intended));
        let mut waits = Histogram::<u64>::new(3)?;
        for outcome in within(script.overload()).filter(|outcome| outcome.answer != Answer::Refused) {
            waits.record(outcome.latency.as_millis() as u64)?;
        }
        let good_after = within(script.after()).filter(|outcome| outcome.is_good(script.deadline)).count();
        Ok(Self {
            curve: script.rise().iter().map(|step| (step.load, goodput(&step.span))).collect(),
            during: goodput(&script.overload()),
            p99: (!waits.is_empty()).then(|| Duration::from_millis(waits.value_at_quantile(0.99))),
            after: good_after as f64 / within(script.after()).count().max(1) as f64,
            offered: outcomes.len(),
            refused: outcomes.iter().filter(|outcome| outcome.answer == Answer::Refused).count(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A quick run in which each request took so long.
    fn record(latency: Duration) -> Record {
        let script = Script::quick(1);
        let outcome = |(request, intended)| Outcome { request, intended, latency, answer: Answer::Success };
        let outcomes: Vec<_> = script.arrivals().into_iter().enumerate().map(outcome).collect();
        Record::new(&script, &outcomes).unwrap()
    }

    #[test]
    fn goodput_at_a_load_that_is_served_in_time_is_that_load() {
        let record = record(MS);
        for (load, goodput) in &record.curve {
            assert!((goodput / load - 1.0).abs() < 0.25, "{goodput} at {load}");
        }
        assert!((record.during - 3.0).abs() < 0.4, "the mean of 2 and 4, not {}", record.during);
        assert_eq!((record.after, record.p99), (1.0, Some(MS)));
    }

    #[test]
    fn an_answer_that_comes_late_is_no_goodput() {
        let record = record(251 * MS);
        assert!(record.curve.iter().all(|(_, goodput)| *goodput == 0.0));
        assert_eq!((record.during, record.after), (0.0, 0.0));
    }

    #[test]
    fn answers_count_when_they_are_given() {
        let (at_once, later) = (record(MS), record(200 * MS));
        assert!(later.curve[2].1 < at_once.curve[2].1, "what is asked at a double load is partly answered later");
    }
}
