use std::fmt;

use super::endpoint_mode::EndpointMode;
use super::observed::{Observed, Unsupported};
use super::snapshot::{Command, ComponentSnapshot, LastRefusal, Latency, Snapshot};
use super::table::ComponentRef;
use crate::ground::error::Reason;
use crate::ground::time::{self, Instant};
#[cfg(feature = "dashboard")]
use crate::telemetry::Successes;
use crate::telemetry::{self, Instruments, Tally};

/// A handle of one named layer. It keeps the layer's state alive, but not its name: when the layer and its services are dropped, the
/// name is free, and the handle shows the last state. Cheap to clone.
#[derive(Clone)]
pub struct Component {
    observed: ComponentRef,
}

impl Component {
    pub(super) fn new(observed: ComponentRef) -> Self {
        Self { observed }
    }

    /// The name of the layer.
    pub fn name(&self) -> &str {
        name(self.observed.instruments())
    }

    /// The kind of the layer, in one word.
    pub fn layer(&self) -> &'static str {
        self.observed.instruments().kind().as_str()
    }

    /// The current state of the layer.
    pub fn snapshot(&self) -> ComponentSnapshot {
        snapshot(&*self.observed, time::now())
    }

    /// The latencies of its successful calls so far.
    #[cfg(feature = "dashboard")]
    pub(crate) fn successes(&self) -> Successes {
        self.observed.instruments().named().map_or_else(Successes::default, |named| Successes::of(&named.counted.calls))
    }

    /// `false` if it has no endpoint with this key.
    pub(super) fn set_endpoint_mode(&self, key: &str, mode: EndpointMode) -> bool {
        self.observed.set_endpoint_mode(key, mode)
    }

    pub(super) fn endpoint_keys(&self) -> Vec<String> {
        self.observed.endpoint_keys()
    }

    /// Changes its mode or limit by hand. The change stays in force until it is changed again, here or by a reload of that very
    /// setting.
    ///
    /// # Errors
    /// If this kind of layer does not support the command.
    pub fn apply(&self, command: Command) -> Result<(), Unsupported> {
        self.observed.apply(command, time::now())?;
        telemetry::controlled(self.observed.instruments(), &command);
        Ok(())
    }
}

impl fmt::Debug for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Component").field("name", &self.name()).field("layer", &self.layer()).finish_non_exhaustive()
    }
}

fn name(instruments: &Instruments) -> &str {
    instruments.name().unwrap_or_default()
}

/// The state of a component at `now`.
pub(super) fn snapshot(observed: &dyn Observed, now: Instant) -> ComponentSnapshot {
    let instruments = observed.instruments();
    let named = instruments.named();
    let (tally, reasons) = (instruments.tally(), Reason::ALL.map(Reason::as_str));
    let count = |histogram: histogram::Histogram| histogram.as_slice().iter().sum();
    let latency = named.and_then(|named| named.counted.calls.latency());
    let cut = tally
        .bodies_cut
        .iter()
        .zip(reasons)
        .map(|(table, reason)| (reason, table.iter().map(|count| count.get()).sum()));
    ComponentSnapshot {
        name: name(instruments).to_owned(),
        layer: instruments.kind().as_str(),
        age: named.map_or_else(Default::default, |named| now.since(named.since)),
        keys: observed.keys(),
        calls: named
            .into_iter()
            .flat_map(|named| named.counted.calls.load())
            .map(|(verdict, calls)| (verdict, count(calls)))
            .collect(),
        latency: latency.map(|latency| Latency {
            count: latency.count,
            p50: latency.p50,
            p90: latency.p90,
            p99: latency.p99,
            max: latency.max,
        }),
        refused: Tally::occurred(&tally.refused, reasons).collect(),
        last_refusal: tally.last_refusal().map(|last| LastRefusal {
            reason: last.reason.as_str(),
            ago: now.since(last.at),
            numbers: last.numbers,
        }),
        bodies_cut: cut.filter(|(_, count)| *count > 0).collect(),
        reloads: tally.reloads[0].get(),
        condition: observed.condition(now),
    }
}

/// The error of a name without a circuit breaker.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no circuit breaker is named {name:?}: name its layer or its stack")]
pub struct NotFound {
    name: String,
}

impl NotFound {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned() }
    }
}

impl Snapshot {
    /// The components with this name.
    pub fn of<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a ComponentSnapshot> {
        self.components.iter().filter(move |component| component.name == name)
    }
}
