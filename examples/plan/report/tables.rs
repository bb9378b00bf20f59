//! The waits by the rate of calls, and what they mean.

use super::sheet::Sheet;
use crate::fleet::{FULL, Outlook};
use crate::sizing::{Known, Sizing, counted, shown};

/// The shares of the capacity that are shown beside the planned rate.
const SHARES: [f64; 8] = [0.25, 0.5, 0.7, 0.8, 0.9, 0.95, 1.0, 1.2];

pub(crate) fn table(known: &Known, sizing: &Sizing) -> String {
    let capacity = sizing.fleet.capacity();
    let mut rates = SHARES.map(|share| share * capacity).to_vec();
    rates.push(known.rate);
    rates.sort_by(f64::total_cmp);
    let line = |rate: f64| {
        let mark = if rate == known.rate { "planned: " } else { "" };
        let ratio = sizing.server.load_shed.queue_ratio;
        let all = cells(&sizing.fleet.outlook(rate, ratio));
        let lost = cells(&sizing.fleet.with_one_lost().outlook(rate, ratio));
        [format!("{mark}{rate:.1}")].into_iter().chain(all).chain(lost).collect()
    };
    let sheet = Sheet {
        headings: &[
            "calls a second",
            "load",
            "mean wait",
            "P99 wait",
            "refused",
            "load,\none lost",
            "mean wait,\none lost",
            "P99 wait,\none lost",
            "refused,\none lost",
        ],
        lines: rates.into_iter().map(line).collect(),
        names: 0,
        legend: "load: of the capacity. Waits are those of the calls that are served.".into(),
    };
    sheet.text()
}

fn cells(outlook: &Outlook) -> [String; 4] {
    let Outlook { load, mean_wait, p99_wait, refused } = *outlook;
    if load.is_infinite() {
        return ["–".into(), "–".into(), "–".into(), percent(refused)];
    }
    [format!("{load:.2}"), milliseconds(mean_wait), milliseconds(p99_wait), percent(refused)]
}

fn milliseconds(wait: f64) -> String {
    format!("{:.1} ms", wait * 1e3)
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}

/// What can be expected, in sentences.
pub(crate) fn summary(known: &Known, sizing: &Sizing) -> Vec<String> {
    let Known { time, rate, instances, slots, .. } = *known;
    let fleet = sizing.fleet;
    let mut sentences = vec![
        format!(
            "{} of {} can serve {:.0} calls a second. A call takes {:?}, and one in a hundred takes {:?}.",
            counted(instances.into(), "instance"),
            counted(slots.into(), "slot"),
            fleet.capacity(),
            shown(time.mean),
            shown(time.p99()),
        ),
        format!("At {rate} calls a second {}", expectation(&sizing.planned)),
    ];
    sentences.push(match instances {
        1 => "If the instance is lost, nothing is served.".into(),
        _ => format!("With one instance lost {}", expectation(&sizing.one_lost)),
    });
    let with_one_lost = fleet.needed(rate) + 1;
    if sizing.one_lost.load > FULL {
        sentences.push(format!(
            "{} would stay at or below {FULL} of their capacity with one lost.",
            counted(with_one_lost, "instance")
        ));
    }
    sentences
}

fn expectation(outlook: &Outlook) -> String {
    let Outlook { load, mean_wait, p99_wait, refused } = *outlook;
    format!(
        "the load is {load:.2}, the mean wait {}, the P99 wait {}, and {} are refused.",
        milliseconds(mean_wait),
        milliseconds(p99_wait),
        percent(refused)
    )
}
