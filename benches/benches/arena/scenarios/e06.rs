//! E6, a slow dependency and shared slots: a service has 50 slots, each held while a request waits for one of two dependencies. The
//! rarer one begins to take ten seconds.
//!
//! Score: `g * min(1, 600 / calls of the slow dependency)^0.25`, with the calls of the other one while it is slow.

use super::e04::pass_on;
use super::{Outcome, Scenario, Setting, good};
use crate::clock::virtual_time;
use crate::contestants::Brief;
use crate::curves::Curves;
use crate::drive::{Record, get, open_loop};
use crate::score::share;
use crate::server::{Effect, Handler, Server};
use crate::trace::{Arrival, Attempt, Law, whole};
use crate::wire::Wire;

pub(super) const SCENARIO: Scenario = Scenario { name: "E6", title: "slow dependency, shared slots", run };

const SLOTS: usize = 50;
/// Of the dependencies: more than are ever used.
const MANY: usize = 10_000;
const SLOW: u32 = 1;
const FAST: u32 = 2;

fn run(setting: &Setting<'_>) -> Outcome {
    let law = Law::Exponential(setting.ms(10.0) as f64);
    let slow = setting.ms(10_000.0)..setting.ms(70_000.0);
    let (from, to, slow_time) = (slow.start, slow.end, setting.ms(10_000.0) as f64);
    let until = setting.ms(75_000.0);
    let trace = setting.trace();
    let mut rng = trace.of_part(1).generator();
    let mut calls = trace.arrivals(setting.rate(1000.0), until);
    calls.iter_mut().for_each(|call| call.key = if rng.f64() < 0.2 { SLOW } else { FAST });
    let deadline = |key| setting.ms(if key == SLOW { 1_000.0 } else { 100.0 });
    let brief_of = |key| setting.brief(deadline(key), MANY, 10.0);

    let (records, slow_calls) = virtual_time(setting.seed, async |clock| {
        let [slow_wire, fast_wire] = [SLOW, FAST].map(|key| {
            let mean = law.mean();
            let server = Server::new(clock, trace, law, MANY).with_id(key).with_effects(move |now, attempt| {
                let is_slow = key == SLOW && (from..to).contains(&now);
                // All of it, whatever the trace says.
                Effect::slower(if is_slow { slow_time / trace.service(law, attempt).max(mean / 1e6) } else { 1.0 })
            });
            setting.wire(clock, &brief_of(key), &server, calls.len())
        });
        let service = service(setting, clock, [(SLOW, &slow_wire), (FAST, &fast_wire)], calls.len());
        // The users are browsers: they have no layers and send no deadline.
        let users = [tower::util::BoxCloneService::new(service)];
        let end = until + setting.ms(1_000.0);
        let records = open_loop(clock, &calls, &users, end, |call, of| get(call, &of.key.to_string())).await;
        (records, slow_wire.attempts_within(from..to))
    });
    let fast = |call: &Arrival| call.key == FAST;
    let of_fast: Vec<Record> =
        records.iter().zip(&calls).filter(|(_, call)| fast(call)).map(|(record, _)| *record).collect();
    // Nothing is in the way of these calls but their own time.
    let best = calls.iter().enumerate().filter(|(call, of)| {
        let attempt = Attempt { call: *call as u32, number: 0, server: FAST };
        fast(of) && slow.contains(&of.at) && whole(trace.service(law, attempt)) <= deadline(FAST)
    });
    let g = share(good(&of_fast, deadline(FAST), from..to), best.count() as f64);
    let spared = share(600.0, slow_calls as f64).powf(0.25);
    Outcome {
        score: g * spared,
        details: vec![("g of the fast one".into(), g), ("calls of the slow one".into(), slow_calls as f64)],
        curves: Some(Curves::new("calls of the fast one", &of_fast, deadline(FAST), std::iter::empty(), until)),
        ..Outcome::default()
    }
}

/// The service with the slots. It calls the dependency that the path names.
fn service(setting: &Setting<'_>, clock: crate::clock::Clock, dependencies: [(u32, &Wire); 2], calls: usize) -> Wire {
    let brief = Brief { clients: 1, ..setting.brief(setting.ms(1_000.0), SLOTS, 10.0) };
    let [slow, fast] = dependencies.map(|(key, wire)| {
        let deadline = setting.ms(if key == SLOW { 1_000.0 } else { 100.0 });
        // The service is the only client of its dependencies, which have slots for all that its own slots let through.
        let brief = Brief { clients: 1, ..setting.brief(deadline, SLOTS, 10.0) };
        setting.contestant.client(&brief, wire.clone())
    });
    let slots = std::sync::Arc::new(tokio::sync::Semaphore::new(SLOTS));
    let handler = Handler::new(move |head| {
        let client = if head.path == format!("/{SLOW}") { slow.clone() } else { fast.clone() };
        let slots = std::sync::Arc::clone(&slots);
        async move {
            let _slot = slots.acquire_owned().await;
            pass_on(client, head.call as usize).await
        }
    });
    // Only for what refusals cost, which is nothing here.
    let idle = Server::new(clock, setting.trace(), Law::Fixed(1.0), 1);
    Wire::new(clock, &idle, setting.contestant.server(&brief, handler), calls)
}
