mod model;

use std::time::Duration;

use super::*;
use crate::algorithm::evidence::Evidence;
use crate::ground::time::Instant;

const SECOND: Duration = Duration::from_secs(1);
const QUICK: Evidence = Evidence::Good(Duration::from_millis(1));
const FAILED: Evidence = Evidence::Bad(Duration::from_millis(1));

fn policy() -> Policy {
    Policy {
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

/// A machine in the hands of one caller.
struct Rig {
    policy: Policy,
    machine: Machine,
    now: Instant,
}

impl Rig {
    fn new(policy: Policy) -> Self {
        Self { policy, machine: Machine::new(Mode::Enforcing), now: start() }
    }

    fn open(policy: Policy) -> Self {
        let mut rig = Self::new(policy);
        assert_eq!(rig.trip(), Some((State::Closed, State::Open)));
        rig
    }

    fn half_open(policy: Policy) -> (Self, Probe) {
        let mut rig = Self::open(policy);
        rig.now = rig.machine.open_until().expect("it is open");
        let probe = rig.probe().expect("the break is over");
        (rig, probe)
    }

    fn trip(&mut self) -> Option<(State, State)> {
        let generation = self.machine.generation();
        let transition = self.machine.trip(generation, &self.policy, self.now, 0.0);
        transition.map(|transition| (transition.from, transition.to))
    }

    fn admit(&mut self) -> Admission {
        self.machine.admit(&self.policy, None, self.now, 0.0).0
    }

    fn probe(&mut self) -> Option<Probe> {
        if let Admission::Probe(probe) = self.admit() { Some(probe) } else { None }
    }

    fn retry_after(&mut self) -> Option<Duration> {
        match self.admit() {
            Admission::Refused { retry_after } => retry_after,
            other => panic!("{other:?} is no refusal"),
        }
    }

    fn settle(&mut self, probe: Probe, end: Evidence) -> State {
        let _ = self.machine.settle(probe, end, &self.policy, None, self.now, 0.0);
        self.machine.state()
    }

    fn give_up(&mut self, probe: Probe) -> State {
        let _ = self.machine.give_up(probe, &self.policy, self.now, 0.0);
        self.machine.state()
    }

    fn calls<const N: usize>(&mut self, ends: [Evidence; N]) -> State {
        for end in ends {
            let probe = self.probe().expect("there is a place");
            self.settle(probe, end);
        }
        self.machine.state()
    }

    /// Probes as many times as it takes to close, one after another.
    fn recover(&mut self) -> u32 {
        for n in 1..100 {
            let probe = self.probe().expect("there is a place");
            if self.settle(probe, QUICK) == State::Closed {
                return n;
            }
        }
        panic!("it never closed")
    }
}

#[test]
fn breaks_are_short_at_first_and_grow_to_the_longest() {
    let mut rig = Rig::open(policy());
    let mut breaks = Vec::new();
    for _ in 0..10 {
        let until = rig.machine.open_until().expect("it is open");
        breaks.push(until.since(rig.now).as_secs());
        rig.now = until;
        let probe = rig.probe().expect("the break is over");
        assert_eq!(rig.settle(probe, FAILED), State::Open);
    }
    assert_eq!(breaks, [1, 1, 1, 2, 4, 8, 16, 30, 30, 30]);
}

/// Finagle: "markDeadFor resets on revived".
#[test]
fn breaks_begin_short_again_once_it_was_closed() {
    let mut rig = Rig::open(policy());
    for _ in 0..8 {
        rig.now = rig.machine.open_until().expect("it is open");
        let probe = rig.probe().expect("the break is over");
        rig.settle(probe, FAILED);
    }
    rig.now = rig.machine.open_until().expect("it is open");
    assert_eq!(rig.recover(), 15, "1 + 2 + 4 + 8 probes");
    rig.trip();
    assert_eq!(rig.retry_after(), Some(SECOND));
}

#[test]
fn jitter_cuts_breaks_short_and_never_lengthens_them() {
    for (chance, millis) in [(0.0, 1000), (0.5, 900), (0.999_999, 800)] {
        let jittered = Policy { jitter: 0.2, ..policy() };
        let mut rig = Rig::new(jittered);
        let _ = rig.machine.trip(0, &rig.policy, rig.now, chance);
        let left = rig.retry_after().expect("the break has an end");
        assert_eq!((left.as_secs_f64() * 1000.0).round() as u64, millis);
    }
}

/// Polly: the instant of the end of a break saturates instead of overflowing.
#[test]
fn a_break_near_the_end_of_time_saturates() {
    let mut rig = Rig::new(Policy { break_for: Duration::MAX, max_break: Duration::MAX, ..policy() });
    rig.now = Instant::MAX.minus(SECOND);
    rig.trip();
    assert_eq!(rig.machine.open_until(), Some(Instant::MAX));
    assert_eq!(rig.retry_after(), Some(SECOND));
}

#[test]
fn growth_without_end_stays_at_the_longest() {
    let policy = Policy { break_growth: f64::MAX, ..policy() };
    assert_eq!(policy.pause(u32::MAX), 30 * SECOND);
    assert_eq!(Policy { break_growth: f64::NAN, ..policy }.pause(9), 30 * SECOND);
}

/// failsafe-go: the remaining delay counts down, and is none when half-open. Polly: 1 ms after re-opening, a refusal says break - 1 ms.
#[test]
fn refusals_know_how_long_the_break_lasts() {
    let mut rig = Rig::open(policy());
    for (at, left) in [(0, 1000), (1, 999), (110, 890), (999, 1)] {
        rig.now = start() + Duration::from_millis(at);
        assert_eq!(rig.retry_after(), Some(Duration::from_millis(left)));
    }
    rig.now = start() + SECOND;
    assert!(rig.probe().is_some());
}

/// Polly: "exactly one probe"; the second caller is refused with a retry-after.
#[test]
fn exactly_one_probe_at_first() {
    let (mut rig, _probe) = Rig::half_open(policy());
    assert_eq!(rig.machine.state(), State::HalfOpen);
    assert!(rig.retry_after().is_some_and(|after| after <= SECOND));
    assert_eq!(rig.machine.state(), State::HalfOpen);
}

/// resilience4j admits a fixed number of probes (four, then no more); here each good round admits twice as many.
#[test]
fn rounds_double_until_it_closes() {
    let (mut rig, probe) = Rig::half_open(policy());
    rig.settle(probe, QUICK);
    for size in [2, 4, 8] {
        let probes: Vec<_> = std::iter::from_fn(|| rig.probe()).take(100).collect();
        assert_eq!(probes.len(), size);
        for probe in probes {
            assert_eq!(rig.machine.state(), State::HalfOpen);
            rig.settle(probe, QUICK);
        }
    }
    assert_eq!(rig.machine.state(), State::Closed);
}

/// The half-open tables of resilience4j (failure and slow-call rates), failsafe-go (ratios) and Polly (one probe).
#[test]
fn a_round_is_judged_by_the_same_rates() {
    use State::{Closed, HalfOpen, Open};
    const SLOW: Evidence = Evidence::Good(SECOND);
    // rounds before it, the answers of the round, and the state after them
    let table: [(&str, u32, &[Evidence], State); 11] = [
        ("polly: a good probe closes, with one round", 1, &[QUICK], Closed),
        ("polly: a bad probe opens", 4, &[FAILED], Open),
        ("a slow probe opens", 4, &[SLOW], Open),
        ("a probe cut for its time opens", 4, &[Evidence::TimedOut], Open),
        ("a probe given up late opens", 4, &[Evidence::GivenUpLate], Open),
        ("resilience4j: failures below the rate close", 3, &[QUICK, QUICK, QUICK, FAILED, QUICK, QUICK, QUICK], Closed),
        ("failsafe: a second failure of four opens", 3, &[QUICK, QUICK, QUICK, QUICK, FAILED, QUICK, FAILED], Open),
        ("failsafe: three of four are not decided yet", 3, &[QUICK, QUICK, QUICK, QUICK, FAILED, QUICK], HalfOpen),
        ("one of two is half", 4, &[QUICK, FAILED], Open),
        ("resilience4j: slow calls up to their rate open", 3, &[QUICK, QUICK, QUICK, SLOW, SLOW, SLOW, SLOW], Open),
        ("slow calls below their rate do not", 3, &[QUICK, QUICK, QUICK, SLOW, SLOW, SLOW, QUICK], Closed),
    ];
    for (case, rounds, ends, expected) in table {
        let (mut rig, probe) = Rig::half_open(Policy { rounds, ..policy() });
        rig.settle(probe, ends[0]);
        for end in &ends[1..] {
            let probe = rig.probe().expect("there is a place");
            rig.settle(probe, *end);
        }
        assert_eq!(rig.machine.state(), expected, "{case}");
    }
}

/// resilience4j: four ignored errors leave it half-open with nothing counted; Finagle: an ignorable outcome goes back to probing;
/// Sentinel stays half-open for ever when an inner layer refuses its probe.
#[test]
fn an_ignored_probe_gives_its_place_back() {
    let (mut rig, mut probe) = Rig::half_open(policy());
    for _ in 0..100 {
        assert_eq!(rig.settle(probe, Evidence::Nothing), State::HalfOpen);
        probe = rig.probe().expect("the place is free again");
    }
    rig.settle(probe, QUICK);
    assert_eq!(rig.recover(), 14);
}

/// Polly: a cancelled probe is "unhandled" and closes the circuit. resilience4j: its permit is lost.
#[test]
fn a_probe_given_up_neither_closes_nor_wedges() {
    let (mut rig, probe) = Rig::half_open(policy());
    assert_eq!(rig.give_up(probe), State::HalfOpen);
    let probe = rig.probe().expect("the place is free again");
    assert_eq!(rig.settle(probe, FAILED), State::Open);
}

/// A callee that hangs while its callers are impatient would be probed for ever.
#[test]
fn probes_given_up_time_and_again_fail_their_round() {
    let (mut rig, probe) = Rig::half_open(policy());
    rig.give_up(probe);
    let mut probes = 1;
    while let Some(probe) = rig.probe() {
        rig.give_up(probe);
        probes += 1;
    }
    assert_eq!((probes, rig.machine.state()), (10, State::Open));
}

/// Polly: a probe that never returns blocks half-open for ever.
#[test]
fn a_hanging_probe_is_judged_when_the_next_call_comes() {
    let (mut rig, probe) = Rig::half_open(policy());
    rig.now = (rig.now + SECOND).minus(Duration::from_nanos(1));
    assert_eq!(rig.retry_after(), Some(Duration::from_nanos(1)));
    rig.now = rig.now + Duration::from_nanos(1);
    assert_eq!(rig.retry_after(), Some(SECOND));
    assert_eq!(rig.machine.state(), State::Open);
    assert_eq!(rig.settle(probe, QUICK), State::Open, "what it answers later is old news");
}

/// Half-open is no stricter than closed: where slowness never trips, a slow probe fails nothing, only because calls come meanwhile.
#[test]
fn where_slowness_never_trips_a_callee_above_the_threshold_comes_back() {
    let slow_after = SlowAfter::Fixed(Duration::from_millis(100));
    let took = Duration::from_millis(200);
    let (mut rig, probe) = Rig::half_open(Policy { slow_rate: None, slow_after, rounds: 1, ..policy() });
    rig.now = rig.now + took;
    assert!(rig.probe().is_none(), "a call comes meanwhile");
    assert_eq!(rig.settle(probe, Evidence::Good(took)), State::Closed);
}

/// And where it does, slow probes count as slow, and not as failures too.
#[test]
fn slow_probes_are_judged_by_the_rate_of_slow_calls_though_calls_come_meanwhile() {
    let slow_after = SlowAfter::Fixed(Duration::from_millis(100));
    let took = Duration::from_millis(200);
    let mut rig = Rig::open(Policy { slow_after, rounds: 3, ..policy() });
    rig.now = rig.machine.open_until().expect("it is open");
    assert_eq!(rig.calls([QUICK; 3]), State::HalfOpen);
    let probes: Vec<_> = (0..4).map(|_| rig.probe().expect("there is a place")).collect();
    rig.settle(probes[0], QUICK);
    rig.now = rig.now + took;
    let _ = rig.admit();
    for probe in &probes[1..] {
        rig.settle(*probe, Evidence::Good(took));
    }
    assert_eq!(rig.machine.state(), State::Closed, "three of four are less than 0.8");
}

#[test]
fn a_probe_that_waits_in_a_queue_of_ours_does_not_hang() {
    let (mut rig, probe) = Rig::half_open(policy());
    rig.machine.set_local_wait(probe, None);
    rig.now = rig.now + 100 * SECOND;
    assert!(rig.probe().is_none());
    assert_eq!(rig.machine.state(), State::HalfOpen);
    rig.machine.set_local_wait(probe, Some(rig.now));
    rig.now = rig.now + SECOND;
    assert!(rig.probe().is_none());
    assert_eq!(rig.machine.state(), State::Open);
}

/// A callee that is slower after the outage than any threshold from before it is given as long as the break was, and breaks grow.
#[test]
fn a_callee_that_comes_back_slower_comes_back() {
    let before = Some(Duration::from_millis(20));
    let relative = SlowAfter::Relative { factor: 10.0, floor: Duration::from_millis(500) };
    let mut rig = Rig::open(Policy { slow_after: relative, ..policy() });
    let mut failed_rounds = 0;
    while rig.machine.state() != State::Closed {
        if let Some(until) = rig.machine.open_until() {
            rig.now = rig.now.max(until);
        }
        let (admission, _) = rig.machine.admit(&rig.policy, before, rig.now, 0.0);
        let Admission::Probe(probe) = admission else { panic!("{admission:?}") };
        let took = 7 * SECOND;
        rig.now = rig.now + took;
        let _ = rig.machine.settle(probe, Evidence::Good(took), &rig.policy, before, rig.now, 0.0);
        failed_rounds += u32::from(rig.machine.state() == State::Open);
        assert!(failed_rounds < 20, "it never comes back");
    }
    assert_eq!(failed_rounds, 5, "until a break of eight seconds");
}

/// tower-resilience: a late success of the closed era closes a half-open circuit. resilience4j, Polly: late outcomes while forced open.
#[test]
fn late_news_moves_nothing() {
    let (mut rig, old) = Rig::half_open(policy());
    assert_eq!(rig.machine.trip(0, &rig.policy, rig.now, 0.0), None, "a call of the closed era");
    rig.settle(old, FAILED);
    rig.now = rig.machine.open_until().expect("it is open");
    let present = rig.probe().expect("the break is over");
    for end in [QUICK, FAILED] {
        assert_eq!(rig.settle(old, end), State::HalfOpen);
        assert!(matches!(rig.admit(), Admission::Refused { .. }), "its place is taken as before");
    }
    let _ = rig.machine.set_mode(Mode::ForcedOpen);
    assert_eq!(rig.settle(present, QUICK), State::ForcedOpen);
}

#[test]
fn modes() {
    let mut rig = Rig::new(policy());
    // resilience4j: forced open stays so, however long; Polly: "isolated".
    let _ = rig.machine.set_mode(Mode::ForcedOpen);
    rig.now = rig.now + 3600 * SECOND;
    assert_eq!(rig.retry_after(), None);
    assert_eq!(rig.trip(), None);
    let _ = rig.machine.reset();
    assert_eq!(rig.machine.state(), State::ForcedOpen);
    // resilience4j: disabled admits all, and has no events.
    let _ = rig.machine.set_mode(Mode::Disabled);
    assert_eq!(rig.trip(), None);
    assert_eq!(rig.admit(), Admission::Free);
    // Observing, it moves like any other, and lets all pass.
    let _ = rig.machine.set_mode(Mode::Observing);
    assert_eq!(rig.machine.state(), State::Closed);
    assert_eq!(rig.trip(), Some((State::Closed, State::Open)));
    assert_eq!(rig.admit(), Admission::Free);
    rig.now = rig.now + SECOND;
    let probe = rig.probe().expect("one call stands for a probe");
    assert_eq!(rig.admit(), Admission::Free, "the others pass beside it");
    // And goes on where it was when it enforces.
    assert_eq!(rig.machine.set_mode(Mode::Enforcing), None);
    assert!(matches!(rig.admit(), Admission::Refused { .. }));
    rig.settle(probe, QUICK);
    assert_eq!(rig.recover(), 14);
}
