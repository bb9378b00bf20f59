//! The calls of a closed breaker: they are admitted, they age, and their ends are recorded.

use super::detect::Detection;
use super::machine::{Machine, Phase};
use super::mode::Mode;
use super::pass::{ClosedCall, Entry};
use super::policy::BreakerPolicy;
use super::state::State;
use super::window::{OutcomeCounts, Span};
use crate::algorithm::evidence::{Evidence, LatencyBaseline};
use crate::ground::time::Instant;

impl Machine {
    /// Admits and counts a call, if the breaker is closed.
    #[inline]
    pub(crate) fn enter(&mut self, policy: &BreakerPolicy, now: Instant) -> Entry {
        let generation = self.generation;
        match (self.mode, &self.phase) {
            (Mode::Enforcing | Mode::Observing, Phase::Closed) => match self.watch.enter(policy, now) {
                Ok(age) => Entry::Closed(ClosedCall { generation, age: Some(age) }),
                Err(trip) => Entry::Trip(Detection { generation, trip }),
            },
            _ => Entry::NotClosed,
        }
    }

    /// Stops the age of a call that the dependency has answered, or that has not been sent yet.
    #[inline]
    pub(crate) fn stop_aging(&mut self, call: &mut ClosedCall) {
        if let Some(age) = call.age.take() {
            self.watch.stop_aging(age);
        }
    }

    /// Starts the age of a call that the dependency is processing (again).
    pub(crate) fn start_aging(&mut self, call: &mut ClosedCall, policy: &BreakerPolicy, now: Instant) {
        if call.age.is_none() && call.generation == self.generation {
            call.age = Some(self.watch.start_aging(policy, now));
        }
    }

    /// Records the end of a call. `Some`: trip the machine. The call is judged by the current `policy`; a stale call changes
    /// nothing.
    #[inline]
    pub(crate) fn leave(
        &mut self,
        mut call: ClosedCall,
        end: Evidence,
        policy: &BreakerPolicy,
        now: Instant,
    ) -> Option<Detection> {
        self.stop_aging(&mut call);
        if call.generation != self.generation {
            return None;
        }
        let trip = self.watch.record(end, policy, now)?;
        Some(Detection { generation: self.generation, trip })
    }

    /// Checks the calls in flight, for a timer. `Some`: trip the machine.
    pub(crate) fn check(&mut self, policy: &BreakerPolicy, now: Instant) -> Option<Detection> {
        if self.state() != State::Closed {
            return None;
        }
        let trip = self.watch.check(policy, now)?;
        Some(Detection { generation: self.generation, trip })
    }

    /// When the next check is due; `None`: no call in flight can become overdue.
    pub(crate) fn next_check(&self, policy: &BreakerPolicy, now: Instant) -> Option<Instant> {
        if self.state() == State::Closed { self.watch.next_check(policy, now) } else { None }
    }

    /// The latencies that a call's time is compared with.
    pub(crate) fn baseline(&self, policy: &BreakerPolicy) -> LatencyBaseline {
        let usual = self.watch.median(policy);
        LatencyBaseline { slow_after: policy.slow_or_floor(usual), usual }
    }

    /// Whether the window covers this span.
    pub(crate) fn counts_over(&self, span: Span) -> bool {
        self.watch.counts_over(span)
    }

    /// The calls of the window.
    pub(crate) fn counts(&self, now: Instant) -> OutcomeCounts {
        self.watch.counts(now)
    }

    /// The calls that the dependency is processing, probes included, and how many of the others are overdue.
    pub(crate) fn in_flight(&self, policy: &BreakerPolicy, now: Instant) -> (u64, u64) {
        let (in_flight, overdue) = self.watch.in_flight(policy, now);
        (in_flight + u64::from(self.probes()), overdue)
    }

    /// Whether this breaker can be dropped without loss.
    pub(crate) fn is_as_new(&self, policy: &BreakerPolicy, now: Instant) -> bool {
        self.watch.is_as_new(policy, now)
    }
}
