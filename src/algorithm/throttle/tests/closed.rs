//! The law around a dependency that takes so many calls a second and refuses the others at once.

use super::*;

/// A dependency and its client, step by step. Chances come from a sequence that fills the unit interval evenly.
struct Closed {
    throttle: AdaptiveThrottle,
    calls: u32,
    now: Instant,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Totals {
    sent: u32,
    accepted: u32,
    refused_here: u32,
}

impl Closed {
    fn new() -> Self {
        Self { throttle: new(), calls: 0, now: START }
    }

    /// Runs for so many seconds, with so many calls in each tenth of a second, of which the dependency takes so many.
    fn run(&mut self, policy: &ThrottlePolicy, seconds: u32, offered: u32, taken: u32) -> Totals {
        let mut totals = Totals::default();
        for _ in 0..10 * seconds {
            let mut left = taken;
            for _ in 0..offered {
                self.calls += 1;
                let chance = f64::from(self.calls) * 0.618_033_988_749_895 % 1.0;
                match self.throttle.admit(policy, Normal, self.now, || chance) {
                    Ok(call) if left > 0 => {
                        self.throttle.answered(call);
                        left -= 1;
                        totals.sent += 1;
                        totals.accepted += 1;
                    }
                    Ok(call) => {
                        totals.sent += 1;
                        self.throttle.refused(call, None, self.now);
                    }
                    Err(_) => totals.refused_here += 1,
                }
            }
            self.now = self.now + 100 * MS;
        }
        totals
    }
}

#[test]
fn client_sends_twice_as_many_as_are_accepted() {
    for offered in [100, 200, 300, 500, 1000] {
        let mut closed = Closed::new();
        closed.run(&POLICY, 10, offered, 100);
        let totals = closed.run(&POLICY, 20, offered, 100);
        let (sent, accepted) = (f64::from(totals.sent), f64::from(totals.accepted));
        assert_eq!(totals.accepted, 20_000, "{offered}: the dependency is never idle");
        let expected = if offered <= 200 { f64::from(offered) / 100.0 } else { 2.0 };
        assert!((sent / accepted - expected).abs() < 0.05, "{offered}: {totals:?}");
    }
}

#[test]
fn share_is_bounded_if_nothing_is_accepted() {
    let mut closed = Closed::new();
    closed.run(&POLICY, 1, 100, 0);
    let totals = closed.run(&POLICY, 20, 100, 0);
    assert!((f64::from(totals.sent) / 20_000.0 - 0.1).abs() < 0.01, "{totals:?}");
}

/// The probes keep a client informed whose calls are few.
#[test]
fn all_calls_are_sent_within_a_window_of_the_end_of_the_overload() {
    for offered in [1, 10, 100, 1000] {
        let mut closed = Closed::new();
        closed.run(&POLICY, 30, offered, 0);
        closed.run(&POLICY, 10, offered, offered);
        let totals = closed.run(&POLICY, 20, offered, offered);
        assert_eq!(totals.refused_here, 0, "{offered}");
    }
}

#[test]
fn many_calls_are_sent_within_a_fifth_of_the_window() {
    for taken in [0, 30] {
        let mut closed = Closed::new();
        closed.run(&POLICY, 30, 100, taken);
        closed.run(&POLICY, 2, 100, 100);
        assert_eq!(closed.run(&POLICY, 20, 100, 100).refused_here, 0, "{taken}");
    }
}

#[test]
fn part_of_the_capacity_that_returns_is_used() {
    let mut closed = Closed::new();
    closed.run(&POLICY, 30, 1000, 10);
    closed.run(&POLICY, 10, 1000, 400);
    let totals = closed.run(&POLICY, 10, 1000, 400);
    assert_eq!(totals.accepted, 40_000, "{totals:?}");
}
