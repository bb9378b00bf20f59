//! E1, the retry storm: a server at seven tenths of its capacity becomes five times slower for a while, and callers who make up to five
//! attempts of a second each keep it down for ever after.
//!
//! Score: `g * (1 - min(1, T_rec / 60 s))` over the calls from the trigger on, quoted at 10 ms.

use super::{Outcome, Scenario, Setting, answered, good, offers};
use crate::clock::{Ms, virtual_time};
use crate::contestants::Brief;
use crate::curves::Curves;
use crate::drive::{get, open_loop};
use crate::model::{Wants, optimum, unprotected};
use crate::score::{recovery, share};
use crate::server::{Effect, Server};
use crate::trace::{Attempt, Law, whole};

pub(super) const SCENARIO: Scenario = Scenario { name: "E1", title: "retry storm", run };

const SLOTS: usize = 10;
const ATTEMPTS: u32 = 5;

fn run(setting: &Setting<'_>) -> Outcome {
    let law = Law::Exponential(setting.ms(10.0) as f64);
    let (deadline, attempt_timeout) = (setting.ms(3_000.0), setting.ms(1_000.0));
    let trigger = setting.ms(30_000.0)..setting.ms(40_000.0);
    let until = setting.ms(if setting.is_quick { 80_000.0 } else { 110_000.0 });
    let brief = setting.brief(deadline, SLOTS, 10.0);
    let brief = Brief { attempts: Some(ATTEMPTS), attempt_timeout: Some(attempt_timeout), ..brief };
    let trace = setting.trace();
    let calls = trace.arrivals(setting.rate(700.0), until);
    let (from, to) = (trigger.start, trigger.end);
    let slowness = move |now: Ms| if (from..to).contains(&now) { 5.0 } else { 1.0 };
    let end = until + 2 * deadline;
    let (records, attempts) = virtual_time(setting.seed, async |clock| {
        let server = Server::new(clock, trace, law, SLOTS).with_effects(move |now, _| Effect::slower(slowness(now)));
        let wire = setting.wire(clock, &brief, &server, calls.len());
        let clients = setting.clients(&brief, &wire);
        let records = open_loop(clock, &calls, &clients, end, |call, _| get(call, "")).await;
        (records, wire.attempts())
    });

    let service = |call: usize, number, now| {
        whole(trace.service(law, Attempt { call: call as u32, number, server: 0 }) * slowness(now))
    };
    let best = optimum(&offers(&calls, deadline), SLOTS, |call, now| service(call, 0, now));
    let g = share(good(&records, deadline, from..until), answered(&calls, &best, from..until));
    let recovery = recovery(&records, deadline, to, until, setting.ms(1_000.0));
    let lost_time = recovery.map_or(1.0, |time| time as f64 / setting.ms(60_000.0) as f64);
    let offered = calls.len() as f64;
    let mut outcome = Outcome { score: g * (1.0 - lost_time.min(1.0)), ..Outcome::default() };
    outcome.details = vec![
        ("g".into(), g),
        ("T_rec / 60 s".into(), lost_time),
        ("attempts / offered".into(), attempts.len() as f64 / offered),
    ];
    outcome.curves = Some(Curves::new("", &records, deadline, attempts.iter().map(|(at, _)| *at), until));
    if setting.contestant.name() == "nothing" {
        let arrivals: Vec<_> = calls.iter().map(|call| call.at).collect();
        let wants = Wants { slots: SLOTS, attempts: ATTEMPTS, attempt_timeout: Some(attempt_timeout), until: end };
        let (modelled, number) = unprotected(&arrivals, wants, service);
        let all = 0..until;
        outcome.checks = vec![
            ("good".into(), good(&records, deadline, all.clone()), good(&modelled, deadline, all)),
            ("attempts".into(), attempts.len() as f64, number as f64),
        ];
    }
    outcome
}
