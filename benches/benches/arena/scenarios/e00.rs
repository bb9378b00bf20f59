//! E0, the tax without faults: one server at half and at nine tenths of its capacity. Layers must neither refuse calls nor slow them down.
//!
//! Score: the mean over both loads of `(1 - refused / offered) * min(1, P99 of the model / P99)`. The model is the unprotected server.

use super::{Outcome, Scenario, Setting};
use crate::clock::virtual_time;
use crate::drive::{get, open_loop};
use crate::model::{Wants, unprotected};
use crate::score::{mean, quantile, share};
use crate::server::Server;
use crate::trace::{Attempt, Law, whole};

pub(super) const SCENARIO: Scenario = Scenario { name: "E0", title: "zero-fault tax", run };

const SLOTS: usize = 10;

fn run(setting: &Setting<'_>) -> Outcome {
    let law = Law::Exponential(setting.ms(10.0) as f64);
    let deadline = setting.ms(250.0);
    let until = setting.ms(if setting.is_quick { 10_000.0 } else { 20_000.0 });
    let brief = setting.brief(deadline, SLOTS, 10.0);
    let mut outcome = Outcome::default();
    let mut scores = Vec::new();
    for (part, load) in [0.5, 0.9].into_iter().enumerate() {
        let trace = setting.trace().of_part(part as u64);
        let calls = trace.arrivals(setting.rate(1000.0) * load, until);
        let end = until + 2 * deadline;
        let records = virtual_time(setting.seed, async |clock| {
            let server = Server::new(clock, trace, law, SLOTS);
            let wire = setting.wire(clock, &brief, &server, calls.len());
            let clients = setting.clients(&brief, &wire);
            open_loop(clock, &calls, &clients, end, |call, _| get(call, "")).await
        });
        let arrivals: Vec<_> = calls.iter().map(|call| call.at).collect();
        let wants = Wants { slots: SLOTS, attempts: 1, attempt_timeout: None, until: end };
        let (bare, _) = unprotected(&arrivals, wants, |call, number, _| {
            whole(trace.service(law, Attempt { call: call as u32, number, server: 0 }))
        });
        let p99 = |records: &[crate::drive::Record]| {
            quantile(records.iter().filter_map(|record| record.latency()), 0.99).unwrap_or(end) as f64
        };
        let refused = records.iter().filter(|record| !record.succeeded).count() as f64 / records.len() as f64;
        scores.push((1.0 - refused) * share(p99(&bare), p99(&records)));
        outcome.details.push((format!("refused at {load}x"), refused));
        outcome.details.push((format!("P99 at {load}x / bare"), p99(&records) / p99(&bare)));
        if setting.contestant.name() == "nothing" {
            outcome.checks.push((format!("P99 at {load}x"), p99(&records), p99(&bare)));
        }
    }
    Outcome { score: mean(scores.into_iter()), ..outcome }
}
