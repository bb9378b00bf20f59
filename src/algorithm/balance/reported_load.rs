//! The calls of other clients at an endpoint, as its responses report them.
//!
//! A response reports all calls in flight at the endpoint; without the own ones these are the calls of others. What counts is by how much
//! they differ from those at an average endpoint. So an endpoint without a report, or with an old one, is as good as the average, and
//! without any reports a choice goes by the own calls alone.
//!
//! Old reports do harm: all clients send their calls to the endpoint that reported the least, long after it has got them. So a report is
//! forgotten while calls pass, and in two parts. The newest one tells of a moment ([`MOMENT`]). The average of the last ones tells of an
//! endpoint that is slower than the others for a while, and holds for longer ([`WHILE`]). All times are in calls of usual length, because
//! a queue changes as calls end. The numbers are from the simulation in the tests: 20 clients at 90 % load, where some endpoints are slow
//! in turn, have two thirds of the p99 that they have without reports. Where a client has hardly three calls a second for each endpoint,
//! reports are too old to help.

use super::average::Average;
use crate::ground::time::{Instant, nanos};

/// For how many calls the newest report counts in full.
const MOMENT: f64 = 1.0;

/// For how many calls the average of the last reports counts in full.
const WHILE: f64 = 2.0;

/// Over how many calls the reports of an endpoint are averaged.
const MEMORY: f64 = 10.0;

/// Over how many calls an endpoint moves the average of the set. A slow endpoint reports less often: by time, it counts as much.
const SET_MEMORY: f64 = 50.0;

/// The length of a call, in nanoseconds, before it is known.
const UNKNOWN: f64 = 1e6;

/// See the module.
#[derive(Debug)]
pub(crate) struct ReportedLoad {
    newest: Average,
    recent: Average,
}

/// The average of a set.
#[derive(Debug)]
pub(crate) struct ReportedMean(Average);

impl ReportedMean {
    pub(crate) fn new() -> Self {
        Self(Average::new())
    }
}

impl ReportedLoad {
    pub(crate) fn new() -> Self {
        Self { newest: Average::new(), recent: Average::new() }
    }

    /// The endpoint had `in_flight` calls without the one that reports, of which `own` were of this client. `usual` is the length of a
    /// call in nanoseconds.
    pub(crate) fn report(&self, now: Instant, in_flight: u32, own: u32, usual: Option<f64>, set: &ReportedMean) {
        let others = f64::from(in_flight.saturating_sub(own));
        let (mut recent, mut mean) = (others, set.0.read().map_or(others, |(mean, _)| mean));
        if let Some((before, at)) = self.recent.read() {
            let elapsed = calls(now, at, usual);
            recent = before + (others - before) * elapsed / (elapsed + MEMORY);
            mean += (others - mean) * elapsed / (elapsed + SET_MEMORY);
        }
        self.recent.restart(now, recent);
        self.newest.restart(now, others);
        set.0.restart(now, mean);
    }

    /// How many more calls of other clients are at this endpoint than at an average one.
    #[inline]
    pub(crate) fn above_average(&self, now: Instant, usual: Option<f64>, set: &ReportedMean) -> f64 {
        let (Some((mean, _)), Some((recent, _)), Some((newest, at))) =
            (set.0.read(), self.recent.read(), self.newest.read())
        else {
            return 0.0;
        };
        let age = calls(now, at, usual);
        (recent - mean) * (-age / WHILE).exp() + (newest - recent) * (-age / MOMENT).exp()
    }
}

/// The time between, in calls.
fn calls(now: Instant, since: Instant, usual: Option<f64>) -> f64 {
    // A length of zero is possible, with a clock that stands still.
    nanos(now.since(since)) as f64 / usual.unwrap_or(UNKNOWN).max(1.0)
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
        assert_eq!(endpoint.above_average(at(0), USUAL, &set), 0.0);
        endpoint.report(at(0), 12, 0, USUAL, &set);
        assert_eq!(silent.above_average(at(0), USUAL, &set), 0.0, "it is as the others are");
        assert_eq!(endpoint.above_average(at(0), USUAL, &set), 0.0, "it is the only one");
    }

    #[test]
    fn report_counts_the_calls_of_others_and_is_forgotten() {
        let (busy, idle, set) = (ReportedLoad::new(), ReportedLoad::new(), ReportedMean::new());
        for time in 0..200 {
            idle.report(at(time), 5, 5, USUAL, &set);
            busy.report(at(time), 25, 5, USUAL, &set);
        }
        let (busy_now, idle_now) = (busy.above_average(at(199), USUAL, &set), idle.above_average(at(199), USUAL, &set));
        assert!((19.9..=20.1).contains(&(busy_now - idle_now)), "{busy_now} {idle_now}");
        assert!((9.0..=11.0).contains(&busy_now), "{busy_now}");
        let later = busy.above_average(at(203), USUAL, &set);
        assert!((1.0..2.0).contains(&later), "{later}");
        assert!(busy.above_average(at(300), USUAL, &set).abs() < 1e-9);
        // More own calls than the endpoint reports: they have begun since.
        idle.report(at(200), 3, 5, USUAL, &set);
        assert!(idle.above_average(at(200), USUAL, &set) < 0.0);
    }
}
