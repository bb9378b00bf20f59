//! E11, one shard of ten down: calls for ten shards, each with a host of its own, go through one client, and shard 3 fails for a while.
//!
//! Score: `g * min(1, 1.1 / A)^0.5` with the attempts at the dead shard per call. All other calls can be answered.

use std::sync::Arc;

use super::{Outcome, Scenario, Setting};
use crate::clock::virtual_time;
use crate::contestants::Brief;
use crate::curves::Curves;
use crate::drive::{get, open_loop};
use crate::score::share;
use crate::server::{Effect, Server};
use crate::trace::Law;

pub(super) const SCENARIO: Scenario = Scenario { name: "E11", title: "one shard of ten down", run };

/// More than are ever used.
const SLOTS: usize = 1000;
const SHARDS: u32 = 10;
const DEAD: u32 = 3;

fn run(setting: &Setting<'_>) -> Outcome {
    let law = Law::Exponential(setting.ms(10.0) as f64);
    let deadline = setting.ms(1_000.0);
    let outage = setting.ms(10_000.0)..setting.ms(70_000.0);
    let (from, to) = (outage.start, outage.end);
    let until = setting.ms(100_000.0);
    let brief = Brief { attempts: Some(3), ..setting.brief(deadline, SLOTS, 10.0) };
    let trace = setting.trace();
    let mut rng = trace.of_part(1).generator();
    let mut calls = trace.arrivals(setting.rate(500.0), until);
    calls.iter_mut().for_each(|call| call.key = rng.u32(0..SHARDS));
    let shards: Arc<[u32]> = calls.iter().map(|call| call.key).collect();
    let is_lost = move |at, shard| shard == DEAD && (from..to).contains(&at);
    let (records, attempts) = virtual_time(setting.seed, async |clock| {
        let server = Server::new(clock, trace, law, SLOTS)
            .with_effects(move |now, attempt| Effect::failing(is_lost(now, shards[attempt.call as usize])));
        let wire = setting.wire(clock, &brief, &server, calls.len());
        let clients = setting.clients(&brief, &wire);
        let records = open_loop(clock, &calls, &clients, until + deadline, |call, of| {
            let mut request = get(call, "");
            let uri = format!("http://shard-{}.arena/", of.key);
            *request.uri_mut() = uri.parse().expect("a valid URI");
            request
        })
        .await;
        (records, wire.attempts())
    });
    let (mut good, mut best) = (0.0, 0.0);
    for (record, call) in records.iter().zip(&calls).filter(|(_, call)| call.at >= from && !is_lost(call.at, call.key))
    {
        best += 1.0;
        good += f64::from(u8::from(record.is_good(deadline)));
        debug_assert_eq!(record.at, call.at);
    }
    let offered = calls.iter().filter(|call| is_lost(call.at, call.key)).count() as f64;
    let at_shard = attempts.iter().filter(|(at, call)| is_lost(*at, calls[*call as usize].key)).count() as f64;
    let g = share(good, best);
    Outcome {
        score: g * share(1.1, at_shard / offered).sqrt(),
        details: vec![("g".into(), g), ("attempts at the shard / offered".into(), at_shard / offered)],
        curves: Some(Curves::new("", &records, deadline, attempts.iter().map(|(at, _)| *at), until)),
        ..Outcome::default()
    }
}
