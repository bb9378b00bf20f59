mod closed;
mod ended_break;
mod last_resort;
mod model;

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

#[test]
fn breaks_grow_up_to_the_longest() {
    let mut rig = Rig::open(policy());
    let mut breaks = Vec::new();
    for _ in 0..10 {
        let until = rig.machine.open_until().expect("it is open");
        breaks.push(until.since(rig.now).as_secs());
        assert_eq!(rig.fail(), 3, "probes");
    }
    assert_eq!(breaks, [1, 1, 1, 2, 4, 8, 16, 30, 30, 30]);
}

/// A probe that fails at once costs nobody time.
#[test]
fn breaks_stay_short_while_probes_fail_at_once() {
    let mut rig = Rig::open(policy());
    for _ in 0..10 {
        let until = rig.machine.open_until().expect("it is open");
        assert_eq!(until.since(rig.now), SECOND);
        assert_eq!(rig.fail_with(FAILED), 3, "probes");
    }
}

/// Finagle: "markDeadFor resets on revived".
#[test]
fn breaks_are_short_again_after_a_close() {
    let mut rig = Rig::open(policy());
    for _ in 0..8 {
        rig.fail();
    }
    rig.now = rig.machine.open_until().expect("it is open");
    assert_eq!(rig.recover(), 15, "1 + 2 + 4 + 8 probes");
    rig.trip();
    assert_eq!(rig.retry_after(), Some(SECOND));
}

/// Breaks grow only while nothing answers.
#[test]
fn break_after_a_good_probe_is_short() {
    let mut rig = Rig::open(policy());
    for _ in 0..8 {
        rig.fail();
    }
    rig.now = rig.machine.open_until().expect("it is open");
    rig.calls([QUICK]);
    while rig.machine.state() == State::HalfOpen {
        rig.calls([FAILED]);
    }
    assert_eq!(rig.retry_after(), Some(SECOND));
}

/// A break ends by time or after enough refused calls.
#[test]
fn long_break_ends_early_after_enough_refusals() {
    let mut rig = Rig::open(policy());
    for _ in 0..6 {
        rig.fail();
    }
    let until = rig.machine.open_until().expect("it is open");
    assert_eq!(until.since(rig.now), 16 * SECOND);
    for (after, refused_enough, passes) in
        [(SECOND / 2, true, false), (2 * SECOND, false, false), (2 * SECOND, true, true)]
    {
        let since = until.minus(16 * SECOND);
        rig.now = since + after;
        let admission = rig.step(|machine, moment| machine.admit(true, refused_enough, moment).0);
        assert_eq!(matches!(admission, Admission::Probe(_)), passes, "{after:?} {refused_enough}");
    }
}

#[test]
fn jitter_only_shortens_breaks() {
    for (chance, millis) in [(0.0, 1000), (0.5, 900), (0.999_999, 800)] {
        let jittered = BreakerPolicy { jitter: 0.2, ..policy() };
        let mut rig = Rig::new(jittered);
        let _ = rig.step(|machine, moment| machine.trip(0, TRIP, &Moment { chance, ..*moment }));
        let left = rig.retry_after().expect("the break has an end");
        assert_eq!((left.as_secs_f64() * 1000.0).round() as u64, millis);
    }
}

/// Polly: the instant of the end of a break saturates instead of overflowing.
#[test]
fn break_near_the_end_of_time_saturates() {
    let mut rig = Rig::new(BreakerPolicy { break_for: Duration::MAX, max_break: Duration::MAX, ..policy() });
    rig.now = Instant::MAX.minus(SECOND);
    rig.trip();
    assert_eq!(rig.machine.open_until(), Some(Instant::MAX));
    assert_eq!(rig.retry_after(), Some(SECOND));
}

#[test]
fn unbounded_growth_stays_at_the_longest_break() {
    let policy = BreakerPolicy { break_growth: f64::MAX, ..policy() };
    assert_eq!(policy.pause(u32::MAX), 30 * SECOND);
    assert_eq!(BreakerPolicy { break_growth: f64::NAN, ..policy }.pause(9), 30 * SECOND);
}

/// failsafe-go: the remaining delay counts down, and is none when half-open. Polly: 1 ms after re-opening, a refusal says break - 1 ms.
#[test]
fn refusal_has_the_rest_of_the_break_as_retry_after() {
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
fn half_open_begins_with_exactly_one_probe() {
    let (mut rig, _probe) = Rig::half_open(policy());
    assert_eq!(rig.machine.state(), State::HalfOpen);
    assert!(rig.retry_after().is_some_and(|after| after <= SECOND));
    assert_eq!(rig.machine.state(), State::HalfOpen);
}

/// resilience4j admits a fixed number of probes (four, then no more); here each good answer makes room for one more at a time.
#[test]
fn rounds_of_good_probes_double_until_closed() {
    let (mut rig, probe) = Rig::half_open(policy());
    rig.record(probe, QUICK);
    for size in [2, 4, 8] {
        let probes: Vec<_> = std::iter::from_fn(|| rig.probe()).take(100).collect();
        assert_eq!(probes.len(), size);
        for probe in probes {
            assert_eq!(rig.machine.state(), State::HalfOpen);
            rig.record(probe, QUICK);
        }
    }
    assert_eq!(rig.machine.state(), State::Closed);
}

/// A failing dependency gets one probe at a time.
#[test]
fn failed_probe_allows_no_further_probes() {
    let (mut rig, probe) = Rig::half_open(policy());
    rig.record(probe, FAILED);
    let probe = rig.probe().expect("its slot is free");
    assert!(rig.probe().is_none());
    rig.record(probe, FAILED);
    assert!(rig.probe().is_some() && rig.probe().is_none());
}

/// The half-open tables of resilience4j (failure and slow-call rates), failsafe-go (ratios) and Polly (one probe).
#[test]
fn half_open_is_judged_by_the_rates_of_closed() {
    use State::{Closed, HalfOpen, Open};
    const SLOW: Evidence = Evidence::Good(SECOND);
    // rounds, the answers, and the state after them
    let table: [(&str, u32, &[Evidence], State); 15] = [
        ("polly: a good probe closes, with one round", 1, &[QUICK], Closed),
        ("polly: a bad probe opens, with one round", 1, &[FAILED], Open),
        ("one failure decides nothing", 4, &[FAILED], HalfOpen),
        ("nor do two", 4, &[FAILED; 2], HalfOpen),
        ("three failures without a good answer do", 4, &[FAILED; 3], Open),
        ("slow probes are not good", 4, &[SLOW; 3], Open),
        ("probes that timed out are not good", 4, &[Evidence::TimedOut; 3], Open),
        ("probes given up late are not good", 4, &[Evidence::GivenUpLate; 3], Open),
        ("resilience4j: failures below the rate close", 2, &[FAILED, QUICK, QUICK], Closed),
        ("failsafe: undecided while the rate can still fall", 3, &[QUICK, FAILED, FAILED, FAILED], HalfOpen),
        ("failsafe: failed once the rate cannot fall enough", 3, &[QUICK, FAILED, FAILED, FAILED, FAILED], Open),
        ("resilience4j: slow calls up to their rate open", 3, &[QUICK, SLOW, SLOW, SLOW, SLOW, SLOW, SLOW], Open),
        ("slow calls below their rate do not", 3, &[QUICK, SLOW, SLOW, SLOW, SLOW, SLOW, QUICK], Closed),
        ("refusals of a live dependency are answers", 2, &[Evidence::Alive; 3], Closed),
        ("but too few answers decide nothing", 4, &[Evidence::Alive; 14], HalfOpen),
    ];
    for (case, rounds, ends, expected) in table {
        let mut rig = Rig::open(BreakerPolicy { rounds, ..policy() });
        rig.now = rig.machine.open_until().expect("it is open");
        for end in ends {
            let probe = rig.probe().expect("a slot is free");
            rig.record(probe, *end);
        }
        assert_eq!(rig.machine.state(), expected, "{case}");
    }
}

/// The phase uses the failure rate of the closed state, so failures that a closed breaker tolerates close an open one.
#[test]
fn residual_failures_seldom_reopen() {
    let mut random = fastrand::Rng::with_seed(7);
    for (percent, most) in [(10, 5), (30, 40), (40, 80), (50, 150)] {
        let mut failed = 0;
        for _ in 0..1000 {
            let mut rig = Rig::open(BreakerPolicy { failure_rate: 0.9, ..policy() });
            rig.now = rig.machine.open_until().expect("it is open");
            while let Some(probe) = rig.probe() {
                rig.record(probe, if random.u32(..100) < percent { FAILED } else { QUICK });
            }
            failed += u32::from(rig.machine.state() == State::Open);
        }
        assert!(failed <= most, "{percent} %: {failed} of 1000 phases");
    }
}

/// resilience4j: four ignored errors leave it half-open with nothing counted; Finagle: an ignorable outcome goes back to probing;
/// Sentinel stays half-open for ever when an inner layer refuses its probe.
#[test]
fn ignored_probe_releases_its_slot() {
    let (mut rig, mut probe) = Rig::half_open(policy());
    for _ in 0..100 {
        assert_eq!(rig.record(probe, Evidence::Nothing), State::HalfOpen);
        probe = rig.probe().expect("the slot is free again");
    }
    rig.record(probe, QUICK);
    assert_eq!(rig.recover(), 14);
}

/// Polly: a cancelled probe is "unhandled" and closes the circuit. resilience4j: its permit is lost.
#[test]
fn abandoned_probe_neither_closes_nor_blocks() {
    let (mut rig, probe) = Rig::half_open(policy());
    assert_eq!(rig.record(probe, Evidence::Nothing), State::HalfOpen);
    assert_eq!(rig.calls([FAILED; 3]), State::Open);
}

/// Otherwise a dependency that refuses connections, or hangs while its callers have short deadlines, would be probed forever.
#[test]
fn unanswered_probes_reopen_without_answers() {
    for end in [Evidence::Unanswered, Evidence::Unsent] {
        let (mut rig, probe) = Rig::half_open(policy());
        assert_eq!(rig.record(probe, end), State::HalfOpen);
        assert_eq!(rig.calls([end; 2]), State::Open);
    }
}

/// Probes without an answer do not count among answered ones, unless ten come in a row.
#[test]
fn unanswered_probes_do_not_reopen_beside_answers() {
    let (mut rig, probe) = Rig::half_open(policy());
    rig.record(probe, QUICK);
    assert_eq!(rig.calls([Evidence::Unsent; 9]), State::HalfOpen);
    assert_eq!(rig.calls([QUICK]), State::HalfOpen);
    assert_eq!(rig.calls([Evidence::Unsent; 9]), State::HalfOpen);
    assert_eq!(rig.calls([Evidence::Unsent]), State::Open, "the tenth in a row");
}

/// Polly: a probe that never returns blocks half-open for ever.
#[test]
fn hanging_probe_releases_its_slot_and_fails() {
    let (mut rig, probe) = Rig::half_open(policy());
    rig.now = (rig.now + SECOND).minus(Duration::from_nanos(1));
    assert_eq!(rig.refused_until(), Some(rig.now + Duration::from_nanos(1)));
    assert!(rig.probe().is_none());
    rig.now = rig.now + Duration::from_nanos(1);
    assert!(rig.probe().is_some(), "the first has failed");
    rig.now = rig.now + SECOND;
    assert!(rig.probe().is_some(), "the second has failed");
    rig.now = rig.now + SECOND;
    assert_eq!((rig.retry_after(), rig.machine.state()), (Some(SECOND), State::Open));
    assert_eq!(rig.record(probe, QUICK), State::Open, "a stale answer");
}

/// One of several endpoints hangs: the phase continues with other probes.
#[test]
fn hanging_probe_blocks_for_the_slow_threshold_at_most() {
    let slow_after = SlowAfter::Relative { factor: 10.0, floor: SECOND / 2 };
    let mut rig = Rig::open(BreakerPolicy { slow_after, ..policy() });
    for _ in 0..6 {
        rig.fail();
    }
    rig.now = rig.machine.open_until().expect("it is open");
    let _hangs = rig.probe().expect("the break is over");
    assert!(rig.probe().is_none());
    rig.now = rig.now + SECOND / 2;
    assert_eq!(rig.recover(), 15);
}

/// A stream, an unread response, an upgraded connection: the head is there, and the end is far.
#[test]
fn probe_with_a_good_head_counts_after_slow_threshold() {
    let mut rig = Rig::open(policy());
    rig.now = rig.machine.open_until().expect("it is open");
    let began = rig.now;
    while rig.machine.state() != State::Closed {
        while let Some(probe) = rig.probe() {
            rig.machine.set_head(probe, QUICK, rig.now);
        }
        rig.now = rig.now + SECOND / 10;
        assert!(rig.now.since(began) < 5 * SECOND, "{:?}", rig.machine.state());
    }
    assert_eq!(rig.now.since(began).as_secs(), 4, "once a round");
}

#[test]
fn probe_with_a_bad_head_fails_after_slow_threshold() {
    let (mut rig, probe) = Rig::half_open(policy());
    rig.machine.set_head(probe, FAILED, rig.now);
    rig.now = rig.now + SECOND;
    assert_eq!(rig.calls([FAILED]), State::HalfOpen);
    assert_eq!(rig.calls([FAILED]), State::Open);
}

/// A leaked or unpolled future is no evidence and blocks no other probe.
#[test]
fn unpolled_probe_releases_its_slot() {
    let mut rig = Rig::open(policy());
    rig.now = rig.machine.open_until().expect("it is open");
    for _ in 0..200 {
        assert!(matches!(rig.admit(), Admission::Probe(_)), "{:?}", rig.machine);
        assert!(matches!(rig.admit(), Admission::Refused { .. }));
        rig.now = rig.now + SECOND;
    }
    assert!(rig.machine.probes() <= 65, "{} remembered", rig.machine.probes());
    assert_eq!(rig.recover(), 15);
}

/// Half-open is no stricter than closed: where slow calls never trip, a slow probe does not fail because other calls come
/// meanwhile.
#[test]
fn slow_dependency_closes_where_slow_never_trips() {
    let slow_after = SlowAfter::Fixed(Duration::from_millis(100));
    let took = Duration::from_millis(200);
    let (mut rig, probe) = Rig::half_open(BreakerPolicy { slow_rate: None, slow_after, rounds: 1, ..policy() });
    rig.now = rig.now + took;
    assert!(rig.probe().is_some(), "a call comes meanwhile, and has the place");
    assert_eq!(rig.record(probe, Evidence::Good(took)), State::Closed);
}

/// Where slow calls trip, slow probes count as slow, and not also as failures.
#[test]
fn slow_probes_count_for_the_slow_rate_only() {
    let slow_after = SlowAfter::Fixed(Duration::from_millis(100));
    let took = Duration::from_millis(200);
    let mut rig = Rig::open(BreakerPolicy { slow_after, rounds: 3, ..policy() });
    rig.now = rig.machine.open_until().expect("it is open");
    assert_eq!(rig.calls([QUICK; 3]), State::HalfOpen);
    let probes: Vec<_> = (0..4).map(|_| rig.probe().expect("a slot is free")).collect();
    rig.record(probes[0], QUICK);
    rig.now = rig.now + took;
    let _ = rig.admit();
    for probe in &probes[1..] {
        rig.record(*probe, Evidence::Good(took));
    }
    assert_eq!(rig.machine.state(), State::Closed, "three of seven are less than 0.8");
}

/// The local queue hangs, not the dependency. The slot is released, and the answer counts when it comes.
#[test]
fn locally_queued_probe_does_not_hang() {
    let (mut rig, probe) = Rig::half_open(BreakerPolicy { rounds: 2, ..policy() });
    rig.machine.set_sent(probe, false, rig.now);
    rig.now = rig.now + 100 * SECOND;
    let other = rig.probe().expect("the slot is free");
    assert!(rig.probe().is_none());
    rig.machine.set_sent(probe, true, rig.now);
    assert_eq!(rig.record(probe, QUICK), State::HalfOpen);
    assert_eq!(rig.record(other, QUICK), State::HalfOpen);
    assert_eq!(rig.calls([QUICK]), State::Closed, "the third of three");
}

/// A pause of the upload restarts the dependency's time, but not that of the slot.
#[test]
fn trickling_probe_releases_its_slot() {
    let (mut rig, probe) = Rig::half_open(policy());
    let mut probes = vec![probe];
    for _ in 0..5 {
        for tenth in 1..=10 {
            assert!(rig.probe().is_none(), "{tenth}");
            rig.now = rig.now + SECOND / 10;
            for sent in [false, true] {
                for probe in &probes {
                    rig.machine.set_sent(*probe, sent, rig.now);
                }
                assert_eq!(rig.refused_until().map(|until| until.since(rig.now)), Some((10 - tenth) * SECOND / 10));
            }
        }
        // The earlier probes are sent for moments only, and do not count as slow.
        probes.push(rig.probe().expect("the slot is free"));
    }
    assert_eq!(rig.record(probes[5], QUICK), State::HalfOpen);
    assert_eq!(rig.recover(), 14);
}

#[test]
fn slot_time_starts_when_the_probe_is_sent() {
    let mut rig = Rig::open(policy());
    rig.now = rig.machine.open_until().expect("it is open");
    let Admission::Probe(probe) = rig.admit() else { panic!("the break is over") };
    rig.now = rig.now + SECOND / 2;
    rig.machine.set_sent(probe, true, rig.now);
    rig.now = rig.now + SECOND / 2;
    assert!(rig.probe().is_none());
    rig.now = rig.now + SECOND / 2;
    assert!(rig.probe().is_some());
}

/// The connection's task reports the upload's progress after the head has arrived.
#[test]
fn upload_after_the_head_keeps_the_probe_answered() {
    for sent in [false, true] {
        let (mut rig, probe) = Rig::half_open(BreakerPolicy { rounds: 1, ..policy() });
        rig.machine.set_head(probe, QUICK, rig.now);
        rig.machine.set_sent(probe, sent, rig.now);
        rig.now = rig.now + SECOND;
        assert!(matches!(rig.admit(), Admission::Closed(_)), "{sent}: {:?}", rig.machine);
    }
}

/// A dependency that is slower after the outage than any earlier threshold is given as long as the break, and breaks grow.
#[test]
fn dependency_that_recovers_slower_closes() {
    let relative = SlowAfter::Relative { factor: 10.0, floor: Duration::from_millis(500) };
    let mut rig = Rig::new(BreakerPolicy { slow_after: relative, ..policy() });
    for _ in 0..10 {
        assert_eq!(rig.call(Evidence::Good(Duration::from_millis(20))), State::Closed);
    }
    rig.trip();
    let (mut failed_phases, began) = (0, rig.now);
    while rig.machine.state() != State::Closed {
        if let Some(until) = rig.machine.open_until() {
            rig.now = rig.now.max(until);
        }
        let probe = rig.probe().expect("it is half-open");
        let took = 7 * SECOND;
        rig.now = rig.now + took;
        rig.record(probe, Evidence::Good(took));
        failed_phases += u32::from(rig.machine.state() == State::Open);
        assert!(rig.now.since(began) < 600 * SECOND, "it never recovers");
    }
    assert_eq!(failed_phases, 5, "until a break of eight seconds");
}

#[test]
fn call_with_too_little_time_is_no_probe() {
    let mut rig = Rig::open(policy());
    rig.now = rig.machine.open_until().expect("it is open");
    let hurried = rig.step(|machine, moment| machine.admit(false, true, moment).0);
    assert_eq!(hurried, Admission::Refused { retry_after: Some(SECOND) });
    assert_eq!(rig.machine.state(), State::Open);
    assert!(rig.probe().is_some());
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
