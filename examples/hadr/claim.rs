//! What must hold, and the figures that show it.

use std::time::Duration;

use crate::fault::{Fault, FaultRun};
use crate::ramp::Ramp;
use crate::record::Record;
use crate::topology::{Pace, Topology};

/// The rate before the first failure, and that of all slots after a fault, by what the slots can serve on this machine.
const SHARE_AT_LEAST: f64 = 0.95;
/// How soon the standby gets calls once the other active predictor is full.
const STANDBY_WITHIN: Duration = Duration::from_secs(1);
/// A predictor that hangs or is slow is noticed after the timeout of an attempt: in service times.
const NOTICED_WITHIN: f64 = 2.0;
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
        for ramp in self.ramps.iter().filter(|ramp| ramp.share_here < SHARE_AT_LEAST) {
            broken.push(format!(
                "{}: {:.3} of what the slots can serve was served before the first failure, and {SHARE_AT_LEAST} should be",
                ramp.topology.title(),
                ramp.share_here
            ));
        }
        for (run, record) in &self.faults {
            let mut sentence =
                |text: String| broken.push(format!("{}, {}: {text}", run.topology.title(), run.fault.title()));
            if record.share_when_full < SHARE_AT_LEAST {
                sentence(format!(
                    "{:.3} of what the slots can serve was served after the fault, and {SHARE_AT_LEAST} should be",
                    record.share_when_full
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
            figures.push(format!("figure hadr.{}.recovery_s {:.2}", fault.name(), recovery.fold(0.0, f64::max)));
        }
        figures
    }
}

fn redundant(run: &FaultRun, record: &Record, pace: Pace, mut sentence: impl FnMut(String)) {
    if record.failed > 0 {
        let first = record.failures.first().map_or("", String::as_str);
        sentence(format!("{} of {} calls failed, and none may; the first with {first:?}", record.failed, record.calls));
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
    let within = STANDBY_WITHIN + pace.times(if hangs { NOTICED_WITHIN } else { 0.0 });
    match (record.full_after, record.standby_after) {
        // An upgrade begins with a drain: the other active predictor may have room for all.
        _ if run.fault == Fault::Upgrade => {}
        (_, None) => sentence("the standby was never in use".into()),
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

/// In seconds, with what is missing as "never".
pub(crate) fn seconds(time: Option<Duration>) -> String {
    time.map_or("never".into(), |time| format!("{:.1} s", time.as_secs_f64()))
}
