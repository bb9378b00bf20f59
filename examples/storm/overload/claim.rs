//! What the overload promises to show, and the figures that show it.

use super::{Run, Script};
use crate::run::Contestant;

/// The bare service must be overloaded: its good answers are at most this share of its capacity.
const BARE_DURING_AT_MOST: f64 = 0.6;
/// The protected service keeps at least this share of its capacity...
const DURING_AT_LEAST: f64 = 0.85;
/// ...and this share of good answers after the overload.
const AFTER_AT_LEAST: f64 = 0.9;

/// A sentence for each promise that was not kept.
pub(crate) fn broken_promises(script: &Script, runs: &[Run]) -> Vec<String> {
    let mut broken = Vec::new();
    for run in runs {
        match run.contestant {
            Contestant::Bare => judge_bare(run, &mut broken),
            Contestant::Seawall => judge_seawall(script, run, &mut broken),
        }
    }
    broken
}

fn judge_bare(Run { record, .. }: &Run, broken: &mut Vec<String>) {
    let during = record.during;
    if during > BARE_DURING_AT_MOST {
        broken.push(format!(
            "the bare service gave {during:.3} of its capacity in good answers while overloaded, and more than \
             {BARE_DURING_AT_MOST} means that this machine has seen no overload"
        ));
    }
}

fn judge_seawall(script: &Script, Run { record, .. }: &Run, broken: &mut Vec<String>) {
    let (during, after) = (record.during, record.after);
    if during < DURING_AT_LEAST {
        broken.push(format!(
            "seawall kept {during:.3} of the capacity for good answers while overloaded, the minimum is {DURING_AT_LEAST}"
        ));
    }
    if after < AFTER_AT_LEAST {
        broken.push(format!("seawall held {after:.3} of the load after the overload, the minimum is {AFTER_AT_LEAST}"));
    }
    let late = |p99: std::time::Duration| p99 > script.deadline;
    if record.p99.is_none_or(late) {
        let (p99, deadline) = (record.p99, script.deadline);
        broken.push(format!(
            "seawall's slowest admitted answer in a hundred took {p99:?}, and the deadline is {deadline:?}"
        ));
    }
}

/// The figures of the runs for machines: `figure <name> <value>`, a line each.
pub(crate) fn figures(runs: &[Run]) -> Vec<String> {
    let mut figures = Vec::new();
    for Run { contestant, record } in runs {
        let mut figure = |name: &str, value: String| {
            figures.push(format!("figure storm.front.{}.{name} {value}", contestant.name()));
        };
        figure("during", format!("{:.3}", record.during));
        figure("after", format!("{:.3}", record.after));
        figure("p99_ms", record.p99.map_or("inf".into(), |p99| p99.as_millis().to_string()));
    }
    figures
}
