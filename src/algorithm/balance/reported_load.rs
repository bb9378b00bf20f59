//! The calls of other clients at an endpoint, as its responses report them.
//!
//! A response reports all calls in flight at the endpoint; without the own ones these are the calls of others. What counts is by how much
//! they differ from those at an average endpoint of its weight. So an endpoint without a report, or with an old one, is as good as the
//! average, and without any reports a choice goes by the own calls alone.
//!
//! Old reports do harm: all clients send their calls to the endpoint that reported the least, long after it has got them. So a report is
//! forgotten while calls pass, and in two parts. The newest one shows a moment ([`NEWEST_CALLS`]). The average of the last ones shows an
//! endpoint that is slower than the others for longer, and holds for longer ([`AVERAGE_CALLS`]). All times are in calls of usual length,
//! because a queue changes as calls end. The numbers are from the simulation in the tests, of 20 clients at 90 % load: where some endpoints are
//! slow in turn, they have two thirds of the p99 that they have without reports, and where all are alike, 96 %. A single
//! client, which knows all calls, has 84 % there. Where a client has hardly three calls a second for each endpoint, reports are too old to help.

use super::average::Average;
use crate::ground::time::Instant;

/// The time after which the newest report counts for a third, in calls.
const NEWEST_CALLS: f64 = 1.0;

/// The time after which the average of the last reports counts for a third, in calls.
const AVERAGE_CALLS: f64 = 2.0;

/// Over how many calls the reports of an endpoint are averaged.
const MEMORY: f64 = 10.0;

/// Over how many calls an endpoint moves the average of the set. A slow endpoint reports less often: by time, it counts as much.
const SET_MEMORY: f64 = 50.0;

/// A report that is so many times the average, and more, counts for as much: a wrong one is forgotten soon.
const MOST: f64 = 16.0;

/// The length of a call, in nanoseconds, before it is known.
const UNKNOWN: f64 = 1e6;

/// See the module.
#[derive(Debug)]
pub(crate) struct ReportedLoad {
    newest: Average,
    recent: Average,
}

/// The average of a set, for an endpoint of weight 1.
#[derive(Debug)]
pub(crate) struct ReportedMean(Average);

impl ReportedMean {
    pub(crate) fn new() -> Self {
        Self(Average::new())
    }

    /// Whether no endpoint has reported yet.
    #[inline]
    pub(crate) fn is_unknown(&self) -> bool {
        self.0.read().is_none()
    }
}

impl ReportedLoad {
    pub(crate) fn new() -> Self {
        Self { newest: Average::new(), recent: Average::new() }
    }

    /// The endpoint of this `weight` had `in_flight` calls without the one that reports, of which `own` were of this client. `usual` is
    /// the length of a call in nanoseconds.
    pub(crate) fn report(
        &self,
        now: Instant,
        in_flight: u32,
        own: u32,
        weight: f64,
        usual: Option<f64>,
        set: &ReportedMean,
    ) {
        let mut others = f64::from(in_flight.saturating_sub(own));
        let mean = set.0.read().map(|(mean, _)| mean);
        if let Some(mean) = mean {
            others = others.min(MOST * (mean * weight).max(1.0));
        }
        let (mut recent, mut mean) = (others, mean.unwrap_or(others / weight));
        if let Some((before, at)) = self.recent.read() {
            let elapsed = calls(now, at, usual);
            recent = before + (others - before) * elapsed / (elapsed + MEMORY);
            mean += (others / weight - mean) * elapsed / (elapsed + SET_MEMORY);
        }
        self.recent.restart(now, recent);
        self.newest.restart(now, others);
        set.0.restart(now, mean);
    }

    /// How many more calls of other clients are at this endpoint than at an average one of this weight.
    #[inline]
    pub(crate) fn above_average(&self, now: Instant, weight: f64, usual: Option<f64>, set: &ReportedMean) -> f64 {
        let (Some((mean, _)), Some((recent, _)), Some((newest, at))) =
            (set.0.read(), self.recent.read(), self.newest.read())
        else {
            return 0.0;
        };
        let age = calls(now, at, usual);
        (recent - mean * weight) * (-age / AVERAGE_CALLS).exp() + (newest - recent) * (-age / NEWEST_CALLS).exp()
    }
}

/// The time between, in calls.
fn calls(now: Instant, since: Instant, usual: Option<f64>) -> f64 {
    // A length of zero is possible, with a clock that stands still.
    now.nanos_since(since) as f64 / usual.unwrap_or(UNKNOWN).max(1.0)
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use super::*;

    /// The length of a call: one millisecond.
    const USUAL: Option<f64> = Some(1e6);

    fn at(millis: u64) -> Instant {
        Instant::from_nanos((1000 + millis) * 1_000_000)
    }

    #[test]
    fn without_reports_nothing_is_known() {
        let (endpoint, silent, set) = (ReportedLoad::new(), ReportedLoad::new(), ReportedMean::new());
        assert_eq!(endpoint.above_average(at(0), 1.0, USUAL, &set), 0.0);
        endpoint.report(at(0), 12, 0, 1.0, USUAL, &set);
        assert_eq!(silent.above_average(at(0), 1.0, USUAL, &set), 0.0, "it is as the others are");
        assert_eq!(endpoint.above_average(at(0), 1.0, USUAL, &set), 0.0, "it is the only one");
    }

    #[test]
    fn report_counts_the_calls_of_others_and_is_forgotten() {
        let (busy, idle, set) = (ReportedLoad::new(), ReportedLoad::new(), ReportedMean::new());
        for time in 0..200 {
            idle.report(at(time), 5, 5, 1.0, USUAL, &set);
            busy.report(at(time), 25, 5, 1.0, USUAL, &set);
        }
        let (busy_now, idle_now) =
            (busy.above_average(at(199), 1.0, USUAL, &set), idle.above_average(at(199), 1.0, USUAL, &set));
        assert!((19.9..=20.1).contains(&(busy_now - idle_now)), "{busy_now} {idle_now}");
        assert!((9.0..=11.0).contains(&busy_now), "{busy_now}");
        let later = busy.above_average(at(203), 1.0, USUAL, &set);
        assert!((1.0..2.0).contains(&later), "{later}");
        assert!(busy.above_average(at(300), 1.0, USUAL, &set).abs() < 1e-9);
        // More own calls than the endpoint reports: they have begun since.
        idle.report(at(200), 3, 5, 1.0, USUAL, &set);
        assert!(idle.above_average(at(200), 1.0, USUAL, &set) < 0.0);
    }

    /// An endpoint of twice the weight has twice the calls, and is as good as the other.
    #[test]
    fn weight_scales_what_is_average() {
        let (small, large, set) = (ReportedLoad::new(), ReportedLoad::new(), ReportedMean::new());
        for time in 0..200 {
            small.report(at(time), 10, 0, 1.0, USUAL, &set);
            large.report(at(time), 20, 0, 2.0, USUAL, &set);
        }
        assert!(small.above_average(at(199), 1.0, USUAL, &set).abs() < 0.5);
        assert!(large.above_average(at(199), 2.0, USUAL, &set).abs() < 0.5);
    }

    #[test]
    fn absurd_report_is_forgotten_soon() {
        let (liar, other, set) = (ReportedLoad::new(), ReportedLoad::new(), ReportedMean::new());
        let report = |time, in_flight| {
            other.report(at(time), 10, 0, 1.0, USUAL, &set);
            liar.report(at(time), in_flight, 0, 1.0, USUAL, &set);
        };
        (0..200).for_each(|time| report(time, 10));
        (200..220).for_each(|time| report(time, u32::MAX));
        (220..280).for_each(|time| report(time, 10));
        let above = liar.above_average(at(279), 1.0, USUAL, &set);
        assert!(above < 10.0, "{above}");
    }
}
