//! What the storm promises to show, and the figures that show it.

use std::time::Duration;

use crate::record::Record;
use crate::run::{Contestant, Run};
use crate::scenario::Phase;

/// The bare service must stay down: after the outage its share of good answers is at most this.
const BARE_AFTER_AT_MOST: f64 = 0.2;
/// The protected service recovers within this time after the end of the outage...
const RECOVERY_WITHIN: Duration = Duration::from_secs(2);
/// ...holds at least this share of good answers from then on...
const AFTER_AT_LEAST: f64 = 0.95;
/// ...and makes at most this many attempts at the dependency for each request of the run.
const ATTEMPTS_AT_MOST: f64 = 1.3;

/// A sentence for each promise that was not kept.
pub(crate) fn broken_promises(runs: &[Run]) -> Vec<String> {
    let mut broken = Vec::new();
    for Run { contestant, record } in runs {
        match contestant {
            Contestant::Bare => judge_bare(record, &mut broken),
            Contestant::Seawall => judge_seawall(record, &mut broken),
        }
    }
    broken
}

fn judge_bare(record: &Record, broken: &mut Vec<String>) {
    let after = record.phase(Phase::After).good_share().unwrap_or_default();
    if after > BARE_AFTER_AT_MOST {
        broken.push(format!(
            "the bare service did not stay down: {after:.3} of its answers were good after the outage, \
             and more than {BARE_AFTER_AT_MOST} means that this machine has seen no metastable failure"
        ));
    }
}

fn judge_seawall(record: &Record, broken: &mut Vec<String>) {
    let within = RECOVERY_WITHIN.as_secs_f64();
    match record.recovery.map(|recovery| recovery.as_secs_f64()) {
        None => broken.push(format!("seawall did not recover; the limit is {within} s")),
        Some(recovery) if recovery > within => {
            broken.push(format!("seawall took {recovery:.1} s to recover; the limit is {within} s"));
        }
        Some(_) => {}
    }
    let after = record.after.good_share().unwrap_or_default();
    if after < AFTER_AT_LEAST {
        broken.push(format!("seawall held {after:.3} of the load after the outage, and should have {AFTER_AT_LEAST}"));
    }
    let attempts = record.whole.attempts_per_request().unwrap_or_default();
    if attempts > ATTEMPTS_AT_MOST {
        broken.push(format!(
            "seawall made {attempts:.2} attempts at the dependency for each request, and {ATTEMPTS_AT_MOST} are allowed"
        ));
    }
}

/// The figures of the runs for machines: `figure <name> <value>`, a line each.
pub(crate) fn figures(runs: &[Run]) -> Vec<String> {
    let mut figures = Vec::new();
    for Run { contestant, record } in runs {
        let mut figure = |name: &str, value: String| {
            figures.push(format!("figure storm.{}.{name} {value}", contestant.name()));
        };
        figure("after", ratio(record.after.good_share()));
        figure("recovery_s", record.recovery.map_or("inf".into(), |time| format!("{:.1}", time.as_secs_f64())));
        figure("attempts", ratio(record.whole.attempts_per_request()));
    }
    figures
}

fn ratio(ratio: Option<f64>) -> String {
    format!("{:.3}", ratio.unwrap_or_default())
}
