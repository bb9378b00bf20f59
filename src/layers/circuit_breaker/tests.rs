//! A breaker as the layer uses it, in virtual time.

mod outage;
mod traffic;
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

/// tower-resilience: 200 of 200 calls cut by an outer timeout, none recorded, and then 50 of 50 probes sent to the hanging dependency.
#[test]
fn abandoned_calls_open_a_hanging_dependency_with_few_probes() {
    let mut rig = Rig::new(default());
    rig.calls([S; 50]);
    rig.wait(20 * SECOND);
    let mut sent = 0;
    for _ in 0..200 {
        if let Some(pass) = rig.pass() {
            rig.wait(50 * MS);
            rig.give_up(pass, Ending::GivenUp, 50 * MS, 60 * SECOND);
            sent += 1;
        }
    }
    assert_eq!(rig.state(), Open);
    assert_eq!(sent, 11, "ten of them, and half a second without an answer");
    let mut probes = 0;
    for _ in 0..3000 {
        rig.wait(MS);
        if let Some(pass) = rig.pass() {
            rig.give_up(pass, Ending::GivenUp, 50 * MS, 60 * SECOND);
            probes += 1;
        }
    }
    assert!(probes <= 3 * 3, "{probes} probes in three seconds, which have three breaks");
}

/// A balancer that drops a hundred clients at once says nothing about a dependency that has just answered others.
#[test]
fn simultaneous_abandoned_calls_do_not_open() {
    let mut rig = Rig::new(default());
    rig.calls([S; 300]);
    let crowd: Vec<_> = (0..100).filter_map(|_| rig.pass()).collect();
    rig.wait(200 * MS);
    rig.call(S);
    for pass in crowd {
        rig.give_up(pass, Ending::GivenUp, 200 * MS, 60 * SECOND);
    }
    assert_eq!(rig.state(), Closed);
}

/// A connection that closes takes its calls along, beside calls that are answered, or after a pause in which there were none.
#[test]
fn burst_of_unsent_calls_does_not_open() {
    for (good, pause) in [(0, Duration::ZERO), (300, Duration::ZERO), (300, 3600 * SECOND)] {
        for end in [Evidence::Unsent, Evidence::Unanswered] {
            let mut rig = Rig::new(default());
            (0..good).for_each(|_| _ = rig.call(S));
            rig.wait(pause);
            for _ in 0..100 {
                assert_eq!(rig.call(end), Closed, "{end:?} after {good} and {pause:?}");
            }
            rig.call(F);
            rig.wait(20 * MS);
            assert_eq!(rig.call(S), Closed);
        }
    }
}

/// For a long time some calls are unsent, and others have too little time: no call is refused while some are answered.
#[test]
fn unsent_calls_beside_answers_do_not_open() {
    for answer in [S, Evidence::Alive] {
        let mut rig = Rig::new(default());
        for n in 0..10_000 {
            rig.wait(10 * MS);
            let end = if n % 40 == 0 {
                answer
            } else if n % 2 == 0 {
                Evidence::Unsent
            } else {
                Evidence::Unanswered
            };
            assert_eq!(rig.call(end), Closed, "the {n}th");
        }
        assert!(rig.snapshot().calls <= 25, "they are in no rate");
    }
}

/// It refuses connections, or all callers time out before the hang is visible.
#[test]
fn silence_for_as_long_as_the_slow_threshold_opens() {
    for (known, end) in
        [(0, Evidence::Unsent), (0, Evidence::Unanswered), (50, Evidence::Unsent), (50, Evidence::Unanswered)]
    {
        let mut rig = Rig::new(default());
        (0..known).for_each(|_| _ = rig.call(S));
        let start = rig.now;
        while rig.call(end) == Closed {
            rig.wait(20 * MS);
            assert!(rig.now.since(start) < 2 * SECOND, "{end:?}");
        }
        assert!(rig.now.since(start) >= SECOND / 2, "{:?}", rig.now.since(start));
    }
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

/// Abandoned before a success usually arrives. (Later, they count only while no call at all is answered.)
#[test]
fn calls_abandoned_early_do_not_count() {
    let mut rig = Rig::new(default());
    rig.calls([Evidence::Good(20 * MS); 20]);
    rig.wait(20 * SECOND);
    for _ in 0..1000 {
        let pass = rig.pass().expect("it stays closed");
        rig.give_up(pass, Ending::GivenUp, 19 * MS, SECOND);
        rig.wait(MS);
    }
    assert_eq!((rig.state(), rig.snapshot().calls), (Closed, 0));
}

/// A last retry, two milliseconds before its deadline: cut, but not because of the dependency.
#[test]
fn calls_with_too_little_time_do_not_count() {
    let mut rig = Rig::new(default());
    rig.calls([Evidence::Good(20 * MS); 20]);
    rig.wait(20 * SECOND);
    for ending in [Ending::GivenUp, Ending::Deadline] {
        for _ in 0..100 {
            let pass = rig.pass().expect("it stays closed");
            rig.wait(2 * MS);
            rig.give_up(pass, ending, 2 * MS, 2 * MS);
        }
        assert_eq!((rig.state(), rig.snapshot().calls), (Closed, 0));
    }
    for _ in 0..11 {
        let pass = rig.pass().expect("it is closed");
        rig.wait(50 * MS);
        rig.give_up(pass, Ending::Deadline, 50 * MS, 50 * MS);
    }
    assert_eq!(rig.state(), Open, "with time for an answer they do, if there is none for the slow threshold");
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

#[test]
fn waiting_in_our_queue_does_not_age() {
    let mut rig = Rig::new(default());
    rig.calls([S; 20]);
    rig.wait(20 * SECOND);
    let mut queued: Vec<_> = (0..30).filter_map(|_| rig.pass()).collect();
    for pass in &mut queued {
        rig.breaker.stop_aging(pass, rig.now);
    }
    for _ in 0..100 {
        rig.wait(100 * MS);
        rig.call(Evidence::Nothing);
    }
    assert_eq!((rig.state(), rig.snapshot().overdue), (Closed, 0));
    for mut pass in queued {
        rig.breaker.start_aging(&mut pass, || false, rig.now);
        rig.breaker.start_aging(&mut pass, || false, rig.now);
        assert_eq!(rig.snapshot().in_flight, 1);
        rig.settle(pass, S);
    }
    assert_eq!(rig.snapshot().in_flight, 0);
}

#[derive(Clone, Debug)]
enum Step {
    Admit,
    Settle(prop::sample::Index, Evidence),
    Abandon(prop::sample::Index, u64),
    Queue(prop::sample::Index, bool),
    Advance(u64),
    Mode(Mode),
    Reset,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let which = any::<prop::sample::Index>;
    let end = prop_oneof![4 => Just(S), 4 => Just(F), 1 => Just(Evidence::TimedOut), 1 => Just(Evidence::Nothing)];
    let mode = prop_oneof![Just(Mode::Enforcing), Just(Mode::Observing), Just(Mode::ForcedOpen), Just(Mode::Disabled)];
    let step = prop_oneof![
        30 => Just(Step::Admit),
        20 => (which(), end).prop_map(|(which, end)| Step::Settle(which, end)),
        5 => (which(), 0..2000u64).prop_map(|(which, waited)| Step::Abandon(which, waited)),
        3 => (which(), any::<bool>()).prop_map(|(which, queues)| Step::Queue(which, queues)),
        5 => (0..2000u64).prop_map(Step::Advance),
        1 => mode.prop_map(Step::Mode),
        1 => Just(Step::Reset),
    ];
    proptest::collection::vec(step, 1..400)
}

proptest! {
    /// Whatever the order of events: when all calls are over, nothing is in flight, and the breaker recovers from every state.
    #[test]
    fn breaker_leaks_no_calls_and_always_recovers(steps in steps()) {
        let mut rig = Rig::new(CircuitBreakerConfig { minimum_calls: 3, consecutive_failures: Some(5), ..default() });
        let mut passes = Vec::new();
        for step in steps {
            match step {
                Step::Admit => passes.extend(rig.pass()),
                Step::Settle(which, end) if !passes.is_empty() => {
                    let pass = passes.swap_remove(which.index(passes.len()));
                    rig.breaker.settle(pass, end, rig.now);
                }
                Step::Abandon(which, waited) if !passes.is_empty() => {
                    let pass = passes.swap_remove(which.index(passes.len()));
                    rig.give_up(pass, Ending::GivenUp, Duration::from_millis(waited), 60 * SECOND);
                }
                Step::Queue(which, queues) if !passes.is_empty() => {
                    let which = which.index(passes.len());
                    if queues {
                        rig.breaker.stop_aging(&mut passes[which], rig.now);
                    } else {
                        rig.breaker.start_aging(&mut passes[which], || false, rig.now);
                    }
                }
                Step::Settle(..) | Step::Abandon(..) | Step::Queue(..) => {}
                Step::Advance(millis) => rig.wait(Duration::from_millis(millis)),
                Step::Mode(mode) => rig.breaker.set_mode(mode, rig.now),
                Step::Reset => rig.breaker.reset(rig.now),
            }
            prop_assert!(rig.snapshot().in_flight <= passes.len() as u64);
        }
        for pass in passes {
            rig.breaker.settle(pass, Evidence::Nothing, rig.now);
        }
        prop_assert_eq!(rig.snapshot().in_flight, 0);
        rig.breaker.set_mode(Mode::Enforcing, rig.now);
        rig.wait(31 * SECOND);
        for _ in 0..15 {
            rig.call(S);
        }
        prop_assert_eq!(rig.state(), Closed);
    }
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
