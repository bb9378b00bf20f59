//! The watch and the machine together, as layers use them, in a time that the tests move.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use proptest::prelude::*;

use super::config::{CircuitBreakerConfig, Window};
use super::handle::Snapshot;
use super::state::{Breaker, Pass};
use super::{State, State::*};
use crate::algorithm::breaker::{End, Mode};
use crate::ground::time::Instant;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const S: End = End::Good(MS);
const F: End = End::Bad(MS);

struct Rig {
    breaker: Breaker,
    now: Instant,
}

impl Rig {
    fn new(config: CircuitBreakerConfig) -> Self {
        config.validate().expect("a valid configuration");
        let mode = if config.observe_only { Mode::Observing } else { Mode::Enforcing };
        Self { breaker: Breaker::new(config.policy(), config.new_window(), mode), now: Instant::from_nanos(1 << 63) }
    }

    fn snapshot(&self) -> Snapshot {
        self.breaker.snapshot(self.now)
    }

    fn state(&self) -> State {
        self.snapshot().state
    }

    fn pass(&self) -> Option<Pass> {
        self.breaker.admit(self.now).ok()
    }

    fn refused(&self) -> bool {
        self.pass().is_none()
    }

    fn settle(&self, pass: Pass, end: End) -> State {
        self.breaker.settle(pass, end, self.now);
        self.state()
    }

    /// One call that is admitted and settled at once.
    fn call(&self, end: End) -> State {
        let pass = self.pass().expect("it passes");
        self.settle(pass, end)
    }

    fn calls<const N: usize>(&self, ends: [End; N]) -> State {
        ends.into_iter().fold(self.state(), |_, end| self.call(end))
    }

    fn wait(&mut self, duration: Duration) {
        self.now = self.now + duration;
    }
}

fn default() -> CircuitBreakerConfig {
    CircuitBreakerConfig { jitter: 0.0, ..Default::default() }
}

/// The configuration that most cases of resilience4j's suite share. They know no consecutive failures.
fn resilience4j() -> CircuitBreakerConfig {
    CircuitBreakerConfig {
        window: Window::Time(20 * SECOND),
        minimum_calls: 5,
        failure_rate: 0.5,
        slow_rate: Some(0.5),
        slow_after: Some(4 * SECOND),
        consecutive_failures: None,
        break_duration: 5 * SECOND,
        max_break: 5 * SECOND,
        ..default()
    }
}

#[test]
fn resilience4j_opens_after_the_failure_rate_is_reached_even_by_a_success() {
    let rig = Rig::new(resilience4j());
    assert_eq!(rig.calls([F, F, F, S]), Closed, "below the minimum of calls there is no rate");
    assert_eq!(rig.call(S), Open);
    assert!(rig.refused());
    let counts = rig.snapshot();
    assert_eq!((counts.calls, counts.failures), (5, 3));
}

#[test]
fn resilience4j_opens_at_exactly_the_rate() {
    let mut rig = Rig::new(resilience4j());
    for end in [S, S, S, F, F] {
        assert_eq!(rig.call(end), Closed);
        rig.wait(SECOND);
    }
    assert_eq!(rig.call(F), Open, "three of six");
}

#[test]
fn resilience4j_opens_after_the_slow_call_rate_is_reached() {
    let mut rig = Rig::new(resilience4j());
    for seconds in [5, 5, 1, 1] {
        let pass = rig.pass().expect("it is closed");
        rig.wait(seconds * SECOND);
        assert_eq!(rig.settle(pass, End::Good(seconds * SECOND)), Closed);
    }
    let pass = rig.pass().expect("it is closed");
    rig.wait(5 * SECOND);
    assert_eq!(rig.settle(pass, End::Good(5 * SECOND)), Open);
}

#[test]
fn resilience4j_is_half_open_when_the_break_is_over_and_not_before() {
    for (pause, too_early) in [(5 * SECOND, 3 * SECOND), (7200 * SECOND, 3600 * SECOND)] {
        let mut rig = Rig::new(CircuitBreakerConfig { break_duration: pause, max_break: pause, ..resilience4j() });
        rig.calls([F; 5]);
        rig.wait(too_early);
        assert!(rig.refused());
        rig.wait(pause.saturating_sub(too_early) + SECOND);
        assert!(rig.pass().is_some());
        assert_eq!(rig.state(), HalfOpen);
    }
}

#[test]
fn resilience4j_closing_forgets_what_was_counted() {
    let mut rig = Rig::new(resilience4j());
    rig.calls([F; 5]);
    rig.wait(5 * SECOND);
    assert_eq!(rig.calls([S; 15]), Closed);
    assert_eq!(rig.snapshot(), Snapshot { state: Closed, calls: 0, failures: 0, slow: 0, in_flight: 0, overdue: 0 });
    assert_eq!(rig.call(S), Closed);
    assert_eq!(rig.snapshot().calls, 1);
}

#[test]
fn resilience4j_disabled_counts_nothing_and_forced_open_stays_so() {
    let mut rig = Rig::new(resilience4j());
    rig.breaker.set_mode(Mode::Disabled, rig.now);
    assert_eq!(rig.calls([F; 50]), Disabled);
    assert_eq!(rig.snapshot().calls, 0);
    rig.breaker.set_mode(Mode::ForcedOpen, rig.now);
    rig.wait(6 * SECOND);
    assert_eq!(rig.breaker.admit(rig.now).err(), Some(None), "nobody knows for how long");
    assert_eq!(rig.state(), ForcedOpen);
}

/// resilience4j has a separate longest wait in half-open; here a probe that hangs is judged like any call that hangs.
#[test]
fn resilience4j_half_open_does_not_last_when_probes_hang() {
    let mut rig = Rig::new(resilience4j());
    rig.calls([F; 5]);
    rig.wait(5 * SECOND);
    let _hangs = rig.pass().expect("the break is over");
    rig.wait(4 * SECOND);
    assert!(rig.refused());
    assert_eq!(rig.state(), Open);
}

#[test]
fn failsafe_three_failures_in_a_row() {
    let rig = Rig::new(CircuitBreakerConfig { consecutive_failures: Some(3), minimum_calls: 1000, ..default() });
    assert_eq!(rig.calls([F, S, F, F]), Closed);
    assert_eq!(rig.call(F), Open);
}

#[test]
fn failsafe_ratios_over_the_last_few_calls() {
    let last = |window, failure_rate| CircuitBreakerConfig {
        window: Window::Calls(window),
        minimum_calls: window,
        failure_rate,
        consecutive_failures: None,
        ..default()
    };
    let two_of_three = Rig::new(last(3, 2.0 / 3.0));
    assert_eq!(two_of_three.calls([F, S]), Closed);
    assert_eq!(two_of_three.call(F), Open);
    let three_of_four = Rig::new(last(4, 0.75));
    for _ in 0..20 {
        assert_eq!(three_of_four.calls([S, F]), Closed);
    }
}

#[test]
fn sentinel_slow_requests() {
    let slow = End::Good(60 * MS);
    let mut rig = Rig::new(CircuitBreakerConfig {
        window: Window::Time(20 * SECOND),
        slow_after: Some(50 * MS),
        break_duration: 5 * SECOND,
        max_break: 5 * SECOND,
        half_open_rounds: 1,
        ..default()
    });
    assert_eq!(rig.calls([slow; 7]), Closed);
    assert_eq!(rig.calls([S; 3]), Closed);
    // Seven and five of fifteen: exactly the rate.
    assert_eq!(rig.calls([slow; 5]), Open);
    rig.wait(SECOND);
    assert!(rig.refused());
    rig.wait(5 * SECOND);
    assert_eq!(rig.call(slow), Open);
    rig.wait(6 * SECOND);
    assert_eq!(rig.call(S), Closed);
}

#[test]
fn finagle_consecutive_failures_begin_anew_after_a_success() {
    let rig = Rig::new(CircuitBreakerConfig { consecutive_failures: Some(3), minimum_calls: 1000, ..default() });
    assert_eq!(rig.calls([F, S, F, F]), Closed);
    assert_eq!(rig.call(F), Open);
}

#[test]
fn finagle_success_rates_wait_for_enough_requests() {
    let five = CircuitBreakerConfig { minimum_calls: 5, consecutive_failures: None, ..default() };
    let rig = Rig::new(CircuitBreakerConfig { window: Window::Calls(5), ..five.clone() });
    assert_eq!(rig.calls([F; 4]), Closed);
    assert_eq!(rig.call(F), Open);
    let mut rig = Rig::new(CircuitBreakerConfig { window: Window::Time(30 * SECOND), failure_rate: 0.01, ..five });
    rig.wait(30 * SECOND);
    assert_eq!(rig.calls([F; 4]), Closed);
    assert_eq!(rig.call(F), Open);
}

/// tower-resilience: after 100,000 successes, a window of 100 calls took 100,000 failures to open.
#[test]
fn a_long_good_past_does_not_keep_it_closed() {
    let rig = Rig::new(CircuitBreakerConfig { window: Window::Calls(100), consecutive_failures: None, ..default() });
    for _ in 0..100_000 {
        rig.call(S);
    }
    assert_eq!(rig.calls([F; 49]), Closed);
    assert_eq!(rig.call(F), Open);
}

/// tower-resilience: half-open wedges for ever when probes come further apart than the window is long.
#[test]
fn rare_probes_close_it_all_the_same() {
    let mut rig = Rig::new(default());
    rig.calls([F; 10]);
    for _ in 0..15 {
        rig.wait(3600 * SECOND);
        rig.call(S);
    }
    assert_eq!(rig.state(), Closed);
}

/// tower-resilience: a late success of the closed era closes a half-open circuit whose probe still hangs.
#[test]
fn a_late_success_closes_nothing() {
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
fn yesterdays_failures_open_nothing_today() {
    let mut rig = Rig::new(CircuitBreakerConfig { consecutive_failures: None, ..default() });
    rig.calls([F; 9]);
    rig.wait(86_400 * SECOND);
    assert_eq!(rig.calls([F; 9]), Closed);
    assert_eq!(rig.call(F), Open);
}

/// Nor do the answers of the time before a break stretch the measure of the time after it.
#[test]
fn late_answers_do_not_move_the_slow_threshold() {
    let mut rig = Rig::new(default());
    rig.calls([End::Good(100 * MS); 20]);
    let late: Vec<_> = (0..30).filter_map(|_| rig.pass()).collect();
    rig.calls([F; 20]);
    rig.wait(SECOND);
    assert_eq!(rig.calls([End::Good(100 * MS); 15]), Closed);
    for pass in late {
        rig.settle(pass, End::Good(30 * SECOND));
    }
    rig.call(End::Good(2 * SECOND));
    assert_eq!(rig.snapshot().slow, 1, "slow still begins at about a second");
}

/// tower-resilience: 200 of 200 calls cut by an outer timeout, none recorded, and then 50 of 50 probes sent into the hung callee.
#[test]
fn a_callee_that_hangs_until_its_callers_give_up_opens_it_and_is_not_flooded_with_probes() {
    let mut rig = Rig::new(default());
    rig.calls([S; 50]);
    rig.wait(20 * SECOND);
    let mut sent = 0;
    for _ in 0..200 {
        if let Some(pass) = rig.pass() {
            rig.wait(50 * MS);
            rig.breaker.give_up(pass, 50 * MS, 60 * SECOND, End::GivenUpLate, rig.now);
            sent += 1;
        }
    }
    assert_eq!(rig.state(), Open);
    assert_eq!(sent, 10);
    let mut probes = 0;
    for _ in 0..3000 {
        rig.wait(MS);
        if let Some(pass) = rig.pass() {
            rig.breaker.give_up(pass, 50 * MS, 60 * SECOND, End::GivenUpLate, rig.now);
            probes += 1;
        }
    }
    assert!(probes <= 3, "{probes} probes in three seconds");
}

/// A balancer that drops a hundred clients at once says nothing about a callee that has just answered others.
#[test]
fn a_crowd_that_hangs_up_at_once_opens_nothing() {
    let mut rig = Rig::new(default());
    rig.calls([S; 300]);
    let crowd: Vec<_> = (0..100).filter_map(|_| rig.pass()).collect();
    rig.wait(200 * MS);
    rig.call(S);
    for pass in crowd {
        rig.breaker.give_up(pass, 200 * MS, 60 * SECOND, End::GivenUpLate, rig.now);
    }
    assert_eq!(rig.state(), Closed);
}

#[test]
fn calls_given_up_early_say_nothing() {
    let mut rig = Rig::new(default());
    rig.calls([End::Good(20 * MS); 20]);
    rig.wait(20 * SECOND);
    for _ in 0..1000 {
        let pass = rig.pass().expect("it stays closed");
        rig.breaker.give_up(pass, 59 * MS, SECOND, End::GivenUpLate, rig.now);
        rig.wait(MS);
    }
    assert_eq!((rig.state(), rig.snapshot().calls), (Closed, 0));
}

/// A last retry, two milliseconds before its deadline: cut off, but not for the callee's fault.
#[test]
fn calls_that_had_no_chance_say_nothing() {
    let mut rig = Rig::new(default());
    rig.calls([End::Good(20 * MS); 20]);
    rig.wait(20 * SECOND);
    for late in [End::GivenUpLate, End::TimedOut] {
        for _ in 0..100 {
            let pass = rig.pass().expect("it stays closed");
            rig.wait(2 * MS);
            rig.breaker.give_up(pass, 2 * MS, 2 * MS, late, rig.now);
        }
        assert_eq!((rig.state(), rig.snapshot().calls), (Closed, 0));
    }
    for _ in 0..10 {
        let pass = rig.pass().expect("it is closed");
        rig.wait(50 * MS);
        rig.breaker.give_up(pass, 50 * MS, 50 * MS, End::TimedOut, rig.now);
    }
    assert_eq!(rig.state(), Open, "with time for an answer, they do");
}

#[test]
fn observing_it_moves_and_refuses_nothing() {
    let mut rig = Rig::new(CircuitBreakerConfig { observe_only: true, ..default() });
    rig.calls([F; 10]);
    assert_eq!(rig.state(), Open);
    assert_eq!(rig.calls([F; 10]), Open, "they pass");
    rig.wait(SECOND);
    rig.calls([S; 15]);
    assert_eq!(rig.state(), Closed);
}

#[test]
fn waiting_in_a_queue_of_ours_does_not_age() {
    let mut rig = Rig::new(default());
    rig.calls([S; 20]);
    rig.wait(20 * SECOND);
    let mut queued: Vec<_> = (0..30).filter_map(|_| rig.pass()).collect();
    for pass in &mut queued {
        rig.breaker.stop_aging(pass);
    }
    for _ in 0..100 {
        rig.wait(100 * MS);
        rig.call(End::Nothing);
    }
    assert_eq!((rig.state(), rig.snapshot().overdue), (Closed, 0));
    for mut pass in queued {
        rig.breaker.start_aging(&mut pass, rig.now);
        rig.breaker.start_aging(&mut pass, rig.now);
        assert_eq!(rig.snapshot().in_flight, 1);
        rig.settle(pass, S);
    }
    assert_eq!(rig.snapshot().in_flight, 0);
}

/// An open loop: so many calls a second, each answered after `latency(the time, a random number)` if at all.
struct Traffic<L> {
    rig: Rig,
    start: Instant,
    in_flight: BinaryHeap<Reverse<(Instant, u64)>>,
    passes: std::collections::HashMap<u64, (Pass, Instant)>,
    limit: usize,
    latency: L,
    random: fastrand::Rng,
    refused: u64,
}

/// When and how a call ends.
enum Answer {
    Good(Duration),
    Never,
    GivenUp(Duration),
}

impl<L: Fn(Duration, f64) -> Answer> Traffic<L> {
    fn new(config: CircuitBreakerConfig, latency: L) -> Self {
        let rig = Rig::new(config);
        Self {
            start: rig.now,
            rig,
            in_flight: BinaryHeap::new(),
            passes: Default::default(),
            limit: usize::MAX,
            latency,
            random: fastrand::Rng::with_seed(7),
            refused: 0,
        }
    }

    fn elapsed(&self) -> Duration {
        self.rig.now.since(self.start)
    }

    /// Runs until the time, or until the first call is refused, which it returns the time of.
    fn run(&mut self, rate: u32, until: Duration) -> Option<Duration> {
        for id in 0.. {
            let id = id + (self.elapsed().as_nanos() as u64) * 100_000;
            self.rig.wait(SECOND / rate);
            if self.elapsed() > until {
                return None;
            }
            self.settle_due();
            if self.passes.len() >= self.limit {
                continue;
            }
            let Some(pass) = self.rig.pass() else {
                self.refused += 1;
                return Some(self.elapsed());
            };
            let now = self.rig.now;
            match (self.latency)(self.elapsed(), self.random.f64()) {
                Answer::Good(after) | Answer::GivenUp(after) => self.in_flight.push(Reverse((now + after, id))),
                Answer::Never => {}
            }
            self.passes.insert(id, (pass, now));
        }
        None
    }

    fn settle_due(&mut self) {
        let now = self.rig.now;
        while let Some(Reverse((at, id))) = self.in_flight.pop() {
            if at > now {
                self.in_flight.push(Reverse((at, id)));
                break;
            }
            let Some((pass, since)) = self.passes.remove(&id) else { continue };
            match (self.latency)(since.since(self.start), 0.5) {
                Answer::GivenUp(after) => self.rig.breaker.give_up(pass, after, after, End::GivenUpLate, at),
                _ => self.rig.breaker.settle(pass, End::Good(at.since(since)), at),
            }
        }
    }
}

/// Exponential, with that mean.
fn about(mean: Duration, chance: f64) -> Answer {
    Answer::Good(mean.mul_f64(-(1.0 - chance).ln()))
}

/// A minute of busy and good days in the window, and then no call returns: nothing times out, nobody gives up.
#[test]
fn a_callee_that_hangs_is_noticed_from_the_calls_in_flight() {
    for rate in [20, 100, 1000] {
        let hangs = 60 * SECOND;
        let mut traffic =
            Traffic::new(default(), |at, chance| if at < hangs { about(20 * MS, chance) } else { Answer::Never });
        let refused = traffic.run(rate, 120 * SECOND).expect("it opens");
        assert!(refused > hangs && refused < hangs + 2 * SECOND, "{rate}/s: {:?}", refused.saturating_sub(hangs));
    }
}

/// The same with few in flight: a bulkhead of eight further out, whose callers give up after their deadline of 1.2 s.
#[test]
fn a_callee_that_hangs_behind_a_small_bulkhead_is_noticed() {
    let hangs = 60 * SECOND;
    let mut traffic =
        Traffic::new(
            default(),
            |at, chance| {
                if at < hangs { about(20 * MS, chance) } else { Answer::GivenUp(1200 * MS) }
            },
        );
    traffic.limit = 8;
    let refused = traffic.run(100, 120 * SECOND).expect("it opens");
    assert!(refused > hangs && refused < hangs + 4 * SECOND, "{:?}", refused.saturating_sub(hangs));
}

/// Five times slower for ten seconds, as under load: calls are answered, so it stays closed, and does when it is over.
#[test]
fn a_callee_that_gets_five_times_slower_is_not_cut_off() {
    for (rate, usual) in [(20, 20 * MS), (140, 20 * MS), (1000, 2 * MS), (100, 300 * MS), (5, 3 * SECOND)] {
        let mut traffic = Traffic::new(default(), |at, chance| {
            let slower = (30 * SECOND..40 * SECOND).contains(&at);
            about(if slower { 5 * usual } else { usual }, chance)
        });
        assert_eq!(traffic.run(rate, 60 * SECOND), None, "{rate}/s of {usual:?}");
    }
}

/// A hundred times slower from one moment to the next, and for good: it may open, but has to come back.
#[test]
fn a_callee_that_gets_slow_for_good_is_served() {
    let mut traffic =
        Traffic::new(default(), |at, chance| about(if at < 30 * SECOND { 20 * MS } else { 2 * SECOND }, chance));
    while traffic.elapsed() < 200 * SECOND {
        let until = traffic.elapsed() + SECOND;
        traffic.run(100, until);
    }
    assert_eq!(traffic.rig.state(), Closed);
    let before = traffic.refused;
    while traffic.elapsed() < 300 * SECOND {
        let until = traffic.elapsed() + SECOND;
        traffic.run(100, until);
    }
    assert_eq!(traffic.refused, before, "and stays closed");
}

/// A cold start of a callee whose answers take long: nothing is known of it, and nothing is held against it.
#[test]
fn a_callee_that_is_slow_from_the_start_is_served() {
    let mut traffic = Traffic::new(default(), |_, chance| about(5 * SECOND, chance));
    assert_eq!(traffic.run(20, 60 * SECOND), None);
}

/// Our own process stands still for three seconds; when it goes on, the answers are all there, only unread.
#[test]
fn a_hiccup_of_our_own_process_opens_nothing() {
    let mut rig = Rig::new(default());
    for _ in 0..1000 {
        rig.call(End::Good(20 * MS));
        rig.wait(MS);
    }
    rig.wait(20 * SECOND);
    let in_flight: Vec<_> = (0..200).filter_map(|_| rig.pass()).collect();
    rig.wait(3 * SECOND);
    assert!(!rig.refused(), "the first thing that goes on may be a new call");
    let median = 20 * MS;
    for pass in in_flight {
        rig.settle(pass, End::Good(median));
    }
    for _ in 0..1000 {
        rig.wait(MS);
        rig.call(S);
    }
    assert_eq!(rig.state(), Closed);
}

#[derive(Clone, Debug)]
enum Step {
    Admit,
    Settle(prop::sample::Index, End),
    Abandon(prop::sample::Index, u64),
    Queue(prop::sample::Index, bool),
    Advance(u64),
    Mode(Mode),
    Reset,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let which = any::<prop::sample::Index>;
    let end = prop_oneof![4 => Just(S), 4 => Just(F), 1 => Just(End::TimedOut), 1 => Just(End::Nothing)];
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
    /// Whatever happens in whatever order: when all calls are over, nothing is in flight; and it comes back from everything.
    #[test]
    fn it_holds_nothing_and_always_comes_back(steps in steps()) {
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
                    rig.breaker.give_up(pass, Duration::from_millis(waited), 60 * SECOND, End::GivenUpLate, rig.now);
                }
                Step::Queue(which, queues) if !passes.is_empty() => {
                    let which = which.index(passes.len());
                    if queues {
                        rig.breaker.stop_aging(&mut passes[which]);
                    } else {
                        rig.breaker.start_aging(&mut passes[which], rig.now);
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
            rig.breaker.settle(pass, End::Nothing, rig.now);
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
