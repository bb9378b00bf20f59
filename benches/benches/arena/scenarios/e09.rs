//! E9, deadlines over three tiers: A calls B, B calls C, and C is offered half as much again as it can do.
//!
//! Score: `g` times the share of C's time that it spends on calls that are answered in time. The optimum is that of C alone, to which each
//! call comes when A and B have worked on it.

use super::e04::tier;
use super::{Outcome, Scenario, Setting, good};
use crate::clock::{Ms, virtual_time};
use crate::contestants::Brief;
use crate::curves::Curves;
use crate::drive::{get, open_loop};
use crate::model::{Offer, optimum};
use crate::score::share;
use crate::server::Server;
use crate::trace::{Attempt, Law, whole};

pub(super) const SCENARIO: Scenario = Scenario { name: "E9", title: "deadlines over three tiers", run };

const SLOTS: usize = 10;
const SLOTS_OF_C: usize = 3;

fn run(setting: &Setting<'_>) -> Outcome {
    let mean = setting.ms(10.0) as f64;
    let law = Law::Exponential(mean);
    let deadline = setting.ms(300.0);
    let scored = setting.ms(5_000.0)..setting.ms(30_000.0);
    let (until, end) = (scored.end + deadline, scored.end + 3 * deadline);
    let brief = setting.brief(deadline, SLOTS, 10.0);
    let trace = setting.trace();
    let calls = trace.arrivals(1.5 * SLOTS_OF_C as f64 / mean, until);
    let (records, work, attempts) = virtual_time(setting.seed, async |clock| {
        let server = Server::new(clock, trace, law, SLOTS_OF_C).with_id(3);
        let of_c = Brief { slots: SLOTS_OF_C as u32, ..brief };
        let c = setting.wire(clock, &of_c, &server, calls.len());
        let b = tier(setting, clock, &brief, 2, &c, calls.len());
        let a = tier(setting, clock, &brief, 1, &b, calls.len());
        let clients = setting.clients(&brief, &a);
        let records = open_loop(clock, &calls, &clients, end, |call, _| get(call, "")).await;
        (records, server.work(), c.attempts())
    });
    let service = |call: usize, server| whole(trace.service(law, Attempt { call: call as u32, number: 0, server }));
    // As C sees them, in the order in which they come to it.
    let mut at_c: Vec<_> = (0..calls.len())
        .map(|call| {
            let at = calls[call].at + service(call, 1) + service(call, 2);
            (Offer { at, deadline: calls[call].at + deadline, class: 0 }, call)
        })
        .collect();
    at_c.sort_by_key(|(offer, _)| offer.at);
    let offers: Vec<_> = at_c.iter().map(|(offer, _)| *offer).collect();
    let best = optimum(&offers, SLOTS_OF_C, |place, _| service(at_c[place].1, 3));
    let best = at_c.iter().zip(best).filter(|((_, call), best)| *best && scored.contains(&calls[*call].at)).count();
    let g = share(good(&records, deadline, scored.clone()), best as f64);
    let (mut useful, mut all): (Ms, Ms) = (0, 0);
    for work in work.iter().filter(|work| scored.contains(&calls[work.call as usize].at)) {
        all += work.time;
        useful += if records[work.call as usize].is_good(deadline) { work.time } else { 0 };
    }
    let useful = share(useful as f64, all as f64);
    Outcome {
        score: g * useful,
        details: vec![("g".into(), g), ("useful share of C's time".into(), useful)],
        curves: Some(Curves::new("", &records, deadline, attempts.iter().map(|(at, _)| *at), scored.end)),
        ..Outcome::default()
    }
}
