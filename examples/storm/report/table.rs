//! The table: good answers, waits, attempts, refusals and recovery, by phase.

use std::time::Duration;

use comfy_table::{CellAlignment, Table};

use crate::record::Tally;
use crate::run::Run;
use crate::scenario::Phase;

/// What stands above the columns.
pub(super) const HEADINGS: [&str; 9] =
    ["service", "phase", "offered", "good", "P50", "P99", "attempts/request", "refused or cut by", "recovered after"];

/// How the columns are meant.
pub(super) const LEGEND: &str = "good: 200 within the deadline, counted from the intended start, as a share of offered.\n\
     P50, P99: how long the callers waited who were not refused. attempts: as they arrived at the dependency.\n\
     recovered after: from the outage's end to the first half second from which at least 0.9 stay good.";

/// A line of the table, in the order of [`HEADINGS`].
pub(super) type Line = [String; HEADINGS.len()];

/// The table for the terminal.
pub(crate) fn table(runs: &[Run]) -> String {
    let mut table = Table::new();
    table.load_preset(comfy_table::presets::UTF8_FULL_CONDENSED).set_header(HEADINGS);
    for line in runs.iter().flat_map(lines) {
        table.add_row(line);
    }
    for column in table.column_iter_mut().skip(2) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{table}\n{LEGEND}")
}

/// The lines of one run, one a phase.
pub(super) fn lines(run: &Run) -> [Line; Phase::ALL.len()] {
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

fn number(number: Option<f64>, digits: usize) -> String {
    number.map_or("–".into(), |number| format!("{number:.digits$}"))
}

fn milliseconds(wait: Option<Duration>) -> String {
    wait.map_or("–".into(), |wait| format!("{} ms", wait.as_millis()))
}

fn refusals(tally: &Tally) -> String {
    let by_layer: Vec<_> = tally.refusals.iter().map(|(layer, count)| format!("{layer} {count}")).collect();
    if by_layer.is_empty() { "–".into() } else { by_layer.join("\n") }
}
