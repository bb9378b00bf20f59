//! E8, dripping bodies: callers share a pool of 20 connections, and one answer in twenty sends a byte each second for ever.
//!
//! Score: `min(1, G / (0.95 * offered))`, with the exact number of answers that do not drip.

use std::sync::Arc;

use super::{Outcome, Scenario, Setting, good};
use crate::body::Answer;
use crate::clock::virtual_time;
use crate::curves::Curves;
use crate::drive::{get, open_loop};
use crate::score::share;
use crate::server::{Handler, Server};
use crate::trace::Law;
use crate::wire::Wire;

pub(super) const SCENARIO: Scenario = Scenario { name: "E8", title: "dripping bodies", run };

/// Of the server: more than are ever used.
const SLOTS: usize = 1000;
const CONNECTIONS: usize = 20;

fn run(setting: &Setting<'_>) -> Outcome {
    let law = Law::Exponential(setting.ms(20.0) as f64);
    let (deadline, second) = (setting.ms(2_000.0), setting.ms(1_000.0));
    let until = setting.ms(100_000.0);
    let brief = setting.brief(deadline, CONNECTIONS, 20.0);
    let trace = setting.trace();
    let mut rng = trace.of_part(1).generator();
    let mut calls = trace.arrivals(setting.rate(100.0), until);
    calls.iter_mut().for_each(|call| call.is_special = rng.f64() < 0.05);
    let drips: Arc<[bool]> = calls.iter().map(|call| call.is_special).collect();
    let (records, attempts) = virtual_time(setting.seed, async |clock| {
        let server = Server::new(clock, trace, law, SLOTS);
        let own = server.clone();
        let handler = Handler::new(move |head| {
            let (own, drips) = (own.clone(), drips[head.call as usize]);
            async move {
                let response = own.serve(&head).await;
                Ok(if drips { response.map(|_| Answer::drip(second)) } else { response })
            }
        });
        let stack = setting.contestant.server(&brief, handler);
        let wire = Wire::with_pool(clock, &server, stack, calls.len(), Some(CONNECTIONS));
        let clients = setting.clients(&brief, &wire);
        let records = open_loop(clock, &calls, &clients, until + deadline, |call, _| get(call, "")).await;
        (records, wire.attempts())
    });
    let whole = calls.iter().filter(|call| !call.is_special).count() as f64;
    let score = share(good(&records, deadline, 0..until), whole);
    let attempts = attempts.iter().map(|(at, _)| *at);
    Outcome { score, curves: Some(Curves::new("", &records, deadline, attempts, until)), ..Outcome::default() }
}
