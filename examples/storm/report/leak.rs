//! The chart of the leak: the dependency's connections over time.

use std::time::Duration;

use super::chart::{Axis, Band, Line, Panel};
use super::curves::tint;
use super::sheet::Sheet;
use crate::leak::{Run, Script};

/// There are more samples than a curve needs: of each such interval, the sample with the most connections is drawn.
const RESOLUTION: Duration = Duration::from_millis(50);

pub(super) fn panel(script: &Script, runs: &[Run]) -> Panel {
    let stretch = script.stretch();
    let most = runs.iter().map(|run| run.record.most_open).max().unwrap_or_default();
    Panel {
        title: "Open connections",
        across: Axis { name: "seconds", end: script.length().as_secs_f64() },
        up: Axis { name: "at the dependency", end: most.max(1) as f64 * 1.15 },
        band: Some(Band { span: stretch.start.as_secs_f64()..stretch.end.as_secs_f64(), label: "bodies stall".into() }),
        lines: runs.iter().map(line).collect(),
    }
}

fn line(run: &Run) -> Line {
    let mut points = Vec::<(f64, Option<f64>)>::new();
    let mut slot = None;
    for sample in &run.record.samples {
        let place = sample.at.as_millis() / RESOLUTION.as_millis();
        let open = sample.open as f64;
        match points.last_mut() {
            Some((_, Some(highest))) if slot == Some(place) => *highest = highest.max(open),
            _ => points.push((sample.at.as_secs_f64(), Some(open))),
        }
        slot = Some(place);
    }
    Line { label: run.contestant.name().into(), tint: tint(run.contestant), width: 3, points }
}

pub(super) fn sheet(script: &Script, runs: &[Run]) -> Sheet {
    let line = |Run { contestant, record }: &Run| {
        let numbers = [record.most_open, record.stalled_after_deadline, record.good_before, record.good_after];
        [contestant.name().into()].into_iter().chain(numbers.map(|number| number.to_string())).collect()
    };
    Sheet {
        headings: &["client", "most open", "still stalled", "whole before", "whole after"],
        lines: runs.iter().map(line).collect(),
        names: 1,
        legend: format!(
            "most open: connections at once, as the dependency counts them. still stalled: those with an unfinished body {:?} \
             after the stretch,\nwhen the deadline of each call is over. whole: answers read to their end, before the stretch \
             and after it.",
            script.settled() - script.stretch().end
        ),
    }
}
