//! What heads, answers, waiting calls and reloads change.

use super::*;

impl World {
    /// The fingerprints of which an answer at `now` withdraws losses.
    fn answered(&mut self, endpoint: u64, sent: u32, now: u32) -> Vec<u64> {
        self.0.answered(at(endpoint), START + sent * MS, &limits(), START + now * MS)
    }

    /// A call that is lost in its body, after its head has cleared what it could.
    fn lost_in_body(&mut self, fingerprint: u64, endpoint: u64, sent: u32, lost: u32) -> LossChanges {
        let (sent, lost) = (START + sent * MS, START + lost * MS);
        let cleared = self.0.cleared(fingerprint, sent);
        self.0.lost(Loss { fingerprint, endpoint: at(endpoint), sent, at: lost }, cleared, &limits())
    }
}

/// A dead connection from the pool is no crash.
#[test]
fn answer_soon_after_a_loss_withdraws_it() {
    let mut world = World::default();
    world.lost(7, 1, 0, 10);
    assert!(world.lost(7, 2, 20, 30).quarantined.is_some());
    assert_eq!(world.answered(3, 40, 50), [0_u64; 0]);
    assert_eq!(world.answered(2, 25, 50), [0_u64; 0], "sent before the loss");
    assert_eq!(world.answered(2, 40, 1_031), [0_u64; 0], "it may have restarted");
    assert_eq!(world.answered(2, 40, 1_030), [7]);
    assert!(matches!(world.admit(7, 1_031), QuarantineAdmission::Turn(_)), "the other loss counts");
    assert!(world.lost(7, 3, 1_031, 1_040).quarantined.is_some());
}

#[test]
fn answer_at_an_unknown_endpoint_withdraws_nothing() {
    let mut world = World::default();
    world.lost(7, 0, 0, 10);
    assert_eq!(world.answered(0, 20, 30), [0_u64; 0]);
    assert_eq!(world.0.answers_until(), Some(START + 1_010 * MS));
    assert!(world.cleared(7, 0) && world.0.answers_until().is_some(), "it may still be no crash");
}

/// A request that kills while its response is produced has heads, too.
#[test]
fn loss_in_the_body_restores_what_the_head_cleared() {
    let mut world = World::default();
    world.lost_in_body(7, 1, 0, 10);
    assert_eq!(world.lost_in_body(7, 2, 20, 30).quarantined, Some(FIRST));
    assert_eq!(world.lost_in_body(7, 3, 3_780, 3_790).quarantined, Some(2 * FIRST));
}

#[test]
fn restored_loss_that_is_explained_does_not_count() {
    let mut world = World::default();
    world.lost(7, 1, 0, 10);
    let cleared = world.0.cleared(7, START + 20 * MS);
    world.lost(8, 1, 100, 110);
    let loss = Loss { fingerprint: 7, endpoint: at(2), sent: START + 20 * MS, at: START + 200 * MS };
    assert_eq!(world.0.lost(loss, cleared, &limits()), LossChanges::default());
}

#[test]
fn turn_goes_to_the_call_that_is_next() {
    let mut world = World::default();
    let admit = |world: &mut World, is_next, now: u32| world.0.admit(7, is_next, &limits(), START + now * MS);
    world.lost(7, 1, 0, 10);
    let QuarantineAdmission::Turn(turn) = admit(&mut world, true, 20) else { panic!("the turn is free") };
    world.0.pass_on(7, turn, START + 30 * MS);
    assert_eq!(admit(&mut world, false, 40), QuarantineAdmission::Wait(START + 1_030 * MS));
    assert!(matches!(admit(&mut world, true, 50), QuarantineAdmission::Turn(_)));
    // A call that is next and does not take its turn is passed over.
    assert_eq!(admit(&mut world, true, 60), QuarantineAdmission::Wait(START + 1_050 * MS));
    assert_eq!(admit(&mut world, false, 2_049), QuarantineAdmission::Wait(START + 2_050 * MS));
    assert!(matches!(admit(&mut world, false, 2_050), QuarantineAdmission::Turn(_)));
}

#[test]
fn reload_applies_to_the_turn_and_to_suspects() {
    let mut world = World::default();
    world.lost(7, 1, 0, 10);
    assert!(matches!(world.admit(7, 20), QuarantineAdmission::Turn(_)));
    let shorter = Limits { turn: 100 * MS, window: 300 * MS, ..limits() };
    world.0.reload(&shorter);
    assert!(matches!(world.0.admit(7, true, &shorter, START + 120 * MS), QuarantineAdmission::Turn(_)));
    assert_eq!(world.0.admit(7, true, &shorter, START + 310 * MS), QuarantineAdmission::Free);
    assert_eq!(world.0.bits(), 0);
}
