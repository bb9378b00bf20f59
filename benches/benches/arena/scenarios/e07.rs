//! E7, leaked bodies: callers share a pool of 20 connections, and a few of them keep a response for ever without reading it.
//!
//! Score: the mean over two shares of leaks of `g`, over the calls that do not leak; times 0.8 unless nine tenths of the leaks are named:
//! a warning has to state the path of the request.

use super::{Outcome, Scenario, Setting};
use crate::clock::virtual_time;
use crate::curves::Curves;
use crate::drive::{Leaks, Record, get, open_loop};
use crate::events::naming;
use crate::score::{mean, share};
use crate::server::Server;
use crate::trace::Law;
use crate::wire::Wire;

pub(super) const SCENARIO: Scenario = Scenario { name: "E7", title: "leaked bodies", run };

/// Of the server: more than are ever used.
const SLOTS: usize = 1000;
const CONNECTIONS: usize = 20;
const LEAKING_PATH: &str = "report";

fn run(setting: &Setting<'_>) -> Outcome {
    let law = Law::Exponential(setting.ms(20.0) as f64);
    let deadline = setting.ms(1_000.0);
    let until = setting.ms(150_000.0);
    let brief = setting.brief(deadline, CONNECTIONS, 20.0);
    let mut outcome = Outcome::default();
    let mut scores = Vec::new();
    for (part, leaking) in [0.002, 0.02].into_iter().enumerate() {
        let trace = setting.trace().of_part(part as u64);
        let mut rng = trace.of_part(1).generator();
        let mut calls = trace.arrivals(setting.rate(200.0), until);
        calls.iter_mut().for_each(|call| call.is_special = rng.f64() < leaking);
        let run = async |clock| {
            let server = Server::new(clock, trace, law, SLOTS);
            let stack = setting.contestant.server(&brief, server.handler());
            let wire = Wire::with_pool(clock, &server, stack, calls.len(), Some(CONNECTIONS));
            let clients = setting.clients(&brief, &wire);
            open_loop(clock, &calls, &clients, until + deadline, |call, of| {
                let mut request = get(call, if of.is_special { LEAKING_PATH } else { "item" });
                if of.is_special {
                    request.extensions_mut().insert(Leaks);
                }
                request
            })
            .await
        };
        let (records, named) = naming(LEAKING_PATH, || virtual_time(setting.seed, run));
        let read = records.iter().zip(&calls).filter(|(_, call)| !call.is_special);
        let read: Vec<Record> = read.map(|(record, _)| *record).collect();
        // Pool and server have room for all of them.
        let good = read.iter().filter(|record| record.is_good(deadline)).count() as f64;
        let (g, leaks) = (share(good, read.len() as f64), (calls.len() - read.len()) as f64);
        let is_named = named as f64 >= 0.9 * leaks;
        scores.push(g * if is_named { 1.0 } else { 0.8 });
        outcome.details.push((format!("g with {leaking} leaked"), g));
        outcome.details.push((format!("named of {leaks} leaks"), named as f64));
        outcome.curves = Some(Curves::new("2 % leaked", &read, deadline, std::iter::empty(), until));
    }
    Outcome { score: mean(scores.into_iter()), ..outcome }
}
