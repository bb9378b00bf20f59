//! What the leak promises to show, and the figures that show it.

use super::{Run, Script};
use crate::run::Contestant;

/// The bare client must leak: at least this share of the calls during the stall still holds its connection after the
/// deadline of all of them.
const LEAKED_AT_LEAST: f64 = 0.8;

/// A sentence for each promise that was not kept.
pub(crate) fn broken_promises(script: &Script, runs: &[Run]) -> Vec<String> {
    let mut broken = Vec::new();
    for run in runs {
        judge_health(run, &mut broken);
        match run.contestant {
            Contestant::Bare => judge_bare(script, run, &mut broken),
            Contestant::Seawall => judge_seawall(script, run, &mut broken),
        }
    }
    broken
}

/// A client that gets no answers leaks nothing, so each client must get whole answers before and after the stall.
fn judge_health(Run { contestant, record }: &Run, broken: &mut Vec<String>) {
    for (good, when) in [(record.good_before, "before"), (record.good_after, "after")] {
        if good == 0 {
            broken.push(format!("the {} client got no whole answer {when} the bodies stalled", contestant.name()));
        }
    }
}

fn judge_bare(script: &Script, Run { record, .. }: &Run, broken: &mut Vec<String>) {
    let calls = script.arrivals().iter().filter(|at| script.stretch().contains(at)).count();
    let left = record.stalled_after_deadline;
    if (left as f64) < calls as f64 * LEAKED_AT_LEAST {
        broken.push(format!(
            "the bare client leaked {left} connections in {calls} calls, and nearly all calls should leak"
        ));
    }
}

fn judge_seawall(script: &Script, Run { record, .. }: &Run, broken: &mut Vec<String>) {
    let (most, allowed) = (record.most_open, script.bulkhead);
    if most > allowed as usize {
        broken.push(format!("seawall had {most} connections open at once, and its bulkhead allows {allowed}"));
    }
    let left = record.stalled_after_deadline;
    if left > 0 {
        broken.push(format!("seawall still had {left} stalled connections after the deadline of all calls"));
    }
}

/// The figures of the runs for machines: `figure <name> <value>`, a line each.
pub(crate) fn figures(runs: &[Run]) -> Vec<String> {
    let mut figures = Vec::new();
    for Run { contestant, record } in runs {
        let mut figure = |name: &str, value: usize| {
            figures.push(format!("figure storm.leak.{}.{name} {value}", contestant.name()));
        };
        figure("open_connections", record.most_open);
        figure("after_deadline", record.stalled_after_deadline);
    }
    figures
}
