//! E5, retries must still help: a share of all attempts fails, whatever the load, and three retries are wanted.
//!
//! Score: the mean over the shares of the lift over no retries, relative to the lift that the best 10 % of retries would give, times
//! `min(1, 1.1 / A)`.

use super::{Outcome, Scenario, Setting, good};
use crate::clock::{Ms, virtual_time};
use crate::contestants::Brief;
use crate::drive::{get, open_loop};
use crate::score::{mean, share};
use crate::server::{Effect, Server};
use crate::trace::{Arrival, Attempt, Law, Trace};

pub(super) const SCENARIO: Scenario = Scenario { name: "E5", title: "retries must still help", run };

/// More than are ever used.
const SLOTS: usize = 1000;
const RETRIES: u32 = 3;

fn run(setting: &Setting<'_>) -> Outcome {
    let law = Law::Exponential(setting.ms(10.0) as f64);
    let deadline = setting.ms(3_000.0);
    let until = setting.ms(60_000.0);
    let brief = Brief { attempts: Some(1 + RETRIES), ..setting.brief(deadline, SLOTS, 10.0) };
    let mut outcome = Outcome::default();
    let mut scores = Vec::new();
    for (part, failing) in [0.01, 0.05, 0.1, 0.2, 0.5, 1.0].into_iter().enumerate() {
        let trace = setting.trace().of_part(part as u64);
        let calls = trace.arrivals(setting.rate(100.0), until);
        let (records, attempts) = virtual_time(setting.seed, async |clock| {
            let effects = move |_: Ms, attempt| Effect::failing(trace.chance(attempt) < failing);
            let server = Server::new(clock, trace, law, SLOTS).with_effects(effects);
            let wire = setting.wire(clock, &brief, &server, calls.len());
            let clients = setting.clients(&brief, &wire);
            let records = open_loop(clock, &calls, &clients, until + deadline, |call, _| get(call, "")).await;
            (records, wire.attempts().len())
        });
        let (bare, best) = successes(trace, &calls, failing);
        let good = good(&records, deadline, 0..until);
        let lift = share(good - bare, best - bare);
        let attempts = attempts as f64 / calls.len() as f64;
        scores.push(lift * share(1.1, attempts));
        outcome.details.push((format!("lift at {failing}"), lift));
        outcome.details.push((format!("attempts / offered at {failing}"), attempts));
    }
    Outcome { score: mean(scores.into_iter()), ..outcome }
}

/// How many calls succeed without a retry, and with a budget of 10 % of the calls, which is spent on the earliest failures.
pub(super) fn successes(trace: Trace, calls: &[Arrival], failing: f64) -> (f64, f64) {
    let succeeds = |call: usize, number| trace.chance(Attempt { call: call as u32, number, server: 0 }) >= failing;
    let (mut bare, mut best, mut tokens) = (0.0, 0.0, 0.0);
    for call in 0..calls.len() {
        tokens += 0.1;
        if succeeds(call, 0) {
            (bare, best) = (bare + 1.0, best + 1.0);
            continue;
        }
        for number in 1..=RETRIES {
            if tokens < 1.0 {
                break;
            }
            tokens -= 1.0;
            if succeeds(call, number) {
                best += 1.0;
                break;
            }
        }
    }
    (bare, best)
}
