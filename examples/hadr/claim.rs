//! What must hold, and the figures that show it.

use std::time::Duration;

use crate::fault::{Fault, FaultRun};
use crate::ramp::Ramp;
use crate::record::Record;
use crate::router;
use crate::topology::{Pace, Topology};

/// The rate before the first failure, and that of all slots after a fault, by what the slots can serve.
const SHARE_AT_LEAST: f64 = 0.95;
/// The latency that the router adds to a call that waits for no slot, in service times.
const ADDED_AT_MOST: f64 = 0.02;
/// How soon the standby gets calls once the other active predictor is full.
pub(crate) const STANDBY_WITHIN: Duration = Duration::from_secs(1);
/// The share of the calls long after a fault that the standby serves while active predictors have free slots.
const NEEDLESS_STANDBY_AT_MOST: f64 = 0.02;
/// The first calls of a predictor that is back, by its usual number. There are few, and while the other active predictor is full it gets
/// all others.
const FLOOD_AT_MOST: f64 = 1.0;

/// All runs and their results.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) pace: Pace,
    pub(crate) ramps: Vec<Ramp>,
    pub(crate) faults: Vec<(FaultRun, Record)>,
}

impl Results {
    pub(crate) fn fault(&self, topology: Topology, fault: Fault) -> Option<&(FaultRun, Record)> {
        self.faults.iter().find(|(run, _)| run.topology == topology && run.fault == fault)
    }

    /// A sentence for each thing that does not hold.
    pub(crate) fn broken(&self) -> Vec<String> {
        let mut broken = Vec::new();
        for ramp in &self.ramps {
            let share = ramp.share_of_theory;
            if share < SHARE_AT_LEAST {
                broken.push(format!(
                    "{}: {share:.3} of what the slots can serve was served before the first failure, and {SHARE_AT_LEAST} should be",
                    ramp.topology.title(),
                ));
            }
            if ramp.added > ADDED_AT_MOST {
                broken.push(format!(
                    "{}: the router adds {:.3} of a service time to a call, and {ADDED_AT_MOST} at most are allowed",
                    ramp.topology.title(),
                    ramp.added
                ));
            }
        }
        for (run, record) in &self.faults {
            let mut sentence =
                |text: String| broken.push(format!("{}, {}: {text}", run.topology.title(), run.fault.title()));
            let share = record.share_when_full;
            if share < SHARE_AT_LEAST {
                sentence(format!(
                    "{share:.3} of what the slots can serve was served after the fault, and {SHARE_AT_LEAST} should be"
                ));
            }
            if run.topology.is_redundant() {
                redundant(run, record, self.pace, sentence);
            }
        }
        broken
    }

    /// The figures for machines: `figure <name> <value>`, a line each.
    pub(crate) fn figures(&self) -> Vec<String> {
        let mut figures = Vec::new();
        for ramp in &self.ramps {
            let name = ramp.topology.name();
            figures.push(format!("figure hadr.{name}.rps {:.2}", ramp.rate));
            figures.push(format!("figure hadr.{name}.share_of_theory {:.3}", ramp.share_of_theory));
            figures.push(format!("figure hadr.{name}.added_service_times {:.4}", ramp.added));
        }
        for fault in Fault::ALL {
            // The worst of the redundant topologies.
            let records = || {
                let runs = self.faults.iter().filter(move |(run, _)| run.fault == fault && run.topology.is_redundant());
                runs.map(|(_, record)| record)
            };
            if records().next().is_none() {
                continue;
            }
            let failed: usize = records().map(|record| record.failed).sum();
            let recovery = records().map(|record| record.recovery.map_or(f64::INFINITY, |time| time.as_secs_f64()));
            figures.push(format!("figure hadr.{}.failed_calls {failed}", fault.name()));
            if fault == Fault::Kill {
                let failed_posts: usize = records().map(|record| record.failed_posts).sum();
                figures.push(format!("figure hadr.{}.failed_posts {failed_posts}", fault.name()));
            }
            figures.push(format!("figure hadr.{}.recovery_s {:.2}", fault.name(), recovery.fold(0.0, f64::max)));
        }
        figures
    }
}

fn redundant(run: &FaultRun, record: &Record, pace: Pace, mut sentence: impl FnMut(String)) {
    if record.failed > 0 {
        let first = record.failures.first().map_or("", String::as_str);
        sentence(format!(
            "{} of {} calls that may be repeated failed, and none may; the first with {first:?}",
            record.failed, record.calls
        ));
    }
    let at_risk = run.kill.as_ref().map_or(0, |kill| kill.posts);
    if record.failed_posts > at_risk {
        sentence(format!(
            "{} calls failed that must not be sent twice, and {at_risk} were at the killed predictor",
            record.failed_posts
        ));
    }
    if run.kill.as_ref().is_some_and(|kill| kill.posts == 0) {
        sentence(
            "no call that must not be sent twice was at the killed predictor, so nothing shows what becomes of it"
                .into(),
        );
    }
    if record.late_posts > 0 {
        sentence(format!("{} calls failed that began when the killed predictor was gone", record.late_posts));
    }
    if record.recovery.is_none() {
        sentence("the users were still disturbed long after the fault".into());
    }
    if let Some(flood) = record.flood.filter(|flood| *flood > FLOOD_AT_MOST) {
        sentence(format!("the predictor that came back got {flood:.2} times its usual calls at once"));
    }
    if run.topology.standby().is_none() {
        return;
    }
    let hangs = matches!(run.fault, Fault::Stop | Fault::Slow);
    let within = STANDBY_WITHIN + if hangs { lost_after(pace) } else { Duration::ZERO };
    match (record.full_after, record.standby_after) {
        // An upgrade begins with a drain: the other active predictor may have room for all.
        _ if run.fault == Fault::Upgrade => {}
        (_, None) => sentence("the standby was never in use".into()),
        (None, _) => {
            sentence("the other active predictor was never full: nothing shows how soon the standby took over".into())
        }
        (Some(full), Some(after)) if after > full + within => sentence(format!(
            "the standby was in use {:.2} s after the other active predictor was full, and should be within {:.2} s",
            (after - full).as_secs_f64(),
            within.as_secs_f64()
        )),
        _ => {}
    }
    if record.standby_in_the_end > NEEDLESS_STANDBY_AT_MOST {
        let share = record.standby_in_the_end;
        sentence(format!("long after the fault the standby got {share:.3} of the calls while active slots were free"));
    }
}

/// The time after which a call at a predictor that hangs or is slow counts as lost: the timeout of an attempt.
pub(crate) fn lost_after(pace: Pace) -> Duration {
    pace.service * router::ATTEMPT
}

/// In seconds, with what is missing as "never".
pub(crate) fn seconds(time: Option<Duration>) -> String {
    time.map_or("never".into(), |time| format!("{:.1} s", time.as_secs_f64()))
}
