//! E14, the cold endpoint: one of four servers is down for five seconds, comes back ten times as slow, and warms up with a time constant
//! of five seconds.
//!
//! Score: the share of calls within 100 ms from the failure on, rescaled so that endpoints in turn without any protection have 0.

use super::{Outcome, Scenario, Setting, good};
use crate::clock::{Ms, virtual_time};
use crate::contestants::Instance;
use crate::curves::Curves;
use crate::drive::{get, open_loop};
use crate::model::{Wants, unprotected};
use crate::score::share;
use crate::server::{Effect, Server};
use crate::trace::{Attempt, Law, whole};

pub(super) const SCENARIO: Scenario = Scenario { name: "E14", title: "cold endpoint", run };

const SERVERS: usize = 4;
const SLOTS: usize = 10;
const LOAD: f64 = 0.6;

fn run(setting: &Setting<'_>) -> Outcome {
    let law = Law::Exponential(setting.ms(10.0) as f64);
    let deadline = setting.ms(100.0);
    let down = setting.ms(10_000.0)..setting.ms(15_000.0);
    let (from, back) = (down.start, down.end);
    let until = setting.ms(30_000.0);
    let constant = setting.ms(5_000.0) as f64;
    let coldness = move |now: Ms| match now {
        now if now < back => 1.0,
        now => 1.0 + 9.0 * (-((now - back) as f64) / constant).exp(),
    };
    let brief = setting.brief(deadline, SLOTS, 10.0);
    let trace = setting.trace();
    let calls = trace.arrivals((SERVERS * SLOTS) as f64 * LOAD / law.mean(), until);
    let end = until + 2 * deadline;
    let (records, attempts) = virtual_time(setting.seed, async |clock| {
        let instances: Vec<_> = (0..SERVERS)
            .map(|id| {
                let effect = move |now, _| Effect::slower(if id == 0 { coldness(now) } else { 1.0 });
                let server = Server::new(clock, trace, law, SLOTS).with_id(id as u32).with_effects(effect);
                Instance::active(setting.wire(clock, &brief, &server, calls.len()))
            })
            .collect();
        let clients = setting.balanced(&brief, &instances);
        let failing = instances[0].wire.clone();
        tokio::spawn(async move {
            clock.sleep_until(from).await;
            failing.kill();
            clock.sleep_until(back).await;
            failing.restart();
        });
        let records = open_loop(clock, &calls, &clients, end, |call, _| get(call, "")).await;
        let attempts = instances.iter().flat_map(|instance| instance.wire.attempts());
        (records, attempts.map(|(at, _)| at).collect::<Vec<_>>())
    });
    let offered = calls.iter().filter(|call| call.at >= from).count() as f64;
    let in_time = good(&records, deadline, from..until) / offered;
    let bare = (0..SERVERS).map(|server| {
        let own = calls.iter().enumerate().skip(server).step_by(SERVERS);
        let (numbers, arrivals): (Vec<_>, Vec<_>) = own
            .filter(|(_, call)| server > 0 || !down.contains(&call.at))
            .map(|(number, call)| (number, call.at))
            .unzip();
        let wants = Wants { slots: SLOTS, attempts: 1, attempt_timeout: None, until: end };
        let (records, _) = unprotected(&arrivals, wants, |place, number, now| {
            let attempt = Attempt { call: numbers[place] as u32, number, server: server as u32 };
            whole(trace.service(law, attempt) * if server == 0 { coldness(now) } else { 1.0 })
        });
        good(&records, deadline, from..until)
    });
    let bare = bare.sum::<f64>() / offered;
    Outcome {
        score: share(in_time - bare, 1.0 - bare),
        details: vec![("in time".into(), in_time), ("in time, bare".into(), bare)],
        curves: Some(Curves::new("", &records, deadline, attempts.into_iter(), until)),
        ..Outcome::default()
    }
}
