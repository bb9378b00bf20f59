//! The scenarios: what happens, what the best possible result is, and how a contestant is scored against it.

mod e00;
mod e01;
mod e03;
mod e04;
mod e05;
mod e06;
mod e07;
mod e08;
mod e09;
mod e10;
mod e11;
mod e12;
mod e13;
mod e14;
mod e15;
mod e16;

use crate::clock::{Clock, Ms};
use crate::contestants::{Brief, Client, Contestant, Instance};
use crate::curves::Curves;
use crate::drive::Record;
use crate::model::Offer;
use crate::server::Server;
use crate::trace::{Arrival, Trace};
use crate::wire::Wire;

/// A scenario of the arena.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) run: fn(&Setting<'_>) -> Outcome,
}

/// All scenarios.
pub(crate) const ALL: &[Scenario] = &[
    e00::SCENARIO,
    e01::SCENARIO,
    e03::SCENARIO,
    e04::SCENARIO,
    e05::SCENARIO,
    e06::SCENARIO,
    e07::SCENARIO,
    e08::SCENARIO,
    e09::SCENARIO,
    e10::SCENARIO,
    e11::SCENARIO,
    e12::SCENARIO,
    e13::SCENARIO,
    e14::SCENARIO,
    e15::SCENARIO,
    e16::SCENARIO,
];

/// Who runs a scenario, and with which trace.
pub(crate) struct Setting<'a> {
    pub(crate) contestant: &'a dyn Contestant,
    pub(crate) seed: u64,
    pub(crate) clients: u32,
    /// What durations are multiplied by, beyond the factor of ten that all scenarios have.
    pub(crate) stretch: f64,
    /// The share of the usual number of calls that a run makes. Faults and windows keep their lengths.
    pub(crate) is_quick: bool,
}

/// What a contestant has reached.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// From 0 to 1.
    pub(crate) score: f64,
    /// What the score is made of.
    pub(crate) details: Vec<(String, f64)>,
    pub(crate) curves: Option<Curves>,
    /// What the arena and the independent model say of the same quantity, where they must agree.
    pub(crate) checks: Vec<(String, f64, f64)>,
}

impl Setting<'_> {
    /// A quoted time in milliseconds of virtual time. Scenarios are quoted with services of 10 ms and run with 100 ms.
    pub(crate) fn ms(&self, quoted: f64) -> Ms {
        (quoted * self.factor()).round() as Ms
    }

    /// A quoted rate per second, as calls per millisecond of virtual time.
    pub(crate) fn rate(&self, quoted: f64) -> f64 {
        quoted / 1000.0 / self.factor()
    }

    pub(crate) fn factor(&self) -> f64 {
        10.0 * self.stretch
    }

    pub(crate) fn trace(&self) -> Trace {
        Trace::new(self.seed)
    }

    /// What users know of a dependency with servers of `slots` slots and a time of `usual` (quoted), if calls have `deadline`.
    pub(crate) fn brief(&self, deadline: Ms, slots: usize, usual: f64) -> Brief {
        let (slots, usual_time) = (slots as u32, self.ms(usual));
        Brief { deadline, attempts: None, attempt_timeout: None, slots, usual_time, clients: self.clients }
    }

    /// A server behind the contestant's layers.
    pub(crate) fn wire(&self, clock: Clock, brief: &Brief, server: &Server, calls: usize) -> Wire {
        Wire::new(clock, server, self.contestant.server(brief, server.handler()), calls)
    }

    /// Clients of several instances.
    pub(crate) fn balanced(&self, brief: &Brief, instances: &[Instance]) -> Vec<Client> {
        (0..self.clients).map(|_| self.contestant.balanced(brief, instances.to_vec())).collect()
    }

    /// As many clients as there are, each with layers of its own.
    pub(crate) fn clients(&self, brief: &Brief, wire: &Wire) -> Vec<Client> {
        (0..self.clients).map(|_| self.contestant.client(brief, wire.clone())).collect()
    }
}

/// The calls of a run, as the optimum sees them: all of one class, each due at `deadline` from its start.
pub(crate) fn offers(calls: &[Arrival], deadline: Ms) -> Vec<Offer> {
    calls.iter().map(|call| Offer { at: call.at, deadline: call.at + deadline, class: 0 }).collect()
}

/// How many of the calls that start within a time have `answered`.
pub(crate) fn answered(calls: &[Arrival], answered: &[bool], within: std::ops::Range<Ms>) -> f64 {
    calls.iter().zip(answered).filter(|(call, answered)| within.contains(&call.at) && **answered).count() as f64
}

/// How many of the calls that start within a time are good.
pub(crate) fn good(records: &[Record], deadline: Ms, within: std::ops::Range<Ms>) -> f64 {
    records.iter().filter(|record| within.contains(&record.at) && record.is_good(deadline)).count() as f64
}
