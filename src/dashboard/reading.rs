//! The values that the page draws for a component, read from its snapshot.

use std::time::Duration;

use crate::admission::registry::{BreakerCondition, ComponentSnapshot, Condition, Counts};
use crate::algorithm::breaker::State;
use crate::telemetry::{STATES, Successes};

/// The interval between two samples.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// A component's name and layer.
pub(super) type ComponentKey = (String, &'static str);

/// The counters. A `good` call shows that the dependency is alive, and a `failed` call counts against it. An `inside` call was
/// refused by a layer further in and never reached the dependency. A `given_up` call was abandoned by its caller.
pub(super) const COUNTED: [&str; 7] = ["good", "failed", "inside", "given_up", "refused", "cut", "retries"];

/// The gauges. `state` is the state of a circuit breaker, encoded as in the metric.
pub(super) const GAUGES: [&str; 5] = ["in_flight", "waiting", "limit", "budget_left", "state"];

/// One reading of one component. A measure that its layer does not have is `None`.
#[derive(Clone, Debug, Default)]
pub(super) struct Reading {
    pub(super) age: Duration,
    pub(super) counted: [Option<u64>; COUNTED.len()],
    pub(super) gauges: [Option<f64>; GAUGES.len()],
    pub(super) successes: Successes,
}

impl Reading {
    pub(super) fn of(component: &ComponentSnapshot, successes: Successes) -> Self {
        let (mut good, mut failed, mut inside, mut given_up) = (None, None, None, None);
        let has_calls = !matches!(
            component.condition,
            Condition::Deadline(_)
                | Condition::Chaos(_)
                | Condition::RateLimit(_)
                | Condition::Settings(_)
                | Condition::Throttle(_)
        );
        if has_calls {
            let of = |verdicts: &[&str]| {
                let counts = verdicts.iter().filter_map(|verdict| component.calls.get(verdict));
                counts.copied().fold(0, u64::saturating_add)
            };
            let proved = of(&["success", "caller_fault"]);
            let (ignored, abandoned) = (of(&["ignored"]), of(&["abandoned"]));
            let others = proved.saturating_add(ignored).saturating_add(abandoned);
            (good, inside, given_up) = (Some(proved), Some(ignored), Some(abandoned));
            failed = Some(sum(&component.calls).saturating_sub(others));
        }
        let mut retries = None;
        let gauges = match &component.condition {
            Condition::Chaos(_)
            | Condition::Deadline(_)
            | Condition::Fallback(_)
            | Condition::Quorum(_)
            | Condition::Settings(_)
            | Condition::Throttle(_) => [None; GAUGES.len()],
            Condition::Retry(retry) => {
                retries = Some(sum(&retry.retries));
                [None, None, None, Some(f64::from(retry.budget_left)), None]
            }
            Condition::Hedge(hedge) => {
                retries = Some(sum(&hedge.hedges));
                [None, None, None, Some(f64::from(hedge.budget_left)), None]
            }
            Condition::Balance(balance) => {
                [Some(balance.in_flight as f64), Some(balance.waiting as f64), None, None, None]
            }
            Condition::Bulkhead(gate) | Condition::LoadShed(gate) => {
                [Some(gate.in_flight as f64), Some(gate.waiting as f64), Some(f64::from(gate.limit)), None, None]
            }
            Condition::CircuitBreaker(breaker) => {
                let state = STATES.iter().position(|state| *state == seen(breaker).as_str());
                [Some(breaker.in_flight as f64), None, None, None, state.map(|state| state as f64)]
            }
            Condition::Quarantine(quarantine) => [None, Some(quarantine.waiting as f64), None, None, None],
            Condition::RateLimit(limit) => {
                good = Some(limit.passed);
                [None, Some(limit.waiting as f64), None, None, None]
            }
        };
        let (refused, cut) = (Some(sum(&component.refused)), Some(sum(&component.bodies_cut)));
        Self { age: component.age, counted: [good, failed, inside, given_up, refused, cut, retries], gauges, successes }
    }

    /// Whether this can be a later reading of the component that `before` was read from.
    pub(super) fn continues(&self, before: &Self) -> bool {
        let grown = |(now, before): (&Option<u64>, &Option<u64>)| now.unwrap_or(0) >= before.unwrap_or(0);
        self.age >= before.age && self.counted.iter().zip(&before.counted).all(grown)
    }
}

/// The state to show for this second. It is half-open if the breaker left half-open within half of the last interval: when a probe fails
/// at once, no sample would show that state. Breaks may be shorter than an interval, and with all of it no sample would show them.
fn seen(breaker: &BreakerCondition) -> State {
    match &breaker.last_transition {
        Some(last) if breaker.state == State::Open && last.from == State::HalfOpen && last.ago <= INTERVAL / 2 => {
            last.from
        }
        _ => breaker.state,
    }
}

fn sum(counts: &Counts) -> u64 {
    counts.values().copied().fold(0, u64::saturating_add)
}
