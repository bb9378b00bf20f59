//! The tables: the topologies side by side, and each fault.

use super::sheet::{Sheet, number};
use crate::claim::{Results, STANDBY_WITHIN, lost_after, seconds};
use crate::fault::{Fault, FaultRun};
use crate::record::Record;
use crate::topology::Topology;

/// Capacity, availability, failure impact and recovery time of each topology.
pub(super) fn topologies(results: &Results) -> Sheet {
    let line = |name: &str, value: &dyn Fn(Topology) -> String| {
        [name.to_owned()].into_iter().chain(Topology::ALL.map(value)).collect::<Vec<_>>()
    };
    let ramp = |topology| results.ramps.iter().find(|ramp| ramp.topology == topology);
    let of = |topology, fault, value: &dyn Fn(&Record) -> String| {
        results.fault(topology, fault).map_or("–".into(), |(_, record)| value(record))
    };
    let availability = |record: &Record| percent(record.availability());
    let lines = vec![
        line("capacity, calls a second", &|topology| number(ramp(topology).map(|ramp| ramp.rate), 1)),
        line("capacity by theory", &|topology| number(ramp(topology).map(|ramp| ramp.share_of_theory), 3)),
        line("what the router adds to a call, in service times", &|topology| {
            number(ramp(topology).map(|ramp| ramp.added), 4)
        }),
        line("users at the first failure", &|topology| number(ramp(topology).map(|ramp| ramp.users as f64), 0)),
        line("what its user sees", &|topology| {
            ramp(topology).map_or("–".into(), |ramp| ramp.reason.replace(": ", "\n"))
        }),
        line("availability while a predictor is killed and starts again", &|topology| {
            of(topology, Fault::Kill, &availability)
        }),
        line("availability during an upgrade of all predictors", &|topology| {
            of(topology, Fault::Upgrade, &availability)
        }),
        line("failed calls while a predictor is down", &|topology| {
            of(topology, Fault::Kill, &|record| percent(record.impact))
        }),
        line("recovery after a predictor is killed", &|topology| {
            of(topology, Fault::Kill, &|record| seconds(record.recovery))
        }),
    ];
    let legend = format!(
        "A call takes {:?}, and each predictor has 10 slots. Steady load: 60 % of two predictors, or of the single one.\n\
         recovery: from the kill until nine tenths of all calls are answered within {:?} again and stay so.",
        results.pace.service,
        results.pace.slow_after()
    );
    Sheet { headings: &["", "single", "2 active + 1 standby", "3 active"], lines, names: 1, legend }
}

/// Each fault in each topology.
pub(super) fn faults(results: &Results) -> Sheet {
    let line = |(run, record): &(FaultRun, Record)| {
        vec![
            run.topology.title().into(),
            run.fault.title().into(),
            record.calls.to_string(),
            record.failed.to_string(),
            run.kill.as_ref().map_or("–".into(), |kill| format!("{} of {}", record.failed_posts, kill.posts)),
            record.slow.to_string(),
            seconds(record.recovery),
            run.topology.standby().map_or("–".into(), |_| seconds(record.standby_after)),
            run.topology.standby().map_or("–".into(), |_| percent(record.standby_in_the_end)),
            number(record.flood, 2),
            number(Some(record.share_when_full), 3),
        ]
    };
    Sheet {
        headings: &[
            "topology",
            "fault",
            "calls",
            "failed",
            "failed posts",
            "slow",
            "recovered after",
            "standby after",
            "standby at last",
            "first calls",
            "slots at last",
        ],
        lines: results.faults.iter().map(line).collect(),
        names: 2,
        legend: format!(
            "calls and failed: those that may be repeated. failed posts: those that must not be sent twice, by those that the killed \
             predictor had.\nslow: answered after more than {:?}. standby after: the first call that the standby served; it must \
             be at most {:?} after the other active predictor is full, and where a predictor hangs or is slow also the {:?} after which a call \
             counts as lost. standby at last: calls \
             that it got long after the fault while active slots were free.\nfirst calls: what the returned predictor gets at first, by its usual number. slots at last: the \
             rate with more users than slots, by theory.",
            results.pace.slow_after(),
            STANDBY_WITHIN,
            lost_after(results.pace)
        ),
    }
}

fn percent(share: f64) -> String {
    format!("{:.2} %", share * 100.0)
}
