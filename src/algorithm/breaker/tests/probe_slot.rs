//! How long a probe occupies its slot, and when it counts.

use super::*;

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
