//! E16, the task of doom: each minute comes a request that kills the node which works on it, for twenty seconds. It must not be repeated,
//! but four attempts are wanted for all calls.
//!
//! Score: `g / max(1, kills per poisoned request)`. All other calls can be answered: four nodes have room for them.

use std::sync::{Arc, Mutex};

use http::{Method, StatusCode};

use super::{Outcome, Scenario, Setting, good};
use crate::clock::virtual_time;
use crate::contestants::{Brief, Instance};
use crate::curves::Curves;
use crate::drive::{get, open_loop};
use crate::score::share;
use crate::server::{Handler, Server, answer, lock};
use crate::trace::{Arrival, Law};
use crate::wire::Wire;

pub(super) const SCENARIO: Scenario = Scenario { name: "E16", title: "the task of doom", run };

const NODES: u32 = 5;
const SLOTS: usize = 10;
const POISON: &str = "/poison";

fn run(setting: &Setting<'_>) -> Outcome {
    let law = Law::Exponential(setting.ms(50.0) as f64);
    let deadline = setting.ms(1_000.0);
    let (minute, down) = (setting.ms(60_000.0), setting.ms(20_000.0));
    let until = 3 * minute;
    let brief = Brief { attempts: Some(4), ..setting.brief(deadline, SLOTS, 50.0) };
    let trace = setting.trace();
    let mut calls = trace.arrivals(setting.rate(600.0), until);
    let poisons = (0..3).map(|time| Arrival { at: minute / 2 + time * minute, is_special: true, key: 0 });
    calls.extend(poisons);
    calls.sort_by_key(|call| call.at);
    let (records, attempts, kills) = virtual_time(setting.seed, async |clock| {
        let (kills, mut owns) = (Arc::new(Mutex::new(0)), Vec::new());
        let instances: Vec<_> = (0..NODES)
            .map(|id| {
                let server = Server::new(clock, trace, law, SLOTS).with_id(id);
                let own: Arc<Mutex<Option<Wire>>> = Arc::default();
                let (node, this, kills) = (server.clone(), Arc::clone(&own), Arc::clone(&kills));
                let handler = Handler::new(move |head| {
                    let (node, this, kills) = (node.clone(), lock(&this).clone(), Arc::clone(&kills));
                    async move {
                        if head.path != POISON {
                            return Ok(node.serve(&head).await);
                        }
                        if let Some(wire) = this {
                            *lock(&kills) += 1;
                            tokio::spawn(async move {
                                wire.kill();
                                clock.sleep(down).await;
                                wire.restart();
                            });
                        }
                        // The answer never comes.
                        std::future::pending::<()>().await;
                        Ok(answer(StatusCode::OK))
                    }
                });
                let wire = Wire::new(clock, &server, setting.contestant.server(&brief, handler), calls.len());
                *lock(&own) = Some(wire.clone());
                owns.push(own);
                Instance::active(wire)
            })
            .collect();
        let clients = setting.balanced(&brief, &instances);
        let records = open_loop(clock, &calls, &clients, until + deadline, |call, of| {
            let mut request = get(call, if of.is_special { &POISON[1..] } else { "" });
            if of.is_special {
                *request.method_mut() = Method::POST;
            }
            request
        })
        .await;
        // A wire whose handler holds it would live for ever.
        owns.iter().for_each(|own| drop(lock(own).take()));
        let attempts = instances.iter().flat_map(|instance| instance.wire.attempts());
        let kills: u32 = *lock(&kills);
        (records, attempts.map(|(at, _)| at).collect::<Vec<_>>(), kills)
    });
    let harmless = calls.iter().filter(|call| !call.is_special).count() as f64;
    let g = share(good(&records, deadline, 0..until), harmless);
    let kills = f64::from(kills) / 3.0;
    Outcome {
        score: g / kills.max(1.0),
        details: vec![("g".into(), g), ("kills per poisoned request".into(), kills)],
        curves: Some(Curves::new("", &records, deadline, attempts.into_iter(), until)),
        ..Outcome::default()
    }
}
