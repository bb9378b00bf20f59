//! The chart of the overload: the goodput at each load.

use super::chart::{Axis, Line, Panel};
use super::curves::tint;
use super::sheet::{Sheet, milliseconds, number};
use super::theme;
use crate::overload::{Run, Script};

pub(super) fn panel(runs: &[Run]) -> Panel {
    let highest = runs.iter().flat_map(|run| &run.record.curve).map(|(load, _)| *load).fold(1.0, f64::max);
    Panel {
        title: "Goodput over load",
        across: Axis { name: "offered, as a multiple of the capacity", end: highest },
        up: Axis { name: "share of capacity", end: 1.2 },
        band: None,
        lines: [possible(highest)].into_iter().chain(runs.iter().map(line)).collect(),
    }
}

/// The best possible goodput: the offered load, and never more than the capacity.
fn possible(highest: f64) -> Line {
    let points = [0.0, 1.0, highest].map(|load| (load, Some(load.min(1.0))));
    Line { label: String::new(), tint: theme::INK, width: 1, points: points.into() }
}

fn line(run: &Run) -> Line {
    let points = run.record.curve.iter().map(|(load, goodput)| (*load, Some(*goodput))).collect();
    Line { label: run.contestant.name().into(), tint: tint(run.contestant), width: 3, points }
}

pub(super) fn sheet(script: &Script, runs: &[Run]) -> Sheet {
    let line = |Run { contestant, record }: &Run| {
        vec![
            contestant.name().into(),
            record.offered.to_string(),
            record.refused.to_string(),
            number(Some(record.during), 3),
            milliseconds(record.p99),
            number(Some(record.after), 3),
        ]
    };
    Sheet {
        headings: &["service", "offered", "refused", "goodput", "P99", "good after"],
        lines: runs.iter().map(line).collect(),
        names: 1,
        legend: format!(
            "goodput: answers within {:?} while more was offered than the service can do, as a share of what it can do:\n\
             its workers by the time that their work really took. P99: how long the callers waited then who were not refused.\n\
             good after: when the load is low again, as a share of offered.",
            script.deadline
        ),
    }
}
