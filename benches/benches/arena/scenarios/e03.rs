//! E3, the ladder of overload: 1.2 to 10 times the capacity of one server. An endless queue answers nothing in time.
//!
//! Score: the mean over the loads of `g * min(1, 100 ms / P99 of what succeeds)`, quoted at 10 ms.

use super::{Outcome, Scenario, Setting, answered, good, offers};
use crate::clock::virtual_time;
use crate::curves::Curves;
use crate::drive::{get, open_loop};
use crate::model::{Wants, optimum, unprotected};
use crate::score::{mean, quantile, share};
use crate::server::Server;
use crate::trace::{Attempt, Law, whole};

pub(super) const SCENARIO: Scenario = Scenario { name: "E3", title: "overload ladder", run };

const SLOTS: usize = 10;
const LOADS: [f64; 6] = [1.2, 1.5, 2.0, 3.0, 5.0, 10.0];

fn run(setting: &Setting<'_>) -> Outcome {
    let law = Law::Exponential(setting.ms(10.0) as f64);
    let deadline = setting.ms(250.0);
    let scored = setting.ms(2_000.0)..setting.ms(if setting.is_quick { 4_000.0 } else { 7_000.0 });
    // The load lasts beyond what is scored: its end would leave the optimum time for the queue.
    let (until, end) = (scored.end + deadline, scored.end + 3 * deadline);
    let brief = setting.brief(deadline, SLOTS, 10.0);
    let mut outcome = Outcome::default();
    let mut scores = Vec::new();
    for (part, load) in LOADS.into_iter().enumerate() {
        let trace = setting.trace().of_part(part as u64);
        let calls = trace.arrivals(setting.rate(1000.0) * load, until);
        let (records, attempts) = virtual_time(setting.seed, async |clock| {
            let server = Server::new(clock, trace, law, SLOTS);
            let wire = setting.wire(clock, &brief, &server, calls.len());
            let clients = setting.clients(&brief, &wire);
            let records = open_loop(clock, &calls, &clients, end, |call, _| get(call, "")).await;
            (records, wire.attempts())
        });
        let service =
            |call: usize, number, _| whole(trace.service(law, Attempt { call: call as u32, number, server: 0 }));
        let best = optimum(&offers(&calls, deadline), SLOTS, |call, now| service(call, 0, now));
        let best = answered(&calls, &best, scored.clone());
        let g = share(good(&records, deadline, scored.clone()), best);
        let in_window = records.iter().filter(|record| scored.contains(&record.at));
        let p99 = quantile(in_window.filter_map(|record| record.latency()), 0.99).unwrap_or(end);
        scores.push(g * share(setting.ms(100.0) as f64, p99 as f64));
        outcome.details.push((format!("g at {load}x"), g));
        outcome.details.push((format!("P99 at {load}x / 100 ms"), p99 as f64 / setting.ms(100.0) as f64));
        if load == 3.0 {
            let times = attempts.iter().map(|(at, _)| *at);
            outcome.curves = Some(Curves::new("3x", &records, deadline, times, scored.end));
        }
        if setting.contestant.name() == "nothing" {
            let arrivals: Vec<_> = calls.iter().map(|call| call.at).collect();
            let wants = Wants { slots: SLOTS, attempts: 1, attempt_timeout: None, until: end };
            let (modelled, _) = unprotected(&arrivals, wants, service);
            let served =
                |records: &[crate::drive::Record]| records.iter().filter(|record| record.succeeded).count() as f64;
            outcome.checks.push((format!("served at {load}x"), served(&records), served(&modelled)));
        }
    }
    Outcome { score: mean(scores.into_iter()), ..outcome }
}
