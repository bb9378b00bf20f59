//! The record of a run: the goodput at each load.

use std::ops::Range;
use std::time::Duration;

use hdrhistogram::Histogram;

use super::Script;
use super::service::Piece;
use crate::Error;
use crate::load::{Answer, Outcome};

/// The results of a run. Goodput is the good answers that were given during a step, as a share of what the capacity
/// allows in that time. Answers are counted when they are *given*: work that was queued when a step began is work of
/// that step.
#[derive(Debug)]
pub(crate) struct Record {
    /// The offered load as a multiple of the capacity, and the goodput at it, step by step.
    pub(crate) curve: Vec<(f64, f64)>,
    /// The goodput while the load exceeded the capacity.
    pub(crate) during: f64,
    /// How long unrefused callers waited then; `None` if all were refused.
    pub(crate) p99: Option<Duration>,
    /// Good answers after the overload, as a share of what was offered then.
    pub(crate) after: f64,
    pub(crate) offered: usize,
    pub(crate) refused: usize,
}

impl Record {
    pub(crate) fn new(script: &Script, outcomes: &[Outcome], done: &[Piece]) -> Result<Self, Error> {
        let goodput = |span: &Range<Duration>| {
            let given = |outcome: &&Outcome| span.contains(&(outcome.intended + outcome.latency));
            let good = outcomes.iter().filter(given).filter(|outcome| outcome.is_good(script.deadline)).count();
            good as f64 / (capacity(script, done, span) * (span.end - span.start).as_secs_f64())
        };
        let within = |span: Range<Duration>| outcomes.iter().filter(move |outcome| span.contains(&outcome.intended));
        let load = |span: &Range<Duration>| {
            within(span.clone()).count() as f64 / (capacity(script, done, span) * (span.end - span.start).as_secs_f64())
        };
        let mut waits = Histogram::<u64>::new(3)?;
        for outcome in within(script.overload()).filter(|outcome| outcome.answer != Answer::Refused) {
            waits.record(outcome.latency.as_millis() as u64)?;
        }
        let good_after = within(script.after()).filter(|outcome| outcome.is_good(script.deadline)).count();
        Ok(Self {
            curve: script.rise().iter().map(|step| (load(&step.span), goodput(&step.span))).collect(),
            during: goodput(&script.overload()),
            p99: (!waits.is_empty()).then(|| Duration::from_millis(waits.value_at_quantile(0.99))),
            after: good_after as f64 / within(script.after()).count().max(1) as f64,
            offered: outcomes.len(),
            refused: outcomes.iter().filter(|outcome| outcome.answer == Answer::Refused).count(),
        })
    }
}

/// Answers a second that the workers could give in this time, from the real duration of their work.
fn capacity(script: &Script, done: &[Piece], span: &Range<Duration>) -> f64 {
    let pieces = || done.iter().filter(|piece| span.contains(&piece.end));
    let took: Duration = pieces().map(|piece| piece.took).sum();
    let mean = took.checked_div(pieces().count() as u32).unwrap_or(script.work);
    f64::from(script.workers) / mean.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A quick run in which each request took this long, and what was offered in each step, relative to a capacity of
    /// 200 a second.
    fn record(latency: Duration) -> (Record, Vec<f64>) {
        let script = Script::quick(1);
        let arrivals = script.arrivals();
        let offered = |span: Range<Duration>| arrivals.iter().filter(|at| span.contains(at)).count() as f64 / 100.0;
        let offered = script.rise().into_iter().map(|step| offered(step.span)).collect();
        let outcome = |(request, intended)| Outcome { request, intended, latency, answer: Answer::Success };
        let outcomes: Vec<_> = arrivals.iter().copied().enumerate().map(outcome).collect();
        (Record::new(&script, &outcomes, &[]).unwrap(), offered)
    }

    #[test]
    fn goodput_equals_the_load_if_served_at_once() {
        let (record, offered) = record(Duration::ZERO);
        let expected: Vec<_> = offered.iter().map(|load| (*load, *load)).collect();
        assert_eq!(record.curve, expected, "the load is what was really offered");
        assert!((record.during - (offered[2] + offered[3]) / 2.0).abs() < 1e-9);
        assert_eq!((record.after, record.p99), (1.0, Some(Duration::ZERO)));
    }

    #[test]
    fn capacity_comes_from_the_real_work_times() {
        let (script, span) = (Script::quick(1), 1000 * MS..2000 * MS);
        let piece = |end: u32, took: u32| Piece { end: end * MS, took: took * MS };
        let done = [piece(999, 500), piece(1000, 30), piece(1999, 50), piece(2000, 500)];
        assert_eq!(capacity(&script, &[], &span), 200.0);
        assert_eq!(capacity(&script, &done, &span), 100.0);
    }

    #[test]
    fn late_answers_are_no_goodput() {
        let (record, _) = record(251 * MS);
        assert!(record.curve.iter().all(|(_, goodput)| *goodput == 0.0));
        assert_eq!((record.during, record.after), (0.0, 0.0));
    }

    #[test]
    fn answers_count_when_they_are_given() {
        let (record, offered) = record(200 * MS);
        assert!(record.curve[2].1 < offered[2], "at double load a part is answered later");
    }
}
