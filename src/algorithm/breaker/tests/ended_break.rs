//! Breaks that the owner ends early.

use super::*;

impl Rig {
    fn current_break(&self) -> Option<Break> {
        self.machine.published(&self.policy).current_break(self.now)
    }

    fn end_break(&mut self, generation: u64) -> Option<(State, State)> {
        let transition = self.step(|machine, moment| machine.end_break(generation, moment));
        transition.map(|transition| (transition.from, transition.to))
    }
}

#[test]
fn ended_break_admits_probes_that_close_the_breaker() {
    let mut rig = Rig::open(BreakerPolicy { break_for: 30 * SECOND, ..policy() });
    rig.now = start() + SECOND;
    let Break { generation, outage_since } = rig.current_break().expect("it is open");
    assert_eq!((outage_since, rig.admit()), (start(), Admission::Refused { retry_after: Some(29 * SECOND) }));
    assert_eq!(rig.end_break(generation), Some((State::Open, State::HalfOpen)));
    assert_eq!((rig.current_break(), rig.refused_until()), (None, None));
    assert_eq!(rig.recover(), 15);
}

#[test]
fn ended_break_whose_probes_fail_is_followed_by_a_longer_one() {
    let mut rig = Rig::open(BreakerPolicy { short_breaks: 1, ..policy() });
    let first = rig.current_break().expect("it is open");
    rig.end_break(first.generation);
    assert_eq!(rig.calls([Evidence::TimedOut; 3]), State::Open);
    assert_eq!(rig.machine.open_until(), Some(start() + 2 * SECOND));
    let second = rig.current_break().expect("it is open again");
    assert!(second.outage_since == first.outage_since && second.generation != first.generation);
}

#[test]
fn stale_break_cannot_be_ended() {
    let mut rig = Rig::open(policy());
    let stale = rig.current_break().expect("it is open").generation;
    rig.end_break(stale);
    rig.calls([FAILED; 3]);
    assert_eq!((rig.end_break(stale), rig.machine.state()), (None, State::Open));
    let (mut rig, _probe) = Rig::half_open(policy());
    let generation = rig.machine.generation();
    assert_eq!((rig.end_break(generation), rig.machine.probes()), (None, 1));
}

#[test]
fn break_is_current_until_its_end_and_in_no_other_state() {
    let mut rig = Rig::open(policy());
    rig.now = start() + SECOND;
    assert_eq!(rig.current_break(), None, "calls pass");
    let (rig, _probe) = Rig::half_open(policy());
    assert!(rig.refused_until().is_some() && rig.current_break().is_none());
    for mode in [Mode::ForcedOpen, Mode::Disabled, Mode::Observing] {
        let mut rig = Rig::open(policy());
        let generation = rig.machine.generation();
        rig.machine.set_mode(mode, rig.now);
        assert_eq!(rig.current_break(), None, "{mode:?}");
        assert_eq!(rig.end_break(generation).is_some(), mode == Mode::Observing, "{mode:?}");
    }
}
