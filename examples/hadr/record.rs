//! What the users' calls say about a fault run.

use std::ops::Range;
use std::time::Duration;

use crate::fault::{CALM, Fault, FaultRun};
use crate::topology::{Pace, SLOTS};
use crate::users::Call;

/// A period is good if at least this share of the calls that begin in it is answered, and not slowly.
const WELL: f64 = 0.9;
/// The returned predictor is watched over so many service times.
const RETURN: f64 = 2.0;

/// The results of a fault run.
#[derive(Debug)]
pub(crate) struct Record {
    /// Calls that may be repeated, up to the check of all slots.
    pub(crate) calls: usize,
    pub(crate) failed: usize,
    /// The failed calls that must not be sent twice.
    pub(crate) failed_posts: usize,
    /// Of them, those that began when the killed predictor was gone.
    pub(crate) late_posts: usize,
    /// Answered, and slowly.
    pub(crate) slow: usize,
    /// Failed calls by all calls between the begin of the fault and the recovery.
    pub(crate) impact: f64,
    /// From the begin of the fault to the begin of the first service time from which all are good.
    pub(crate) recovery: Option<Duration>,
    /// From the begin of the fault to the start of the first call that the standby answered.
    pub(crate) standby_after: Option<Duration>,
    /// From the begin of the fault until the other active predictor is full.
    pub(crate) full_after: Option<Duration>,
    /// The share of the calls before the check of all slots that the standby served needlessly.
    pub(crate) standby_in_the_end: f64,
    /// The calls that the returned predictor got at first, by its usual number before the fault.
    pub(crate) flood: Option<f64>,
    /// The rate with more users than slots, by what the slots can serve.
    pub(crate) share_when_full: f64,
    /// What the users saw instead of an answer, in the order of their calls.
    pub(crate) failures: Vec<String>,
}

impl Record {
    pub(crate) fn of(run: &FaultRun, pace: Pace) -> Self {
        let (posts, calls): (Vec<&Call>, Vec<_>) =
            run.calls.iter().filter(|call| call.at < run.fills).partition(|call| call.is_post);
        let failed_posts = || posts.iter().filter(|call| call.answer.is_err());
        let gone = run.kill.as_ref().map_or(Duration::MAX, |kill| kill.over);
        let failures: Vec<String> = calls.iter().filter_map(|call| call.answer.clone().err()).collect();
        let is_slow = |call: &&&Call| call.answer.is_ok() && call.latency > pace.slow_after();
        let recovery = recovery(run, pace);
        let recovered = recovery.map_or(run.fills, |time| run.begins + time);
        let (mut during, mut failed) = (0, 0);
        // A call that was under way when the fault began is part of it.
        for call in calls.iter().filter(|call| call.end() >= run.begins && call.at < recovered.max(run.ends)) {
            during += 1;
            failed += usize::from(call.answer.is_err());
        }
        Self {
            calls: calls.len(),
            failed: failures.len(),
            failed_posts: failed_posts().count(),
            late_posts: failed_posts().filter(|call| call.at >= gone).count(),
            slow: calls.iter().filter(is_slow).count(),
            impact: f64::from(failed as u32) / f64::from(during.max(1) as u32),
            recovery,
            standby_after: standby_after(run, pace),
            full_after: full_after(run, pace),
            standby_in_the_end: standby_in_the_end(run, pace),
            flood: flood(run, pace),
            share_when_full: run.rate_when_full / pace.theory(run.topology.slots()),
            failures,
        }
    }

    pub(crate) fn availability(&self) -> f64 {
        1.0 - self.failed as f64 / self.calls.max(1) as f64
    }
}

fn recovery(run: &FaultRun, pace: Pace) -> Option<Duration> {
    let is_good = |call: &&Call| call.answer.is_ok() && call.latency <= pace.slow_after();
    let period = |number: u32| {
        let from = run.begins + pace.service * number;
        let calls: Vec<&Call> =
            run.calls.iter().filter(|call| !call.is_post && (from..from + pace.service).contains(&call.at)).collect();
        let good = calls.iter().copied().filter(is_good).count();
        good as f64 >= WELL * calls.len() as f64
    };
    let periods = pace.services(run.fills - run.begins) as u32;
    let last_bad = (0..periods).rev().find(|number| !period(*number));
    let first_good = last_bad.map_or(0, |number| number + 1);
    (first_good < periods).then(|| pace.service * first_good)
}

/// When a call that was answered reached its predictor: all that goes before is the wait of the router.
fn served_at(call: &Call, pace: Pace) -> Duration {
    call.end().saturating_sub(pace.service)
}

/// The calls that these predictors serve at `at`.
fn busy_slots(run: &FaultRun, pace: Pace, at: Duration, nodes: impl Fn(usize) -> bool) -> usize {
    let serves = |call: &&Call| {
        call.answer.as_ref().is_ok_and(|node| nodes(*node)) && served_at(call, pace) <= at && at < call.end()
    };
    run.calls.iter().filter(serves).count()
}

/// The calls that the standby served in a period: when each one began there.
fn at_standby(run: &FaultRun, pace: Pace, period: Range<Duration>) -> Vec<Duration> {
    let served = run.calls.iter().filter(|call| run.topology.standby().is_some_and(|node| call.answer == Ok(node)));
    served.map(|call| served_at(call, pace)).filter(|at| period.contains(at)).collect()
}

fn standby_after(run: &FaultRun, pace: Pace) -> Option<Duration> {
    at_standby(run, pace, run.begins..Duration::MAX).into_iter().min().map(|at| at - run.begins)
}

/// From the begin of the fault until the other active predictor is full: before, the standby has no calls.
fn full_after(run: &FaultRun, pace: Pace) -> Option<Duration> {
    let begun = run.calls.iter().map(|call| served_at(call, pace)).filter(|at| *at >= run.begins);
    let full = begun.filter(|at| busy_slots(run, pace, *at, |node| node == 1) >= SLOTS as usize);
    full.min().map(|at| at - run.begins)
}

/// The share of the calls that the standby served long after the fault although active predictors had free slots.
fn standby_in_the_end(run: &FaultRun, pace: Pace) -> f64 {
    let period = run.fills.saturating_sub(pace.times(CALM))..run.fills;
    let all = run.calls.iter().filter(|call| period.contains(&call.at)).count();
    let slots = |at: &Duration| busy_slots(run, pace, *at, |node| Some(node) != run.topology.standby());
    // A slot is free for the router a moment before the user has the answer, and the other way round.
    let needless = at_standby(run, pace, period).iter().filter(|at| slots(at) < (2 * SLOTS - 2) as usize).count();
    needless as f64 / all.max(1) as f64
}

/// Of the first predictor, which has the fault.
fn flood(run: &FaultRun, pace: Pace) -> Option<f64> {
    if !run.topology.is_redundant() {
        return None;
    }
    let window = pace.times(RETURN);
    let mut served: Vec<Duration> =
        run.calls.iter().filter(|call| call.answer == Ok(0)).map(|call| served_at(call, pace)).collect();
    served.sort();
    // After a fault it is back with its first answer, but the next one of an upgrade follows soon.
    let answers = served.iter().find(|at| **at >= run.returns).copied()?;
    let back = if run.fault == Fault::Upgrade { run.returns } else { answers };
    // In the first service time users still arrive.
    let before = pace.service..run.begins;
    let usual = served.iter().filter(|at| before.contains(at)).count() as f64
        / pace.services(before.end - before.start)
        * RETURN;
    let first = served.iter().filter(|at| (back..back + window).contains(at)).count();
    Some(first as f64 / usual.max(1.0))
}
