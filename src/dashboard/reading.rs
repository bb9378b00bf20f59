//! What is drawn of a component, out of its snapshot.

use std::time::Duration;

use serde_json::Value;

/// A component's name and layer.
pub(super) type Key = (String, String);

/// What grows. `good` calls proved the callee alive, `failed` ones counted against it, `given_up` ones say nothing.
pub(super) const COUNTED: [&str; 6] = ["good", "failed", "given_up", "refused", "cut", "retries"];

/// What goes up and down. `state` is that of a circuit breaker, as the metric has it.
pub(super) const GAUGES: [&str; 5] = ["in_flight", "waiting", "limit", "budget_left", "state"];

const STATES: [&str; 5] = ["closed", "half_open", "open", "forced_open", "disabled"];

/// One look at one component. A measure that its layer does not have is `None`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Reading {
    pub(super) age: Duration,
    pub(super) counted: [Option<u64>; COUNTED.len()],
    pub(super) gauges: [Option<f64>; GAUGES.len()],
}

impl Reading {
    /// Whether this can be the component that `before` was.
    pub(super) fn continues(&self, before: &Self) -> bool {
        let grown = |(now, before): (&Option<u64>, &Option<u64>)| now.unwrap_or(0) >= before.unwrap_or(0);
        self.age >= before.age && self.counted.iter().zip(&before.counted).all(grown)
    }

    pub(super) fn of(component: &Value) -> Option<(Key, Self)> {
        let name = component.get("name")?.as_str()?;
        let layer = component.get("layer")?.as_str()?;
        let age = component.get("age_s").and_then(Value::as_f64).unwrap_or(0.0);
        let condition = component.get("condition").and_then(|condition| condition.get(layer)).unwrap_or(&Value::Null);
        let gauge = |name: &str| condition.get(name).and_then(Value::as_f64);

        let calls = component.get("calls");
        let judges = !matches!(layer, "deadline" | "rate_limit");
        let by_verdict = |counts: fn(&str) -> bool| judges.then(|| sum(calls, counts));
        let is_good = |verdict: &str| matches!(verdict, "success" | "caller_fault");
        let is_neutral = |verdict: &str| matches!(verdict, "abandoned" | "ignored");
        let good = match layer {
            "rate_limit" => condition.get("passed").and_then(Value::as_u64),
            _ => by_verdict(is_good),
        };
        let reading = Self {
            age: Duration::try_from_secs_f64(age).unwrap_or_default(),
            counted: [
                good,
                by_verdict(|verdict| !matches!(verdict, "success" | "caller_fault" | "abandoned" | "ignored")),
                by_verdict(is_neutral),
                Some(sum(component.get("refused"), |_| true)),
                Some(sum(component.get("bodies_cut"), |_| true)),
                (layer == "retry").then(|| sum(condition.get("retries"), |_| true)),
            ],
            gauges: [
                gauge("in_flight"),
                gauge("waiting"),
                gauge("limit"),
                gauge("budget_left"),
                condition.get("state").and_then(Value::as_str).and_then(state),
            ],
        };
        Some(((name.to_owned(), layer.to_owned()), reading))
    }
}

fn sum(counts: Option<&Value>, counted: fn(&str) -> bool) -> u64 {
    let counts = counts.and_then(Value::as_object).into_iter().flatten();
    counts.filter(|(name, _)| counted(name)).filter_map(|(_, count)| count.as_u64()).fold(0, u64::saturating_add)
}

fn state(state: &str) -> Option<f64> {
    STATES.iter().position(|known| *known == state).map(|position| position as f64)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn what_a_breaker_shows_is_sorted_by_what_it_means() {
        let (key, reading) = Reading::of(&json!({
            "name": "payments", "layer": "circuit_breaker", "age_s": 2.5,
            "calls": { "success": 3, "caller_fault": 1, "transient": 5, "timed_out": 6, "abandoned": 7, "to_come": 8 },
            "refused": { "circuit_open": 3, "not_ready": 1 }, "bodies_cut": {},
            "condition": { "circuit_breaker": { "state": "open", "in_flight": 2 } },
        }))
        .unwrap();
        assert_eq!(key, ("payments".to_owned(), "circuit_breaker".to_owned()));
        assert_eq!(reading.age, Duration::from_millis(2500));
        assert_eq!(reading.counted, [Some(4), Some(19), Some(7), Some(4), Some(0), None]);
        assert_eq!(reading.gauges, [Some(2.0), None, None, None, Some(2.0)]);
    }

    #[test]
    fn what_a_layer_does_not_have_is_not_there() {
        let limit =
            json!({ "name": "a", "layer": "rate_limit", "condition": { "rate_limit": { "passed": 9, "waiting": 1 } } });
        let (_, reading) = Reading::of(&limit).unwrap();
        assert_eq!(reading.counted, [Some(9), None, None, Some(0), Some(0), None]);
        assert_eq!(reading.gauges, [None, Some(1.0), None, None, None]);
        assert!(Reading::of(&json!({ "layer": "retry" })).is_none());
        assert!(Reading::of(&json!("nonsense")).is_none());
    }
}
