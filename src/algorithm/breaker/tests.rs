mod break_length;
mod closed;
mod ended_break;
mod half_open;
mod last_resort;
mod model;
mod probe_slot;

use std::time::Duration;

use super::refusals::FastPath;
use super::*;
use crate::algorithm::evidence::Evidence;
use crate::ground::error::{Trip, TripCause};
use crate::ground::time::Instant;

const SECOND: Duration = Duration::from_secs(1);
const QUICK: Evidence = Evidence::Good(Duration::from_millis(1));
const FAILED: Evidence = Evidence::Bad(Duration::from_millis(1));
const TRIP: Trip = Trip::by(TripCause::FailureRate);

fn policy() -> BreakerPolicy {
    BreakerPolicy {
        failure_rate: 0.5,
        slow_rate: Some(0.8),
        bad_in_a_row: Some(20),
        minimum_calls: 10,
        slow_after: SlowAfter::Fixed(SECOND),
        break_for: SECOND,
        short_breaks: 3,
        break_growth: 2.0,
        max_break: 30 * SECOND,
        jitter: 0.0,
        rounds: 4,
    }
}

fn start() -> Instant {
    Instant::from_nanos(1 << 63)
}

/// A machine with a single caller.
struct Rig {
    policy: BreakerPolicy,
    machine: Machine,
    now: Instant,
}

impl Rig {
    fn new(policy: BreakerPolicy) -> Self {
        Self { policy, machine: Machine::new(Mode::Enforcing, Span::Calls(10)), now: start() }
    }

    fn open(policy: BreakerPolicy) -> Self {
        let mut rig = Self::new(policy);
        assert_eq!(rig.trip(), Some((State::Closed, State::Open)));
        rig
    }

    fn half_open(policy: BreakerPolicy) -> (Self, Probe) {
        let mut rig = Self::open(policy);
        rig.now = rig.machine.open_until().expect("it is open");
        let probe = rig.probe().expect("the break is over");
        (rig, probe)
    }

    /// One step of the machine.
    fn step<T>(&mut self, step: impl FnOnce(&mut Machine, &Moment<'_>) -> T) -> T {
        let moment = Moment { policy: &self.policy, now: self.now, chance: 0.0 };
        step(&mut self.machine, &moment)
    }

    fn trip(&mut self) -> Option<(State, State)> {
        let generation = self.machine.generation();
        let transition = self.step(|machine, moment| machine.trip(generation, TRIP, moment));
        transition.map(|transition| (transition.from, transition.to))
    }

    fn admit(&mut self) -> Admission {
        self.step(|machine, moment| machine.admit(true, false, moment).0)
    }

    /// A probe that is sent at once.
    fn probe(&mut self) -> Option<Probe> {
        let Admission::Probe(probe) = self.admit() else { return None };
        self.machine.set_sent(probe, true, self.now);
        Some(probe)
    }

    fn retry_after(&mut self) -> Option<Duration> {
        match self.admit() {
            Admission::Refused { retry_after } => retry_after,
            other => panic!("{other:?} is not a refusal"),
        }
    }

    /// Until when calls are refused without the machine.
    fn refused_until(&self) -> Option<Instant> {
        match self.machine.published(&self.policy).path {
            FastPath::RefuseUntil { until, .. } => Some(until),
            _ => None,
        }
    }

    fn record(&mut self, probe: Probe, end: Evidence) -> State {
        let _ = self.step(|machine, moment| machine.record(probe, end, moment));
        self.machine.state()
    }

    /// A call of the closed breaker.
    fn enter(&mut self) -> ClosedCall {
        match self.machine.enter(&self.policy, self.now) {
            Entry::Closed(call) => call,
            other => panic!("{other:?}: it is not closed"),
        }
    }

    fn leave(&mut self, call: ClosedCall, end: Evidence) -> State {
        if let Some(Detection { generation, trip }) = self.machine.leave(call, end, &self.policy, self.now) {
            let _ = self.step(|machine, moment| machine.trip(generation, trip, moment));
        }
        self.machine.state()
    }

    fn call(&mut self, end: Evidence) -> State {
        let call = self.enter();
        self.leave(call, end)
    }

    fn calls<const N: usize>(&mut self, ends: [Evidence; N]) -> State {
        for end in ends {
            let probe = self.probe().expect("a slot is free");
            self.record(probe, end);
        }
        self.machine.state()
    }

    /// Probes as many times as it takes to close, one after another.
    fn recover(&mut self) -> u32 {
        for n in 1..100 {
            let probe = self.probe().expect("a slot is free");
            if self.record(probe, QUICK) == State::Closed {
                return n;
            }
        }
        panic!("it never closed")
    }

    /// Waits for the end of the break, and has all probes time out until the next break.
    fn fail(&mut self) -> u32 {
        self.fail_with(Evidence::TimedOut)
    }

    fn fail_with(&mut self, end: Evidence) -> u32 {
        self.now = self.machine.open_until().expect("it is open");
        for n in 1..100 {
            let probe = self.probe().expect("a slot is free");
            if self.record(probe, end) == State::Open {
                return n;
            }
        }
        panic!("it never opened")
    }
}
/// tower-resilience: a late success of the closed era closes a half-open circuit. resilience4j, Polly: late outcomes while forced open.
#[test]
fn stale_evidence_changes_nothing() {
    let (mut rig, old) = Rig::half_open(policy());
    assert_eq!(rig.step(|machine, moment| machine.trip(0, TRIP, moment)), None, "a call of the closed era");
    rig.record(old, FAILED);
    rig.calls([FAILED; 2]);
    rig.now = rig.machine.open_until().expect("it is open");
    let present = rig.probe().expect("the break is over");
    for end in [QUICK, FAILED] {
        assert_eq!(rig.record(old, end), State::HalfOpen);
        assert!(matches!(rig.admit(), Admission::Refused { .. }), "its slot is still taken");
    }
    let _ = rig.machine.set_mode(Mode::ForcedOpen, rig.now);
    assert_eq!(rig.record(present, QUICK), State::ForcedOpen);
}

#[test]
fn modes_override_and_restore_the_machine() {
    let mut rig = Rig::new(policy());
    // resilience4j: forced open has no end; Polly: "isolated".
    let _ = rig.machine.set_mode(Mode::ForcedOpen, rig.now);
    rig.now = rig.now + 3600 * SECOND;
    assert_eq!(rig.retry_after(), None);
    assert_eq!(rig.trip(), None);
    let _ = rig.machine.reset(rig.now);
    assert_eq!(rig.machine.state(), State::ForcedOpen);
    // resilience4j: disabled admits all, and has no events.
    let _ = rig.machine.set_mode(Mode::Disabled, rig.now);
    assert_eq!(rig.trip(), None);
    assert_eq!(rig.admit(), Admission::Free);
    // While observing, the state changes, and all calls pass.
    let _ = rig.machine.set_mode(Mode::Observing, rig.now);
    assert_eq!(rig.machine.state(), State::Closed);
    assert_eq!(rig.trip(), Some((State::Closed, State::Open)));
    assert_eq!(rig.admit(), Admission::Free);
    rig.now = rig.now + SECOND;
    let probe = rig.probe().expect("one call is a probe");
    assert_eq!(rig.admit(), Admission::Free, "the others pass meanwhile");
    // Enforcing continues in the same state.
    assert_eq!(rig.machine.set_mode(Mode::Enforcing, rig.now), None);
    assert!(matches!(rig.admit(), Admission::Refused { .. }));
    rig.record(probe, QUICK);
    assert_eq!(rig.recover(), 14);
}

#[test]
fn breaker_created_while_forced_open_has_an_outage() {
    let now = Instant::from_nanos(1 << 40);
    let mut machine = Machine::new(Mode::ForcedOpen, Span::Calls(10)).with_outage_of(None);
    assert!(machine.set_mode(Mode::ForcedOpen, now).is_none());
    assert!(machine.published(&policy()).outage().is_some());
}
