//! Which curves are drawn: good answers, attempts and waits over time, from the bins of the runs.

use std::ops::Range;

use super::chart::{Axis, Band, Line, Panel, svg};
use super::theme::{self, Tint};
use crate::Error;
use crate::record::Bin;
use crate::run::{Contestant, Run};
use crate::scenario::{BIN, Phase, Scenario};

/// The panels that show most of a storm: both runs in one, good answers above attempts.
pub(super) fn panels(scenario: &Scenario, runs: &[Run]) -> [Panel; 2] {
    [Quantity::Good, Quantity::Attempts].map(|quantity| panel(quantity, scenario, runs, runs))
}

/// The curves of one run. All runs have the same axes, so that they can be compared side by side.
pub(super) fn curves(scenario: &Scenario, runs: &[Run], run: &Run) -> Result<String, Error> {
    let shown = std::slice::from_ref(run);
    svg(&Quantity::ALL.map(|quantity| vec![panel(quantity, scenario, runs, shown)]), 640, 320)
}

/// What a panel shows.
#[derive(Clone, Copy, Debug)]
enum Quantity {
    Good,
    Attempts,
    Waits,
}

impl Quantity {
    const ALL: [Self; 3] = [Self::Good, Self::Attempts, Self::Waits];

    fn title(self) -> &'static str {
        match self {
            Self::Good => "Good answers",
            Self::Attempts => "Attempts at the dependency",
            Self::Waits => "Latency, refusals apart",
        }
    }

    fn unit(self) -> &'static str {
        match self {
            Self::Good => "share of offered",
            Self::Attempts => "per second",
            Self::Waits => "milliseconds",
        }
    }

    fn lines(self, run: &Run) -> Vec<Line> {
        let name = run.contestant.name();
        match self {
            Self::Good => vec![line(run, name.into(), 3, |bin| bin.tally.good_share())],
            Self::Attempts => vec![line(run, name.into(), 3, |bin| Some(bin.attempt_rate))],
            Self::Waits => vec![
                line(run, format!("{name} P99"), 3, |bin| wait(bin, 0.99)),
                line(run, format!("{name} P50"), 1, |bin| wait(bin, 0.5)),
            ],
        }
    }

    /// The reference lines behind the curves.
    fn context(self, scenario: &Scenario) -> Option<Line> {
        match self {
            Self::Attempts => Some(capacity(scenario)),
            Self::Good | Self::Waits => None,
        }
    }

    /// The top of the axis: fixed for a share, otherwise a little more than the highest value of any run.
    fn top(self, runs: &[Run]) -> f64 {
        match self {
            Self::Good => 1.1,
            Self::Attempts | Self::Waits => {
                let lines = runs.iter().flat_map(|run| self.lines(run));
                let values = lines.flat_map(|line| line.points).filter_map(|(_, value)| value);
                values.fold(1.0, f64::max) * 1.15
            }
        }
    }
}

fn panel(quantity: Quantity, scenario: &Scenario, runs: &[Run], shown: &[Run]) -> Panel {
    let outage = scenario.span(Phase::Outage);
    Panel {
        title: quantity.title(),
        across: Axis { name: "seconds", end: scenario.length().as_secs_f64() },
        up: Axis { name: quantity.unit(), end: quantity.top(runs) },
        band: Some(Band {
            span: outage.start.as_secs_f64()..outage.end.as_secs_f64(),
            label: format!("dependency {}x slower", scenario.slowdown),
        }),
        lines: quantity.context(scenario).into_iter().chain(shown.iter().flat_map(|run| quantity.lines(run))).collect(),
    }
}

/// What the dependency can serve each second: the reference for the attempts.
fn capacity(scenario: &Scenario) -> Line {
    let healthy = f64::from(scenario.slots) / scenario.service.as_secs_f64();
    let mut points = Vec::new();
    for phase in Phase::ALL {
        let slowdown = if phase == Phase::Outage { scenario.slowdown } else { 1 };
        let Range { start, end } = scenario.span(phase);
        points.extend([start, end].map(|at| (at.as_secs_f64(), Some(healthy / f64::from(slowdown)))));
    }
    Line { label: "capacity".into(), tint: theme::INK, width: 1, points }
}

/// A line through the centres of the bins.
fn line(run: &Run, label: String, width: u32, value: impl Fn(&Bin) -> Option<f64>) -> Line {
    let middle = |bin: &Bin| (bin.start + BIN / 2).as_secs_f64();
    let points = run.record.bins.iter().map(|bin| (middle(bin), value(bin))).collect();
    Line { label, tint: tint(run.contestant), width, points }
}

fn wait(bin: &Bin, quantile: f64) -> Option<f64> {
    bin.tally.wait_at(quantile).map(|wait| wait.as_secs_f64() * 1000.0)
}

pub(super) fn tint(contestant: Contestant) -> Tint {
    match contestant {
        Contestant::Bare => theme::BARE,
        Contestant::Seawall => theme::SEAWALL,
    }
}
