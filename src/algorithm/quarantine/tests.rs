use std::num::NonZeroU64;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

mod answers;
mod model;

const START: Instant = Instant::from_nanos(1 << 62);
const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

/// The first quarantine.
const FIRST: Duration = Duration::from_millis(3750);

fn limits() -> Limits {
    Limits { endpoints: 2, window: 60 * SECOND, duration: 30 * SECOND, turn: SECOND, max_fingerprints: 8 }
}

fn at(endpoint: u64) -> At {
    NonZeroU64::new(endpoint)
}

/// Losses by fingerprint, endpoint, and the milliseconds at which the call was sent and lost.
#[derive(Default)]
struct World(Suspects);

impl World {
    fn lost(&mut self, fingerprint: u64, endpoint: u64, sent: u32, lost: u32) -> LossChanges {
        let (sent, lost) = (START + sent * MS, START + lost * MS);
        self.0.lost(Loss { fingerprint, endpoint: at(endpoint), sent, at: lost }, None, &limits())
    }

    fn admit(&mut self, fingerprint: u64, now: u32) -> QuarantineAdmission {
        let _ = self.0.settle(&limits(), START + now * MS);
        self.0.admit(fingerprint, true, &limits(), START + now * MS)
    }

    /// Whether the success of a call that was sent then clears anything.
    fn cleared(&mut self, fingerprint: u64, sent: u32) -> bool {
        self.0.cleared(fingerprint, START + sent * MS).is_some()
    }

    /// Whether the calls of a fingerprint are refused.
    fn refuses(&mut self, fingerprint: u64, now: u32) -> bool {
        matches!(self.admit(fingerprint, now), QuarantineAdmission::Refused(_))
    }
}

#[test]
fn second_endpoint_quarantines() {
    let mut world = World::default();
    assert_eq!(world.admit(7, 0), QuarantineAdmission::Free);
    assert!(world.lost(7, 1, 0, 10).quarantined.is_none());
    assert!(world.lost(7, 1, 20, 30).quarantined.is_none(), "the same endpoint");
    assert!(world.lost(7, 2, 40, 50).quarantined.is_some());
    assert_eq!(world.admit(7, 60), QuarantineAdmission::Refused(FIRST - 10 * MS));
    assert_eq!(world.admit(8, 60), QuarantineAdmission::Free);
}

#[test]
fn losses_of_calls_in_flight_together_count_once() {
    let mut world = World::default();
    for (endpoint, lost) in [(1, 10), (2, 11), (3, 12), (4, 500)] {
        assert!(world.lost(7, endpoint, 0, lost).quarantined.is_none());
    }
    // The next one is sent as that of a suspect.
    assert!(world.lost(7, 5, 600, 610).quarantined.is_some());
}

#[test]
fn suspect_is_sent_one_call_at_a_time() {
    let mut world = World::default();
    world.lost(7, 1, 0, 10);
    let QuarantineAdmission::Turn(first) = world.admit(7, 20) else { panic!("the turn is free") };
    assert_eq!(world.admit(7, 21), QuarantineAdmission::Wait(START + 1020 * MS));
    world.0.pass_on(7, first, START + 21 * MS);
    let QuarantineAdmission::Turn(second) = world.admit(7, 22) else { panic!("the turn is free again") };
    world.0.pass_on(7, first, START + 22 * MS);
    assert_eq!(world.admit(7, 23), QuarantineAdmission::Wait(START + 1022 * MS), "a stale end passes nothing on");
    // A turn that lasts too long is passed on.
    assert!(matches!(world.admit(7, 1022), QuarantineAdmission::Turn(third) if third != second));
}

#[test]
fn success_clears_suspicion_and_quarantine() {
    let mut world = World::default();
    world.lost(7, 1, 0, 10);
    assert!(world.cleared(7, 10) && !world.cleared(7, 10));
    assert_eq!((world.admit(7, 20), world.0.bits()), (QuarantineAdmission::Free, 0));
    assert!(world.lost(7, 2, 20, 30).quarantined.is_none(), "the loss before the success is forgotten");
    assert!(world.lost(7, 1, 40, 50).quarantined.is_some());
    assert!(!world.cleared(7, 49), "a call that was sent before the losses");
    assert!(world.refuses(7, 60) && world.cleared(7, 50));
    assert_eq!(world.admit(7, 60), QuarantineAdmission::Free);
}

#[test]
fn suspicion_lapses_after_the_window() {
    let mut world = World::default();
    world.lost(7, 1, 0, 10);
    assert!(matches!(world.admit(7, 60_009), QuarantineAdmission::Turn(_)));
    assert_eq!((world.admit(7, 60_010), world.0.bits()), (QuarantineAdmission::Free, 0));
    assert!(world.lost(7, 2, 60_010, 60_020).quarantined.is_none());
}

#[test]
fn half_open_sends_one_call_which_decides() {
    let mut world = World::default();
    world.lost(7, 1, 0, 10);
    world.lost(7, 2, 10, 20);
    assert!(world.refuses(7, 3_769));
    let QuarantineAdmission::Turn(turn) = world.admit(7, 3_770) else { panic!("half-open") };
    assert!(matches!(world.admit(7, 3_771), QuarantineAdmission::Wait(_)));
    // Any endpoint will do, and the next quarantine is longer.
    assert_eq!(world.lost(7, 2, 3_770, 3_780).quarantined, Some(2 * FIRST));
    world.0.pass_on(7, turn, START + 3_780 * MS);
    assert_eq!(world.admit(7, 3_781), QuarantineAdmission::Refused(2 * FIRST - MS));
    assert!(matches!(world.admit(7, 11_280), QuarantineAdmission::Turn(_)));
    assert!(world.cleared(7, 11_280));
    assert_eq!(world.admit(7, 11_281), QuarantineAdmission::Free);
}

#[test]
fn quarantine_grows_while_the_probe_is_lost() {
    let mut world = World::default();
    world.lost(7, 1, 0, 10);
    let (mut now, mut endpoint) = (10, 2);
    for expected in [1, 2, 4, 8, 8] {
        let quarantined = world.lost(7, endpoint, now, now).quarantined.unwrap();
        assert_eq!(quarantined, expected * FIRST);
        (now, endpoint) = (now + quarantined.as_millis() as u32, endpoint + 1);
    }
    assert!(world.cleared(7, now));
    world.lost(7, 1, now, now);
    assert_eq!(world.lost(7, 2, now, now).quarantined, Some(FIRST), "a success starts over");
}

#[test]
fn loss_from_before_the_quarantine_does_not_prolong_it() {
    let mut world = World::default();
    world.lost(7, 1, 0, 10);
    world.lost(7, 2, 10, 20);
    assert_eq!(world.lost(7, 3, 5, 3_000), LossChanges::default());
    assert!(matches!(world.admit(7, 3_770), QuarantineAdmission::Turn(_)));
}

#[test]
fn instance_with_many_calls_keeps_other_losses() {
    let mut world = World::default();
    world.lost(1, 2, 0, 10);
    for call in 0..1000 {
        world.lost(9, 1, call % 7, 20);
    }
    assert_eq!(world.0.recent.len(), 2);
    world.lost(7, 1, 30, 40);
    assert_eq!(world.lost(7, 2, 50, 60).quarantined, None, "the endpoint was lost without it");
}

/// Those that a request takes along do not hide it.
#[test]
fn victims_of_the_same_crash_explain_nothing() {
    let mut world = World::default();
    for victim in [7, 1, 2] {
        world.lost(victim, 1, victim as u32, 10);
    }
    for victim in [3, 4] {
        world.lost(victim, 2, 30, 50);
    }
    assert!(world.lost(7, 2, 20, 50).quarantined.is_some());
    let changes = world.lost(5, 2, 45, 51);
    assert_eq!(changes, LossChanges::default());
    assert!(world.refuses(7, 60) && !(0..6).any(|victim| world.refuses(victim, 60)));
}

#[test]
fn endpoint_that_crashes_without_it_explains_a_loss() {
    let mut world = World::default();
    world.lost(1, 1, 0, 10);
    // That was lost before it was sent, and is no evidence: the fingerprint is not even a suspect.
    assert_eq!(world.lost(7, 1, 20, 30), LossChanges::default());
    assert_eq!(world.admit(7, 40), QuarantineAdmission::Free);
}

#[test]
fn later_crash_without_it_ends_a_quarantine() {
    let mut world = World::default();
    world.lost(7, 1, 0, 10);
    assert!(world.lost(7, 2, 20, 30).quarantined.is_some());
    // In the aftermath of the same crash.
    assert_eq!(world.lost(1, 2, 35, 70), LossChanges::default());
    // It may still answer.
    assert_eq!(world.lost(1, 2, 2000, 2010), LossChanges::default());
    assert!(world.refuses(7, 3009));
    assert!(matches!(world.admit(7, 3010), QuarantineAdmission::Turn(_)), "still lost on the first endpoint");
    assert_eq!(world.lost(1, 1, 3100, 3110), LossChanges::default());
    assert_eq!(world.lost(2, 3, 3200, 4110).withdrawn, [7]);
    assert_eq!(world.admit(7, 4120), QuarantineAdmission::Free);
}

/// Four calls in a row are lost there: it crashes for all of them.
#[test]
fn several_losses_without_an_answer_end_a_quarantine_at_once() {
    let mut world = World::default();
    world.lost(7, 1, 0, 10);
    assert!(world.lost(7, 2, 20, 30).quarantined.is_some());
    for (fingerprint, sent) in [(1, 50), (2, 70), (3, 90)] {
        assert_eq!(world.lost(fingerprint, 2, sent, sent + 10), LossChanges::default());
    }
    assert_eq!(world.lost(4, 2, 110, 120).withdrawn, [7]);
    assert!(matches!(world.admit(7, 130), QuarantineAdmission::Turn(_)));
}

/// A connection that breaks is no crash, and explains none.
#[test]
fn loss_that_the_endpoint_survives_explains_nothing() {
    let mut world = World::default();
    world.lost(1, 1, 0, 10);
    world.0.answered(at(1), START + 15 * MS, &limits(), START + 20 * MS);
    world.lost(7, 1, 30, 40);
    assert!(world.lost(7, 2, 50, 60).quarantined.is_some());
    // After the restart.
    world.lost(1, 2, 2000, 2010);
    world.0.answered(at(2), START + 2010 * MS, &limits(), START + 2020 * MS);
    assert!(world.refuses(7, 3100));
}

#[test]
fn loss_long_after_explains_nothing() {
    let mut world = World::default();
    world.lost(7, 1, 0, 10);
    world.lost(7, 2, 20, 30);
    assert_eq!(world.lost(1, 2, 10_000, 10_031), LossChanges::default());
    assert_eq!(world.0.suspects[&7].counted.len(), 2);
}

/// Only one of the two need have caused it, and each will be sent again.
#[test]
fn suspects_that_are_lost_together_explain_each_other() {
    let mut world = World::default();
    world.lost(7, 1, 0, 10);
    world.lost(8, 1, 0, 10);
    assert!(world.lost(7, 2, 20, 30).quarantined.is_some());
    assert_eq!(world.lost(8, 2, 25, 31), LossChanges { quarantined: None, withdrawn: vec![7] });
    assert!(!world.refuses(7, 40) && !world.refuses(8, 40));
    world.cleared(8, 40);
    assert!(world.lost(7, 3, 50, 60).quarantined.is_some(), "alone");
}

/// Another one that kills instances is not explained by it.
#[test]
fn quarantined_fingerprint_explains_nothing() {
    let mut world = World::default();
    world.lost(7, 1, 0, 10);
    world.lost(7, 2, 20, 30);
    assert!(world.lost(8, 1, 1000, 1010).quarantined.is_none());
    assert!(world.lost(8, 3, 2000, 2010).quarantined.is_some());
}

#[test]
fn unknown_endpoints_count_as_one() {
    let mut world = World::default();
    for call in 0..10 {
        assert!(world.lost(7, 0, call * 20, call * 20 + 10).quarantined.is_none());
    }
    assert!(world.lost(7, 1, 300, 310).quarantined.is_some());
}

#[test]
fn flood_is_bounded_and_ends_no_quarantine() {
    let mut world = World::default();
    world.lost(7, 1, 0, 10);
    world.lost(7, 2, 20, 30);
    for fingerprint in 100..10_000 {
        world.lost(fingerprint, fingerprint, 40, 50);
    }
    assert_eq!((world.0.suspects.len(), world.0.recent.len()), (8, recent::RECENT));
    assert!(world.refuses(7, 60));
    assert_eq!(world.0.counts(&limits(), START + 60 * MS), (7, 1));
    // There is room again after the window.
    assert_eq!(world.admit(7, 100_000), QuarantineAdmission::Free);
    world.lost(20_000, 1, 100_000, 100_010);
    assert!(matches!(world.admit(20_000, 100_020), QuarantineAdmission::Turn(_)));
}

#[test]
fn extreme_instants_do_not_panic() {
    let mut suspects = Suspects::default();
    let extremes = [Instant::from_nanos(1), START, Instant::MAX];
    for sent in extremes {
        for lost in extremes {
            for endpoint in 0..3 {
                suspects.lost(Loss { fingerprint: 7, endpoint: at(endpoint), sent, at: lost }, None, &limits());
                suspects.admit(7, true, &limits(), sent);
                suspects.answered(at(endpoint), sent, &limits(), lost);
                suspects.counts(&limits(), lost);
            }
        }
    }
}
