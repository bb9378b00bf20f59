//! The storm's table: good answers, waits, attempts, refusals and recovery, by phase.

use super::sheet::{Sheet, milliseconds, number};
use crate::record::Tally;
use crate::run::Run;
use crate::scenario::Phase;

const HEADINGS: [&str; 9] =
    ["service", "phase", "offered", "good", "P50", "P99", "attempts/request", "refused or cut by", "recovered after"];

const LEGEND: &str = "good: 200 within the deadline, counted from the intended start, as a share of offered.\n\
     P50, P99: how long unrefused callers waited. attempts: as they arrived at the dependency.\n\
     recovered after: from the outage's end to the first half second from which at least 0.9 stay good.";

pub(super) fn sheet(runs: &[Run]) -> Sheet {
    let lines = runs.iter().flat_map(lines).map(Vec::from).collect();
    Sheet { headings: &HEADINGS, lines, names: 2, legend: LEGEND.into() }
}

/// The rows of one run, one per phase.
fn lines(run: &Run) -> [[String; HEADINGS.len()]; Phase::ALL.len()] {
    Phase::ALL.map(|phase| {
        let tally = run.record.phase(phase);
        let recovery = match phase {
            Phase::After => run.record.recovery.map_or("never".into(), |time| format!("{:.1} s", time.as_secs_f64())),
            Phase::Before | Phase::Outage => String::new(),
        };
        [
            run.contestant.name().into(),
            phase.name().into(),
            tally.offered.to_string(),
            number(tally.good_share(), 3),
            milliseconds(tally.wait_at(0.5)),
            milliseconds(tally.wait_at(0.99)),
            number(tally.attempts_per_request(), 2),
            refusals(tally),
            recovery,
        ]
    })
}

fn refusals(tally: &Tally) -> String {
    let by_layer: Vec<_> = tally.refusals.iter().map(|(layer, count)| format!("{layer} {count}")).collect();
    if by_layer.is_empty() { "–".into() } else { by_layer.join("\n") }
}
