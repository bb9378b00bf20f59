//! A breaker as the layer uses it, in virtual time.

mod outage;
mod random_steps;
mod traffic;
mod unanswered;
mod vectors;

use std::time::Duration;

use futures::FutureExt;
use proptest::prelude::*;

use super::config::{CircuitBreakerConfig, Window};
use super::settings::BreakerSettings;
use super::snapshot::BreakerSnapshot;
use super::state::{Breaker, Refused};
use super::{State, State::*};
use crate::algorithm::breaker::Mode;
use crate::algorithm::breaker::Pass;
use crate::algorithm::evidence::{self, Ending, Evidence, Times};
use crate::ground::settings::Settings;
use crate::ground::sync::Arc;
use crate::ground::time::Instant;
use crate::telemetry::Instruments;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const S: Evidence = Evidence::Good(MS);
const F: Evidence = Evidence::Bad(MS);

fn settings(config: &CircuitBreakerConfig) -> Arc<Settings<BreakerSettings>> {
    Arc::new(Settings::new(BreakerSettings::of(config)))
}

struct Rig {
    breaker: Breaker,
    now: Instant,
}

impl Rig {
    fn new(config: CircuitBreakerConfig) -> Self {
        crate::ground::validation::Validate::validate(&config).expect("a valid configuration");
        let instruments = Instruments::new(super::KIND);
        let breaker = Breaker::new(settings(&config), config.span(), config.mode(), None, instruments);
        Self { breaker, now: Instant::from_nanos(1 << 63) }
    }

    fn snapshot(&self) -> BreakerSnapshot {
        self.breaker.snapshot(self.now)
    }

    fn state(&self) -> State {
        self.snapshot().state
    }

    fn pass(&self) -> Option<Pass> {
        self.pass_with(60 * SECOND)
    }

    /// A call with `left` time, which is polled at once.
    fn pass_with(&self, left: Duration) -> Option<Pass> {
        let pass = self.breaker.admit(left, self.now).ok()?;
        self.breaker.sent(&pass, || false, self.now);
        Some(pass)
    }

    fn refused(&self) -> bool {
        self.pass().is_none()
    }

    fn settle(&self, pass: Pass, end: Evidence) -> State {
        self.breaker.settle(pass, end, self.now);
        self.state()
    }

    /// One call that is admitted and settled at once.
    fn call(&self, end: Evidence) -> State {
        let pass = self.pass().expect("it passes");
        self.settle(pass, end)
    }

    fn calls<const N: usize>(&self, ends: [Evidence; N]) -> State {
        ends.into_iter().fold(self.state(), |_, end| self.call(end))
    }

    /// The evidence of a call that had `given` time and ended without a response.
    fn without_answer(&self, ending: Ending, took: Duration, given: Duration) -> Evidence {
        let left = given.saturating_sub(took);
        let times = Times { took, given, left, had_head: false, waited_locally: false };
        evidence::of(ending, times.took, || times, || self.breaker.yardstick())
    }

    fn give_up(&self, pass: Pass, ending: Ending, took: Duration, given: Duration) {
        self.breaker.settle(pass, self.without_answer(ending, took, given), self.now);
    }

    fn wait(&mut self, duration: Duration) {
        self.now = self.now + duration;
    }
}

fn default() -> CircuitBreakerConfig {
    CircuitBreakerConfig { jitter: 0.0, ..Default::default() }
}

/// tower-resilience: after 100,000 successes, a window of 100 calls took 100,000 failures to open.
#[test]
fn long_success_history_does_not_delay_opening() {
    let rig = Rig::new(CircuitBreakerConfig { window: Window::Calls(100), consecutive_failures: None, ..default() });
    for _ in 0..100_000 {
        rig.call(S);
    }
    assert_eq!(rig.calls([F; 89]), Closed);
    assert_eq!(rig.call(F), Open);
}

/// tower-resilience: half-open wedges for ever when probes come further apart than the window is long.
#[test]
fn rare_probes_close_the_breaker() {
    let mut rig = Rig::new(default());
    rig.calls([F; 10]);
    for _ in 0..15 {
        rig.wait(3600 * SECOND);
        rig.call(S);
    }
    assert_eq!(rig.state(), Closed);
}

/// tower-resilience: a stale success of the closed state closes a half-open circuit whose probe still hangs.
#[test]
fn stale_success_does_not_close() {
    let mut rig = Rig::new(default());
    let late: Vec<_> = (0..30).filter_map(|_| rig.pass()).collect();
    rig.calls([F; 10]);
    rig.wait(SECOND);
    let _probe = rig.pass().expect("the break is over");
    for pass in late {
        assert_eq!(rig.settle(pass, S), HalfOpen);
    }
    assert!(rig.refused());
}

/// failsafe-go: acts on yesterday's failures after a silence.
#[test]
fn expired_failures_do_not_open() {
    let mut rig = Rig::new(CircuitBreakerConfig { consecutive_failures: None, ..default() });
    rig.calls([F; 9]);
    rig.wait(86_400 * SECOND);
    assert_eq!(rig.calls([F; 9]), Closed);
    assert_eq!(rig.call(F), Open);
}

/// Answers from before a break do not raise the slow threshold after it.
#[test]
fn stale_answers_do_not_move_the_slow_threshold() {
    let mut rig = Rig::new(default());
    rig.calls([Evidence::Good(100 * MS); 20]);
    let late: Vec<_> = (0..30).filter_map(|_| rig.pass()).collect();
    rig.calls([F; 30]);
    rig.wait(SECOND);
    assert_eq!(rig.calls([Evidence::Good(100 * MS); 15]), Closed);
    for pass in late {
        rig.settle(pass, Evidence::Good(30 * SECOND));
    }
    rig.call(Evidence::Good(2 * SECOND));
    assert_eq!(rig.snapshot().slow, 1, "the slow threshold is still about a second");
}

#[test]
fn explicit_refusals_reset_the_streak_and_count_in_no_rate() {
    let rig = Rig::new(CircuitBreakerConfig { consecutive_failures: Some(3), minimum_calls: 1000, ..default() });
    assert_eq!(rig.calls([F, F, Evidence::Alive, F, F]), Closed);
    assert_eq!(rig.snapshot().calls, 4);
    assert_eq!(rig.call(F), Open);
}

/// Slow answers hold probe slots for long, but the next one may arrive at any moment.
#[test]
fn half_open_retry_after_is_at_most_a_break() {
    let mut rig = Rig::new(default());
    rig.calls([Evidence::Good(5 * SECOND); 20]);
    rig.calls([F; 30]);
    rig.wait(SECOND);
    let _probe = rig.pass().expect("the break is over");
    let refused = rig.breaker.admit(60 * SECOND, rig.now).expect_err("its slot is taken");
    assert_eq!(refused.retry_after, Some(SECOND));
}

/// A refused call waits neither for the lock nor for the probes.
#[test]
fn refusals_take_no_lock() {
    let open = Rig::new(default());
    open.calls([F; 10]);
    let mut half_open = Rig::new(default());
    half_open.calls([F; 10]);
    half_open.wait(SECOND);
    let _probe = half_open.pass().expect("the break is over");
    let forced = Rig::new(default());
    forced.breaker.set_mode(Mode::ForcedOpen, forced.now);
    let mut hurried = Rig::new(default());
    hurried.calls([F; 10]);
    assert!(hurried.pass_with(60 * SECOND).is_none(), "other calls have time");
    hurried.wait(SECOND);
    for (rig, left) in [(&open, SECOND), (&half_open, SECOND), (&forced, SECOND), (&hurried, MS)] {
        // It would deadlock if it took the lock.
        rig.breaker.with_lock_held(|| {
            for _ in 0..1000 {
                let refused = rig.breaker.admit(left, rig.now).expect_err("it is not closed");
                assert!(rig.breaker.refusal(refused, rig.now).rejected().numbers().opened_by().is_some());
            }
        });
    }
}

#[test]
fn observe_only_changes_state_and_refuses_nothing() {
    let mut rig = Rig::new(CircuitBreakerConfig { observe_only: true, ..default() });
    rig.calls([F; 10]);
    assert_eq!(rig.state(), Open);
    assert_eq!(rig.calls([F; 10]), Open, "they pass");
    rig.wait(SECOND);
    rig.calls([S; 15]);
    assert_eq!(rig.state(), Closed);
}

/// A wait for the breaker looks at what calls may do. A step that leaves it as it was wakes nobody.
#[test]
fn only_steps_that_change_what_calls_may_do_wake_waiters() {
    let mut rig = Rig::new(default());
    rig.calls([F; 10]);
    let wakes = |rig: &Rig, step: &mut dyn FnMut(&Rig)| {
        let mut changed = Box::pin(rig.breaker.state_changes().changed());
        changed.as_mut().enable();
        step(rig);
        changed.as_mut().now_or_never().is_some()
    };
    rig.wait(SECOND);
    let mut probe = None;
    assert!(wakes(&rig, &mut |rig| probe = Some(rig.breaker.admit(60 * SECOND, rig.now).expect("the break is over"))));
    let mut probe = probe.expect("a probe");
    assert!(!wakes(&rig, &mut |rig| rig.breaker.sent(&probe, || false, rig.now)));
    assert!(!wakes(&rig, &mut |rig| rig.breaker.stop_aging(&mut probe, rig.now)));
    let mut probe = Some(probe);
    assert!(wakes(&rig, &mut |rig| rig.breaker.settle(probe.take().expect("once"), S, rig.now)));
}
