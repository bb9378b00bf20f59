//! Random calls and answers, beside a naive throttle that keeps a list of all calls.

use proptest::prelude::*;

use super::*;

/// How a call of the list ended.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Accepted,
    RefusedHere,
    RefusedThere,
    Withdrawn,
}

#[derive(Clone, Copy, Debug)]
struct ListedCall {
    priority: Priority,
    at: Instant,
    end: End,
    /// Before the counts were dropped last.
    is_stale: bool,
}

#[derive(Default)]
struct Model {
    calls: Vec<ListedCall>,
    last_sent: Option<Instant>,
    last_refusal: Option<(Instant, u32)>,
}

impl Model {
    fn counted(&self, policy: &ThrottlePolicy, now: Instant) -> Vec<ListedCall> {
        let slice = |at: Instant| at.as_nanos() / (policy.window.as_nanos() as u64 / 10);
        let counts =
            |call: &&ListedCall| !call.is_stale && call.end != End::Withdrawn && slice(call.at) + 10 > slice(now);
        self.calls.iter().filter(counts).copied().collect()
    }

    fn share(&self, policy: &ThrottlePolicy, priority: Option<Priority>, now: Instant) -> f64 {
        let calls = self.counted(policy, now);
        let accepts = calls.iter().filter(|call| call.end == End::Accepted).count() as f64;
        let excess = if calls.len() < 10 { 0.0 } else { calls.len() as f64 - policy.multiplier * accepts };
        let (lower, own) = match priority {
            None => (0, calls.len()),
            Some(priority) => (
                calls.iter().filter(|call| call.priority < priority).count(),
                calls.iter().filter(|call| call.priority == priority).count(),
            ),
        };
        ((excess - lower as f64) / (own as f64 + 1.0)).clamp(0.0, policy.max_share)
    }

    fn recover(&mut self, policy: &ThrottlePolicy, now: Instant) {
        let Some((at, row)) = self.last_refusal else { return };
        if self.share(policy, None, now) == 0.0 {
            return;
        }
        let (quiet, row_of_chance) = (now.since(at), -1e-6f64.ln() / policy.multiplier.ln());
        let is_long = quiet >= policy.window / 10 && f64::from(row) >= row_of_chance;
        if row > 0 && (is_long || quiet >= policy.window / 2) {
            self.calls.iter_mut().for_each(|call| call.is_stale = true);
            self.last_refusal = None;
        }
    }

    fn admit(&mut self, policy: &ThrottlePolicy, priority: Priority, now: Instant, chance: f64) -> bool {
        self.recover(policy, now);
        let is_due = self.last_sent.is_none_or(|at| now.since(at) >= policy.probe_interval);
        let is_sent = is_due || chance >= self.share(policy, Some(priority), now);
        let end = if is_sent { End::Accepted } else { End::RefusedHere };
        self.calls.push(ListedCall { priority, at: now, end, is_stale: false });
        if is_sent {
            self.last_sent = Some(now);
        }
        is_sent
    }
}

#[derive(Clone, Debug)]
enum Step {
    Call(Priority, f64),
    Refuse(usize),
    Answer(usize),
    Withdraw(usize),
    Wait(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let priority = prop_oneof![Just(Low), Just(Normal), Just(High), Just(Critical)];
    let step = prop_oneof![
        12 => (priority, 0.0..1.0).prop_map(|(priority, chance)| Step::Call(priority, chance)),
        8 => any::<usize>().prop_map(Step::Refuse),
        6 => any::<usize>().prop_map(Step::Answer),
        1 => any::<usize>().prop_map(Step::Withdraw),
        3 => (0u64..300).prop_map(Step::Wait),
        1 => (0u64..12_000).prop_map(Step::Wait),
    ];
    prop::collection::vec(step, 1..300)
}

proptest! {
    #[test]
    fn throttle_decides_as_the_naive_model(
        steps in steps(),
        multiplier in prop_oneof![Just(2.0), 1.01..8.0],
        max_share in prop_oneof![Just(0.9), 0.01..0.99],
        probe_interval in (1u64..5000).prop_map(Duration::from_millis),
        offset in 0u64..1_000_000_000,
    ) {
        let policy = ThrottlePolicy { multiplier, max_share, probe_interval, ..POLICY };
        let (mut throttle, mut model) = (new(), Model::default());
        let mut now = START + Duration::from_nanos(offset);
        // The calls in flight, with their place in the list of the model.
        let mut sent = Vec::new();
        for step in steps {
            match step {
                Step::Wait(millis) => now = now + Duration::from_millis(millis),
                Step::Call(priority, chance) => {
                    let admitted = throttle.admit(&policy, priority, now, || chance);
                    prop_assert_eq!(admitted.is_ok(), model.admit(&policy, priority, now, chance));
                    sent.extend(admitted.ok().map(|call| (call, model.calls.len() - 1)));
                }
                Step::Refuse(at) if !sent.is_empty() => {
                    let (call, listed) = sent.swap_remove(at % sent.len());
                    throttle.refused(call, None, now);
                    if !model.calls[listed].is_stale {
                        model.calls[listed].end = End::RefusedThere;
                        model.last_refusal = Some((now, 0));
                    }
                }
                Step::Withdraw(at) if !sent.is_empty() => {
                    let (call, listed) = sent.swap_remove(at % sent.len());
                    throttle.withdraw(call);
                    model.calls[listed].end = End::Withdrawn;
                    if !model.calls[listed].is_stale {
                        model.last_sent = None;
                    }
                }
                Step::Answer(at) if !sent.is_empty() => {
                    let (call, listed) = sent.swap_remove(at % sent.len());
                    throttle.answered(call);
                    if !model.calls[listed].is_stale {
                        model.last_refusal = model.last_refusal.map(|(at, row)| (at, row + 1));
                    }
                }
                Step::Refuse(_) | Step::Answer(_) | Step::Withdraw(_) => {}
            }
            model.recover(&policy, now);
            let counts = throttle.counts(&policy, now);
            let calls = model.counted(&policy, now);
            prop_assert_eq!(counts.requests, calls.len() as u64);
            prop_assert_eq!(counts.accepts, calls.iter().filter(|call| call.end == End::Accepted).count() as u64);
            prop_assert!((counts.share - model.share(&policy, None, now)).abs() < 1e-9);
        }
    }
}
