//! E10, the black hole and the gray endpoint: one of ten endpoints fails at once; one is twenty times slower; all fail in 30 % of their
//! calls, which is no reason to stop.
//!
//! Score: the geometric mean of three: the success with a black hole, above the share of the other nine; the calls in time with a slow
//! endpoint, likewise; and with failures everywhere the lift of the success against the best 10 % of retries, times `min(1, 1.1 / A)`.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

use super::e05::successes;
use super::{Outcome, Scenario, Setting, good};
use crate::clock::{Ms, virtual_time};
use crate::contestants::Instance;
use crate::curves::Curves;
use crate::drive::{get, open_loop};
use crate::score::{geometric, share};
use crate::server::{Effect, Server};
use crate::trace::{Attempt, Law};

pub(super) const SCENARIO: Scenario = Scenario { name: "E10", title: "black hole, gray endpoint", run };

const ENDPOINTS: u32 = 10;
const SLOTS: usize = 10;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    BlackHole,
    Slow,
    Failures,
}

fn run(setting: &Setting<'_>) -> Outcome {
    let law = Law::Exponential(setting.ms(20.0) as f64);
    let deadline = setting.ms(200.0);
    let scored = setting.ms(5_000.0)..setting.ms(15_000.0);
    let end = scored.end + deadline;
    let brief = setting.brief(deadline, SLOTS, 20.0);
    let mut outcome = Outcome::default();
    let mut scores = Vec::new();
    for (part, fault) in [Fault::BlackHole, Fault::Slow, Fault::Failures].into_iter().enumerate() {
        let trace = setting.trace().of_part(part as u64);
        let calls = trace.arrivals(setting.rate(2000.0), scored.end);
        let from = scored.start;
        // How many attempts of a call have started, wherever.
        let started: Arc<[AtomicU32]> = calls.iter().map(|_| AtomicU32::new(0)).collect();
        let (records, attempts) = virtual_time(setting.seed, async |clock| {
            let instances: Vec<_> = (0..ENDPOINTS)
                .map(|id| {
                    let started = Arc::clone(&started);
                    let effect = move |now: Ms, Attempt { call, .. }: Attempt| match fault {
                        _ if now < from => Effect::NORMAL,
                        Fault::BlackHole if id == 0 => Effect { factor: 0.025, fails: true },
                        Fault::Slow if id == 0 => Effect::slower(20.0),
                        // The same at every endpoint, as the optimum does not choose one.
                        Fault::Failures => {
                            let number = started[call as usize].fetch_add(1, Relaxed);
                            Effect::failing(trace.chance(Attempt { call, number, server: 0 }) < 0.3)
                        }
                        _ => Effect::NORMAL,
                    };
                    let server = Server::new(clock, trace, law, SLOTS).with_id(id).with_effects(effect);
                    Instance::active(setting.wire(clock, &brief, &server, calls.len()))
                })
                .collect();
            let clients = setting.balanced(&brief, &instances);
            let records = open_loop(clock, &calls, &clients, end, |call, _| get(call, "")).await;
            let attempts = instances.iter().flat_map(|instance| instance.wire.attempts());
            (records, attempts.map(|(at, _)| at).collect::<Vec<_>>())
        });
        let in_window: Vec<_> = calls.iter().copied().filter(|call| scored.contains(&call.at)).collect();
        let offered = in_window.len() as f64;
        let success = good(&records, deadline, scored.clone()) / offered;
        let score = if fault == Fault::Failures {
            let a = attempts.iter().filter(|at| scored.contains(at)).count() as f64 / offered;
            let (_, best) = successes(trace, &in_window, 0.3);
            outcome.details.push(("attempts / offered, failures".into(), a));
            share(success - 0.7, best / offered - 0.7) * share(1.1, a)
        } else {
            share(success - 0.9, 0.1)
        };
        outcome.details.push((format!("success, {fault:?}"), success));
        scores.push(score);
        if fault == Fault::Slow {
            let curves = Curves::new("one slow endpoint", &records, deadline, attempts.into_iter(), scored.end);
            outcome.curves = Some(curves);
        }
    }
    Outcome { score: geometric(scores.into_iter()), ..outcome }
}
