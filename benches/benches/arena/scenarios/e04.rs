//! E4, retries in four tiers: A calls B, B calls C, C calls D, and each hop wants three attempts. D fails for a while, then in 2 % of its
//! calls. No tier lacks capacity: the question is only how often D is called, and how soon and how often callers succeed again.
//!
//! Score: `min(1, 1.1 / A) * (success - 0.98) / 0.02`, with the attempts at D per call in the outage, and the success after it.

use super::{Outcome, Scenario, Setting};
use crate::body::Answer;
use crate::clock::{Clock, virtual_time};
use crate::contestants::{Brief, Client};
use crate::curves::Curves;
use crate::drive::{get, open_loop};
use crate::score::share;
use crate::server::{Effect, Handler, Server, answer};
use crate::trace::Law;
use crate::wire::Wire;
use tower::{BoxError, ServiceExt};

pub(super) const SCENARIO: Scenario = Scenario { name: "E4", title: "retries in four tiers", run };

/// More than are ever used.
const SLOTS: usize = 1000;

fn run(setting: &Setting<'_>) -> Outcome {
    let law = Law::Exponential(setting.ms(10.0) as f64);
    let deadline = setting.ms(3_000.0);
    let outage = setting.ms(10_000.0)..setting.ms(40_000.0);
    let (from, to) = (outage.start, outage.end);
    let until = setting.ms(100_000.0);
    let brief = Brief { attempts: Some(3), ..setting.brief(deadline, SLOTS, 10.0) };
    let trace = setting.trace();
    let calls = trace.arrivals(setting.rate(100.0), until);
    let (records, attempts) = virtual_time(setting.seed, async |clock| {
        let server = Server::new(clock, trace, law, SLOTS).with_id(4).with_effects(move |now, attempt| {
            let failing = if now < from {
                0.0
            } else if now < to {
                1.0
            } else {
                0.02
            };
            Effect::failing(trace.chance(attempt) < failing)
        });
        let d = setting.wire(clock, &brief, &server, calls.len());
        let c = tier(setting, clock, &brief, 3, &d, calls.len());
        let b = tier(setting, clock, &brief, 2, &c, calls.len());
        let clients = setting.clients(&brief, &b);
        let records = open_loop(clock, &calls, &clients, until + deadline, |call, _| get(call, "")).await;
        (records, d.attempts())
    });
    let offered = calls.iter().filter(|call| outage.contains(&call.at)).count() as f64;
    let in_outage = attempts.iter().filter(|(at, _)| outage.contains(at)).count() as f64;
    let after: Vec<_> = records.iter().filter(|record| record.at >= outage.end).collect();
    let success = after.iter().filter(|record| record.is_good(deadline)).count() as f64 / after.len() as f64;
    Outcome {
        score: share(1.1, in_outage / offered) * share(success - 0.98, 0.02),
        details: vec![
            ("attempts at D / offered in the outage".into(), in_outage / offered),
            ("success after it".into(), success),
        ],
        curves: Some(Curves::new("", &records, deadline, attempts.iter().map(|(at, _)| *at), until)),
        ..Outcome::default()
    }
}

/// A service that does its own work and then calls the next one. Its slot is free while it waits.
pub(super) fn tier(setting: &Setting<'_>, clock: Clock, brief: &Brief, id: u32, next: &Wire, calls: usize) -> Wire {
    let law = Law::Exponential(brief.usual_time as f64);
    let server = Server::new(clock, setting.trace(), law, brief.slots as usize).with_id(id);
    // However many users there are, a tier is the only client of the next one.
    let client = setting.contestant.client(&Brief { clients: 1, ..*brief }, next.clone());
    let own = server.clone();
    let handler = Handler::new(move |head| {
        let (own, client) = (own.clone(), client.clone());
        async move {
            let response = own.serve(&head).await;
            if !response.status().is_success() {
                return Ok(response);
            }
            pass_on(client, head.call as usize).await
        }
    });
    Wire::new(clock, &server, setting.contestant.server(brief, handler), calls)
}

/// Calls the next tier, and answers with its status and headers. An error is the handler's own, as with `?`.
pub(super) async fn pass_on(client: Client, call: usize) -> Result<http::Response<Answer>, BoxError> {
    let next = client.oneshot(get(call, "")).await?;
    let mut response = answer(next.status());
    *response.headers_mut() = next.headers().clone();
    Ok(response)
}
