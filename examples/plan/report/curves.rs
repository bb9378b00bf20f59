//! The waits by the rate of calls.

use super::chart::{Axis, Band, Line, Panel, svg};
use super::theme::{self, Tint};
use crate::Error;
use crate::fleet::{Fleet, Outlook};
use crate::sizing::{Known, Sizing};

const POINTS: u32 = 200;

/// Mean and 99th percentile of the waits, with all instances and with one lost, as an SVG.
pub(crate) fn picture(known: &Known, sizing: &Sizing) -> Result<String, Error> {
    let end = sizing.fleet.capacity() * 1.2;
    let line = |fleet: Fleet, label: &str, tint: Tint, width: u32, wait: fn(&Outlook) -> f64| {
        let point = |i: u32| {
            let rate = end * f64::from(i) / f64::from(POINTS);
            (rate, Some(wait(&fleet.outlook(rate, sizing.server.load_shed.queue_ratio)) * 1e3))
        };
        Line { label: label.into(), tint, width, points: (0..=POINTS).map(point).collect() }
    };
    let (p99, mean) = (|outlook: &Outlook| outlook.p99_wait, |outlook: &Outlook| outlook.mean_wait);
    let mut lines = Vec::new();
    if known.instances > 1 {
        let lost = sizing.fleet.with_one_lost();
        lines.push(line(lost, "P99, one lost", theme::BARE, 3, p99));
        lines.push(line(lost, "mean, one lost", theme::BARE, 1, mean));
    }
    lines.push(line(sizing.fleet, "P99", theme::SEAWALL, 3, p99));
    lines.push(line(sizing.fleet, "mean", theme::SEAWALL, 1, mean));
    let top = sizing.server.load_shed.queue_ratio * known.time.mean * 1e3;
    let panel = Panel {
        title: "Wait for a slot",
        across: Axis { name: "calls a second", end },
        up: Axis { name: "milliseconds", end: top * 1.2 },
        band: Some(Band { span: known.rate - end * 0.003..known.rate + end * 0.003, label: "planned".into() }),
        lines,
    };
    svg(&[vec![panel]], 1000, 400)
}
