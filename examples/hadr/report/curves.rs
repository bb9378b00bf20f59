//! The curves: answers of each predictor and failures over time.

use std::time::Duration;

use super::chart::{Axis, Band, Line, Panel};
use super::theme::{self, Tint};
use crate::fault::{Fault, FaultRun};
use crate::ramp::Ramp;
use crate::topology::{Pace, Topology, node_name};
use crate::users::Call;

/// The answers of each predictor, and the calls that failed.
pub(super) fn by_node(run: &FaultRun, pace: Pace) -> Panel {
    let end = run.fills;
    let mut lines: Vec<Line> = (0..run.topology.tiers().len())
        .map(|node| {
            let is_standby = run.topology.standby() == Some(node);
            let label = if is_standby { "standby".to_owned() } else { format!("predictor {}", node_name(node)) };
            rates(&run.calls, end, pace, label, tint(node), |call| call.answer == Ok(node))
        })
        .collect();
    lines.push(rates(&run.calls, end, pace, "failed".into(), theme::INK, |call| call.answer.is_err()));
    let top = lines.iter().flat_map(|line| &line.points).filter_map(|(_, value)| *value).fold(1.0, f64::max);
    Panel {
        title: title(run.topology),
        across: Axis { name: "seconds", end: end.as_secs_f64() },
        up: Axis { name: "answers a second", end: top * 1.2 },
        band: Some(Band { span: run.begins.as_secs_f64()..run.ends.as_secs_f64(), label: band(run.fault).into() }),
        lines,
    }
}

fn title(topology: Topology) -> &'static str {
    match topology {
        Topology::Single => "One predictor",
        Topology::TwoAndStandby => "2 active + 1 standby",
        Topology::Three => "3 active",
    }
}

fn band(fault: Fault) -> &'static str {
    match fault {
        Fault::Kill => "a is killed",
        Fault::Stop => "a is stopped",
        Fault::Slow => "a is ten times slower",
        Fault::Fail => "a answers 500",
        Fault::Upgrade => "each is upgraded",
    }
}

/// Answers a second of all topologies while users come.
pub(super) fn ramps(ramps: &[Ramp], pace: Pace) -> Panel {
    let end = ramps.iter().map(|ramp| ramp.first_failure).max().unwrap_or_default();
    let line = |(i, ramp): (usize, &Ramp)| {
        rates(&ramp.calls, ramp.first_failure, pace, ramp.topology.title().into(), tint(i), |call| call.answer.is_ok())
    };
    Panel {
        title: "Answers until the first failure",
        across: Axis { name: "seconds", end: end.as_secs_f64() },
        up: Axis { name: "a second", end: pace.theory(Topology::Three.slots()) * 1.2 },
        band: None,
        lines: ramps.iter().enumerate().map(line).collect(),
    }
}

/// Ends of such calls a second, in bins of one service time.
fn rates(calls: &[Call], end: Duration, pace: Pace, label: String, tint: Tint, counts: impl Fn(&Call) -> bool) -> Line {
    let bins = pace.services(end) as u32;
    let point = |bin: u32| {
        let from = pace.service * bin;
        let count =
            calls.iter().filter(|call| counts(call) && (from..from + pace.service).contains(&call.end())).count();
        ((from + pace.service / 2).as_secs_f64(), Some(count as f64 / pace.service.as_secs_f64()))
    };
    Line { label, tint, width: 3, points: (0..bins).map(point).collect() }
}

fn tint(i: usize) -> Tint {
    [theme::BARE, theme::SEAWALL, theme::THIRD].get(i).copied().unwrap_or(theme::INK)
}
