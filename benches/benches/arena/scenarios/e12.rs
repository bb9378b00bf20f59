//! E12, hedging safely: ten servers of ten slots, whose calls take 10 ms, and one in a hundred 200 ms, at four loads.
//!
//! Score: the mean over the loads of `min(1, best P99.9 / P99.9) * min(1, bare P50 / P50) * min(1, 1.1 / A)`. The best is one queue for all
//! slots and a second attempt that costs nothing, after the delay that is best and within a tenth of the calls. Bare are endpoints in turn.

use std::ops::Range;

use super::{Outcome, Scenario, Setting};
use crate::clock::{Ms, virtual_time};
use crate::contestants::Instance;
use crate::drive::{Record, get, open_loop};
use crate::model::{Wants, unprotected};
use crate::score::{mean, quantile, share};
use crate::server::Server;
use crate::trace::{Arrival, Attempt, Law, Trace, whole};

pub(super) const SCENARIO: Scenario = Scenario { name: "E12", title: "hedging safely", run };

const SERVERS: usize = 10;
const SLOTS: usize = 10;

fn run(setting: &Setting<'_>) -> Outcome {
    let law = Law::Outliers { mean: setting.ms(10.0) as f64, share: 0.01, slow: setting.ms(200.0) as f64 };
    let deadline = setting.ms(1_000.0);
    // What learns has had some hundred calls before the score begins.
    let scored = setting.ms(2_000.0)..setting.ms(5_000.0);
    let until = scored.end;
    let end = until + 2 * deadline;
    let brief = setting.brief(deadline, SLOTS, 10.0);
    let capacity = (SERVERS * SLOTS) as f64 / law.mean();
    let mut outcome = Outcome::default();
    let mut scores = Vec::new();
    for (part, load) in [0.2, 0.5, 0.7, 0.9].into_iter().enumerate() {
        let trace = setting.trace().of_part(part as u64);
        let calls = trace.arrivals(capacity * load, until);
        let (records, attempts) = virtual_time(setting.seed, async |clock| {
            let instances: Vec<_> = (0..SERVERS)
                .map(|id| {
                    let server = Server::new(clock, trace, law, SLOTS).with_id(id as u32);
                    Instance::active(setting.wire(clock, &brief, &server, calls.len()))
                })
                .collect();
            let clients = setting.balanced(&brief, &instances);
            let records = open_loop(clock, &calls, &clients, end, |call, _| get(call, "")).await;
            (records, instances.iter().map(|instance| instance.wire.attempts().len()).sum::<usize>())
        });
        // A failed call took for ever.
        let times = latencies(&records, &scored, end);
        let of = |times: &[Ms], q| quantile(times.iter().copied(), q).unwrap_or(end) as f64;
        let [p50, p999] = [0.5, 0.999].map(|q| of(&times, q));
        let a = attempts as f64 / calls.len() as f64;
        let (bare_p50, best_p999) =
            (of(&bare(trace, law, &calls, &scored, end), 0.5), best(trace, law, &calls, &scored, end));
        scores.push(share(best_p999, p999) * share(bare_p50, p50) * share(1.1, a));
        outcome.details.push((format!("P99.9 / best at {load}"), p999 / best_p999));
        outcome.details.push((format!("P50 / bare at {load}"), p50 / bare_p50));
        outcome.details.push((format!("attempts / offered at {load}"), a));
    }
    Outcome { score: mean(scores.into_iter()), ..outcome }
}

/// The latencies of the calls that start within a time.
fn latencies(records: &[Record], scored: &Range<Ms>, end: Ms) -> Vec<Ms> {
    let in_window = records.iter().filter(|record| scored.contains(&record.at));
    in_window.map(|record| record.latency().unwrap_or(end)).collect()
}

/// Every server gets every tenth call.
fn bare(trace: Trace, law: Law, calls: &[Arrival], scored: &Range<Ms>, end: Ms) -> Vec<Ms> {
    let wants = Wants { slots: SLOTS, attempts: 1, attempt_timeout: None, until: end };
    let of_server = |server: usize| {
        let own: Vec<_> = calls.iter().skip(server).step_by(SERVERS).map(|call| call.at).collect();
        let (records, _) = unprotected(&own, wants, |place, number, _| {
            let call = (place * SERVERS + server) as u32;
            whole(trace.service(law, Attempt { call, number, server: server as u32 }))
        });
        latencies(&records, scored, end)
    };
    (0..SERVERS).flat_map(of_server).collect()
}

/// The P99.9 of one queue whose calls end with the first of two attempts.
fn best(trace: Trace, law: Law, calls: &[Arrival], scored: &Range<Ms>, end: Ms) -> f64 {
    let arrivals: Vec<_> = calls.iter().map(|call| call.at).collect();
    let wants = Wants { slots: SERVERS * SLOTS, attempts: 1, attempt_timeout: None, until: end };
    let time = |call: usize, number| whole(trace.service(law, Attempt { call: call as u32, number, server: 0 }));
    let delays = [0.9, 0.95, 0.98].map(|q| quantile((0..calls.len()).map(|call| time(call, 0)), q).unwrap_or(end));
    let of_delay = |delay: Ms| {
        let (records, _) = unprotected(&arrivals, wants, |call, _, _| time(call, 0).min(delay + time(call, 1)));
        quantile(latencies(&records, scored, end).into_iter(), 0.999).unwrap_or(end) as f64
    };
    delays.into_iter().map(of_delay).fold(f64::INFINITY, f64::min)
}
