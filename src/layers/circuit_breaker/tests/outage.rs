//! The outage that a refusal reports: what opened the breaker, since when, and when it probes next.

use super::*;
use crate::ground::error::{Numbers, TripCause};

impl Rig {
    /// The numbers of a call that is refused now.
    fn numbers(&self) -> Numbers {
        let refused = self.breaker.admit(60 * SECOND, self.now);
        let refused = refused.expect_err("it is open");
        self.breaker.refusal(refused, self.now).rejected().numbers()
    }

    fn text(&self) -> String {
        let refused = Refused { retry_after: None, outage: self.breaker.outage() };
        self.breaker.refusal(refused, self.now).rejected().to_string()
    }
}

fn calls(numbers: Numbers) -> [Option<u32>; 5] {
    [numbers.calls(), numbers.failures(), numbers.slow(), numbers.overdue(), numbers.unanswered()]
}

#[test]
fn outage_by_failure_rate_is_reported() {
    let mut rig = Rig::new(default());
    rig.calls([S]);
    rig.calls([F; 9]);
    rig.wait(300 * MS);
    let numbers = rig.numbers();
    assert_eq!(numbers.opened_by(), Some(TripCause::FailureRate));
    assert_eq!(calls(numbers), [10, 9, 0, 0, 0].map(Some));
    assert_eq!((numbers.open_for(), numbers.next_probe()), (Some(300 * MS), Some(700 * MS)));
    let text = rig.text();
    assert!(
        text.contains("too many calls failed: `failure_rate` reached (layer `circuit_breaker`): 9 failed of 10 calls"),
        "{text}"
    );
}

#[test]
fn outage_by_slow_rate_is_reported() {
    let rig = Rig::new(CircuitBreakerConfig { slow_after: Some(SECOND), ..default() });
    rig.calls([Evidence::Good(2 * SECOND); 10]);
    assert_eq!(rig.numbers().opened_by(), Some(TripCause::SlowRate));
    assert_eq!(calls(rig.numbers()), [10, 0, 10, 0, 0].map(Some));
    let text = rig.text();
    assert!(
        text.contains("too many calls were slow: `slow_rate` reached (layer `circuit_breaker`): 10 slow of 10 calls"),
        "{text}"
    );
}

#[test]
fn outage_by_consecutive_failures_is_reported() {
    let rig = Rig::new(CircuitBreakerConfig { consecutive_failures: Some(3), ..default() });
    rig.calls([S; 50]);
    rig.calls([F; 3]);
    assert_eq!(rig.numbers().opened_by(), Some(TripCause::ConsecutiveFailures));
    assert_eq!(calls(rig.numbers()), [3, 3, 0, 0, 0].map(Some));
    let text = rig.text();
    assert!(text.contains("`consecutive_failures` reached (layer `circuit_breaker`): 3 failed in a row"), "{text}");
}

#[test]
fn outage_by_hanging_calls_is_reported() {
    let mut rig = Rig::new(CircuitBreakerConfig { slow_after: Some(SECOND), ..default() });
    rig.calls([S; 50]);
    let _hanging: Vec<_> = (0..12).map(|_| rig.pass()).collect();
    rig.wait(1300 * MS);
    rig.breaker.check(rig.now);
    rig.wait(200 * MS);
    rig.breaker.check(rig.now);
    assert_eq!(rig.numbers().opened_by(), Some(TripCause::Hanging));
    assert_eq!(calls(rig.numbers()), [12, 0, 0, 12, 0].map(Some));
    let text = rig.text();
    assert!(text.contains("the dependency hangs (layer `circuit_breaker`): 12 hanging of 12 calls"), "{text}");
}

#[test]
fn outage_by_unanswered_calls_is_reported() {
    let mut rig = Rig::new(CircuitBreakerConfig { slow_after: Some(SECOND), ..default() });
    rig.calls([S]);
    for _ in 0..20 {
        if rig.state() == Closed {
            rig.call(Evidence::Unsent);
            rig.wait(200 * MS);
        }
    }
    assert_eq!(rig.numbers().opened_by(), Some(TripCause::Unanswered));
    assert_eq!(calls(rig.numbers()), [10, 0, 0, 0, 10].map(Some));
    let text = rig.text();
    assert!(text.contains("no call was answered (layer `circuit_breaker`): 10 unanswered of 10 calls"), "{text}");
}

#[test]
fn outage_by_force_open_is_reported() {
    let mut rig = Rig::new(default());
    rig.calls([F; 10]);
    rig.wait(300 * MS);
    rig.breaker.set_mode(Mode::ForcedOpen, rig.now);
    rig.wait(3600 * SECOND);
    rig.breaker.reset(rig.now);
    let numbers = rig.numbers();
    assert_eq!((numbers.opened_by(), numbers.open_for()), (Some(TripCause::ForcedOpen), Some(3600 * SECOND)));
    assert_eq!((numbers.next_probe(), calls(numbers)), (None, [None; 5]), "no probe follows, and no call was counted");
    assert!(rig.text().contains("forced open by hand"), "{}", rig.text());
    rig.breaker.set_mode(Mode::Enforcing, rig.now);
    assert_eq!(rig.breaker.numbers(rig.now), Numbers::NONE);
}

/// An outage of an hour is one outage: the first calls are its cause, however many probes have failed since.
#[test]
fn outage_lasts_until_the_breaker_closes() {
    let mut rig = Rig::new(default());
    rig.calls([F; 10]);
    let numbers = |rig: &Rig| {
        let numbers = rig.breaker.numbers(rig.now);
        (numbers.opened_by(), numbers.failures(), numbers.open_for(), numbers.breaks(), numbers.next_probe())
    };
    let cause = Some(TripCause::FailureRate);
    assert_eq!(numbers(&rig), (cause, Some(10), Some(Duration::ZERO), Some(1), Some(SECOND)));
    rig.wait(1500 * MS);
    let probe = rig.pass().expect("the break is over");
    assert_eq!(numbers(&rig), (cause, Some(10), Some(1500 * MS), Some(1), Some(Duration::ZERO)));
    assert!(rig.text().contains("probing now"), "{}", rig.text());
    rig.settle(probe, F);
    rig.calls([F; 2]);
    assert_eq!(rig.state(), Open);
    assert_eq!(numbers(&rig), (cause, Some(10), Some(1500 * MS), Some(2), Some(SECOND)));
    rig.wait(SECOND);
    rig.calls([S; 15]);
    assert_eq!((rig.state(), rig.breaker.numbers(rig.now)), (Closed, Numbers::NONE));
}

/// A key that gets its own breaker while all are forced open must report when that happened.
#[test]
fn new_breaker_adopts_a_forced_outage() {
    let common = Rig::new(default());
    common.calls([F; 10]);
    let fresh = |mode, outage| {
        let config = default();
        Breaker::new(settings(&config), config.span(), mode, outage, Instruments::new(super::super::KIND))
    };
    let closed = fresh(Mode::Enforcing, common.breaker.outage());
    assert_eq!(closed.numbers(common.now), Numbers::NONE, "an outage that calls have caused is not inherited");
    common.breaker.set_mode(Mode::ForcedOpen, common.now);
    let forced = fresh(Mode::ForcedOpen, common.breaker.outage());
    assert_eq!(forced.numbers(common.now + SECOND).open_for(), Some(SECOND));
    let inherited = fresh(Mode::Enforcing, None);
    let open = Rig::new(default());
    open.calls([F; 10]);
    inherited.inherit(&open.breaker, open.now);
    assert_eq!(inherited.numbers(open.now), open.breaker.numbers(open.now));
}
