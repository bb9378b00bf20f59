//! What is drawn of a component, out of its snapshot.

use std::time::Duration;

use crate::admission::registry::{BreakerCondition, ComponentSnapshot, Condition, Counts};
use crate::algorithm::breaker::State;
use crate::telemetry::{STATES, Successes};

/// How often there is a sample.
pub(super) const INTERVAL: Duration = Duration::from_secs(1);

/// A component's name and layer.
pub(super) type Key = (String, &'static str);

/// What grows. `good` calls proved the callee alive, `failed` ones counted against it, `inside` ones never got there since a layer
/// further in refused them, and `given_up` ones were abandoned by their caller.
pub(super) const COUNTED: [&str; 7] = ["good", "failed", "inside", "given_up", "refused", "cut", "retries"];

/// What goes up and down. `state` is that of a circuit breaker, as the metric has it.
pub(super) const GAUGES: [&str; 5] = ["in_flight", "waiting", "limit", "budget_left", "state"];

/// One look at one component. A measure that its layer does not have is `None`.
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
        let has_calls =
            !matches!(component.condition, Condition::Deadline(_) | Condition::RateLimit(_) | Condition::Settings(_));
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
            Condition::Deadline(_) | Condition::Settings(_) => [None; GAUGES.len()],
            Condition::Retry(retry) => {
                retries = Some(sum(&retry.retries));
                [None, None, None, Some(f64::from(retry.budget_left)), None]
            }
            Condition::Bulkhead(gate) | Condition::LoadShed(gate) => {
                [Some(gate.in_flight as f64), Some(gate.waiting as f64), Some(f64::from(gate.limit)), None, None]
            }
            Condition::CircuitBreaker(breaker) => {
                let state = STATES.iter().position(|state| *state == seen(breaker).as_str());
                [Some(breaker.in_flight as f64), None, None, None, state.map(|state| state as f64)]
            }
            Condition::RateLimit(limit) => {
                good = Some(limit.passed);
                [None, Some(limit.waiting as f64), None, None, None]
            }
        };
        let (refused, cut) = (Some(sum(&component.refused)), Some(sum(&component.bodies_cut)));
        Self { age: component.age, counted: [good, failed, inside, given_up, refused, cut, retries], gauges, successes }
    }

    /// Whether this can be the component that `before` was.
    pub(super) fn continues(&self, before: &Self) -> bool {
        let grown = |(now, before): (&Option<u64>, &Option<u64>)| now.unwrap_or(0) >= before.unwrap_or(0);
        self.age >= before.age && self.counted.iter().zip(&before.counted).all(grown)
    }
}

/// The state that is worth seeing in this second: a probe that fails at once is half-open for no longer than a blink.
fn seen(breaker: &BreakerCondition) -> State {
    match breaker.last_transition {
        Some(last) if breaker.state == State::Open && last.from == State::HalfOpen && last.ago <= INTERVAL => last.from,
        _ => breaker.state,
    }
}

fn sum(counts: &Counts) -> u64 {
    counts.values().copied().fold(0, u64::saturating_add)
}
