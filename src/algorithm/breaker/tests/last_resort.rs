//! Calls that pass for want of another endpoint.

use super::*;

const REFUSED: Evidence = Evidence::Unreachable(Duration::from_millis(1));
const LATE: Evidence = Evidence::Unreachable(Duration::from_secs(2));

impl Rig {
    /// A breaker that refused connections have opened.
    fn unreachable(end: Evidence) -> Self {
        let mut rig = Self::new(policy());
        for _ in 0..5 {
            rig.now = rig.now + SECOND;
            rig.call(end);
        }
        assert_eq!(rig.machine.state(), State::Open);
        rig
    }

    fn last_resort(&self) -> Option<pass::LastResort> {
        self.machine.published(&self.policy).last_resort()
    }

    fn end_last_resort(&mut self, call: pass::LastResort, end: Evidence) -> State {
        let _ = self.step(|machine, moment| machine.record_last_resort(call, end, moment));
        self.machine.state()
    }
}

#[test]
fn first_call_that_is_taken_closes_the_breaker() {
    for end in [QUICK, Evidence::Alive, FAILED] {
        let mut rig = Rig::unreachable(REFUSED);
        let call = rig.last_resort().expect("connections are refused");
        for nothing in [REFUSED, Evidence::Nothing, Evidence::Unanswered] {
            assert_eq!(rig.end_last_resort(call, nothing), State::Open);
        }
        assert_eq!((rig.end_last_resort(call, end), rig.last_resort()), (State::Closed, None));
        assert_eq!(rig.end_last_resort(call, REFUSED), State::Closed, "it is stale");
    }
}

#[test]
fn hanging_calls_are_refused_although_connections_were() {
    for end in [Evidence::TimedOut, Evidence::GivenUpLate, LATE] {
        let mut rig = Rig::unreachable(REFUSED);
        let call = rig.last_resort().expect("connections are refused");
        assert_eq!((rig.end_last_resort(call, end), rig.last_resort()), (State::Open, None));
        assert_eq!(rig.end_last_resort(call, QUICK), State::Open);
    }
    assert_eq!(Rig::unreachable(LATE).last_resort(), None);
    assert_eq!(Rig::open(policy()).last_resort(), None, "calls have failed");
}

/// While the breaker is half-open, calls without a slot pass, too. What the probes show decides about the next break.
#[test]
fn probes_decide_whether_calls_pass_in_the_next_break() {
    for (end, passes) in [(REFUSED, true), (LATE, false), (FAILED, false), (Evidence::Unanswered, false)] {
        let mut rig = Rig::unreachable(REFUSED);
        let stale = rig.last_resort().expect("connections are refused");
        rig.now = rig.machine.open_until().expect("it is open");
        let probe = rig.probe().expect("the break is over");
        assert!(rig.last_resort().is_some());
        assert_eq!(rig.end_last_resort(stale, QUICK), State::HalfOpen);
        rig.record(probe, end);
        rig.calls([end; 2]);
        assert_eq!((rig.machine.state(), rig.last_resort().is_some()), (State::Open, passes), "{end:?}");
    }
    let mut rig = Rig::open(policy());
    rig.now = rig.machine.open_until().expect("it is open");
    rig.calls([REFUSED; 3]);
    assert!(rig.last_resort().is_some(), "it has restarted meanwhile");
}
