//! E13, priorities: one server above its capacity, and calls of three classes, 20 %, 30 % and 50 % of them, with the weights 100, 10 and
//! 1. The class travels in the header `x-priority`.
//!
//! Score: the mean over the loads of the weighted good calls against the best server with strict priorities.

use http::HeaderValue;

use super::{Outcome, Scenario, Setting};
use crate::clock::virtual_time;
use crate::drive::{get, open_loop};
use crate::model::{Offer, optimum};
use crate::score::{mean, share};
use crate::server::Server;
use crate::trace::{Attempt, Law, whole};

pub(super) const SCENARIO: Scenario = Scenario { name: "E13", title: "priorities", run };

const SLOTS: usize = 10;
/// By class, the least important first.
const WEIGHTS: [f64; 3] = [1.0, 10.0, 100.0];
const NAMES: [&str; 3] = ["low", "normal", "high"];

fn run(setting: &Setting<'_>) -> Outcome {
    let law = Law::Exponential(setting.ms(10.0) as f64);
    let deadline = setting.ms(250.0);
    let scored = setting.ms(2_000.0)..setting.ms(7_000.0);
    let (until, end) = (scored.end + deadline, scored.end + 3 * deadline);
    let brief = setting.brief(deadline, SLOTS, 10.0);
    let mut outcome = Outcome::default();
    let mut scores = Vec::new();
    for (part, load) in [1.5, 2.0, 3.0].into_iter().enumerate() {
        let trace = setting.trace().of_part(part as u64);
        let mut rng = trace.of_part(1).generator();
        let mut calls = trace.arrivals(setting.rate(1000.0) * load, until);
        for call in &mut calls {
            let chance = rng.f64();
            call.key = if chance < 0.2 {
                2
            } else if chance < 0.5 {
                1
            } else {
                0
            };
        }
        let records = virtual_time(setting.seed, async |clock| {
            let server = Server::new(clock, trace, law, SLOTS);
            let wire = setting.wire(clock, &brief, &server, calls.len());
            let clients = setting.clients(&brief, &wire);
            open_loop(clock, &calls, &clients, end, |call, of| {
                let mut request = get(call, "");
                request.headers_mut().insert("x-priority", HeaderValue::from_static(NAMES[of.key as usize]));
                request
            })
            .await
        });
        let offers: Vec<_> =
            calls.iter().map(|call| Offer { at: call.at, deadline: call.at + deadline, class: call.key }).collect();
        let best = optimum(&offers, SLOTS, |call, _| {
            whole(trace.service(law, Attempt { call: call as u32, number: 0, server: 0 }))
        });
        let mut sums = [0.0; 2];
        let mut of_class = [[0.0; 2]; 3];
        for ((call, record), best) in calls.iter().zip(&records).zip(best) {
            if scored.contains(&call.at) {
                let class = call.key as usize;
                for (at, is_good) in [record.is_good(deadline), best].into_iter().enumerate() {
                    let good = f64::from(u8::from(is_good));
                    sums[at] += WEIGHTS[class] * good;
                    of_class[class][at] += good;
                }
            }
        }
        scores.push(share(sums[0], sums[1]));
        for (name, [good, best]) in NAMES.iter().zip(of_class) {
            outcome.details.push((format!("{name} at {load}x / best"), good / f64::max(best, 1.0)));
        }
    }
    Outcome { score: mean(scores.into_iter()), ..outcome }
}
