//! How much time hedges may take of the dependency: a share of the time that first attempts take.
//!
//! A budget counts hedges, and counts a hedge of a second like one of a millisecond. If 97 % of the calls take 5 ms and the others need
//! 3 s, the slow ones are three of a hundred calls and 95 % of the work: to hedge them all costs three tokens, and doubles the load.
//! So hedges pay for their time as well. A first attempt that ends earns a share of what it took; a hedge takes what it took, and while
//! it is in flight what it has had so far, or was expected to take. No hedge starts in debt. By Little's law this bounds the calls in
//! flight at the dependency: on average, hedges add at most the share to them.
//!
//! [`RESERVE`] lets a client with few calls hedge. It grows by [`RESERVE_GROWTH`], a tenth of one call in flight, whatever the calls
//! earn. What is earned beyond it is halved in [`HALF_LIFE`], so that a busy hour pays for no storm of hedges after it. A debt is not
//! forgotten: it is paid.

use std::time::Duration;

use crate::ground::time::{self, Instant};

/// The most that is kept without calls, in seconds of the dependency's time.
const RESERVE: f64 = 1.0;

/// By how much the reserve grows, in seconds a second.
const RESERVE_GROWTH: f64 = 0.1;

/// See the module.
const HALF_LIFE: Duration = Duration::from_secs(10);

/// See the module.
#[derive(Debug)]
pub(crate) struct HedgeTime {
    /// In seconds, without the hedges in flight.
    balance: f64,
    at: Instant,
    in_flight: u32,
    /// The sum of the instants at which the hedges in flight would have started if they had had the expected time already.
    started: u128,
}

/// A hedge in flight. It [ends](HedgeTime::end) once.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub(crate) struct HedgeInFlight {
    at: Instant,
    /// [`at`](Self::at) less the expected time, in nanoseconds.
    since: u64,
}

impl HedgeTime {
    pub(crate) fn new(now: Instant) -> Self {
        Self { balance: RESERVE, at: now, in_flight: 0, started: 0 }
    }

    /// A first attempt has taken so long, of which hedges may take `ratio`.
    pub(crate) fn earn(&mut self, took: Duration, ratio: f64, now: Instant) {
        self.pass(now);
        self.balance += took.as_secs_f64() * ratio;
    }

    /// Starts a hedge that is expected to take so long at least, unless there is a debt.
    pub(crate) fn start(&mut self, expected: Duration, now: Instant) -> Option<HedgeInFlight> {
        self.pass(now);
        if self.left(now) < 0.0 {
            return None;
        }
        let started = HedgeInFlight { at: now, since: now.as_nanos().saturating_sub(time::nanos(expected)) };
        self.in_flight += 1;
        self.started += u128::from(started.since);
        Some(started)
    }

    /// The hedge has ended.
    pub(crate) fn end(&mut self, hedge: HedgeInFlight, now: Instant) {
        self.pass(now);
        self.in_flight = self.in_flight.saturating_sub(1);
        self.started = self.started.saturating_sub(u128::from(hedge.since));
        self.balance -= now.since(hedge.at).as_secs_f64();
    }

    /// What is left for hedges, in seconds of the dependency's time: less than zero is a debt.
    pub(crate) fn left(&self, now: Instant) -> f64 {
        let in_flight = u128::from(self.in_flight) * u128::from(now.as_nanos());
        after(self.balance, now.since(self.at)) - in_flight.saturating_sub(self.started) as f64 / 1e9
    }

    /// Whether it differs from that of a client without calls.
    pub(crate) fn is_as_new(&self, now: Instant) -> bool {
        self.in_flight == 0 && self.left(now) >= RESERVE
    }

    fn pass(&mut self, now: Instant) {
        self.balance = after(self.balance, now.since(self.at));
        self.at = self.at.max(now);
    }
}

/// The balance after this time without calls.
fn after(balance: f64, elapsed: Duration) -> f64 {
    if balance < RESERVE {
        return (balance + elapsed.as_secs_f64() * RESERVE_GROWTH).min(RESERVE);
    }
    RESERVE + (balance - RESERVE) * (-elapsed.as_secs_f64() / HALF_LIFE.as_secs_f64()).exp2()
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(1 << 40) + Duration::from_millis(millis)
    }

    #[test]
    fn hedges_in_flight_count_with_what_they_have_had() {
        let mut time = HedgeTime::new(at(0));
        let first = time.start(5 * MS, at(0)).unwrap();
        assert!((time.left(at(0)) - 0.995).abs() < 1e-9);
        let second = time.start(5 * MS, at(800)).unwrap();
        assert!(time.start(5 * MS, at(1000)).is_none(), "1.2 s of time, and a reserve of one");
        time.end(second, at(1000));
        time.end(first, at(1000));
        assert!((time.left(at(1000)) + 0.2).abs() < 1e-9, "{}", time.left(at(1000)));
        assert!(time.start(5 * MS, at(2000)).is_none());
        assert!(time.start(5 * MS, at(3001)).is_some(), "the reserve grows by a tenth of a second a second");
    }

    #[test]
    fn credit_is_forgotten_and_debt_is_not() {
        let mut time = HedgeTime::new(at(0));
        time.earn(Duration::from_secs(40), 0.05, at(0));
        assert!((time.left(at(0)) - 3.0).abs() < 1e-9);
        time.pass(at(10_000));
        assert!((time.left(at(10_000)) - 2.0).abs() < 1e-9);
        let hung = time.start(MS, at(10_000)).unwrap();
        time.end(hung, at(110_000));
        assert!(!time.is_as_new(at(110_000)));
        assert!(time.start(MS, at(111_000)).is_none());
        let owed = -time.left(at(111_000));
        assert!((98.0..100.0).contains(&owed), "{owed}");
    }

    /// What a client does in a step of time.
    #[derive(Clone, Debug)]
    enum Step {
        Answer(u64),
        Hedge(u64),
        End(usize),
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (1..5000u64).prop_map(Step::Answer),
            (0..500u64).prop_map(Step::Hedge),
            (0..50usize).prop_map(Step::End),
            (0..2000u64).prop_map(Step::Wait),
        ]
    }

    proptest! {
        /// Whatever comes, a hedge starts only while all hedges so far, with those in flight, have had no more than the share of what
        /// first attempts have had, and the reserve with its growth.
        #[test]
        fn no_hedge_starts_beyond_the_share(steps in prop::collection::vec(step(), 1..300)) {
            let (mut time, mut millis) = (HedgeTime::new(at(0)), 0);
            let (mut firsts, mut ended, mut in_flight) = (0.0, 0.0, Vec::new());
            for step in steps {
                match step {
                    Step::Wait(elapsed) => millis += elapsed,
                    Step::Answer(took) => {
                        time.earn(Duration::from_millis(took), 0.05, at(millis));
                        firsts += took as f64 / 1e3;
                    }
                    Step::End(index) if index < in_flight.len() => {
                        let (hedge, began) = in_flight.swap_remove(index);
                        time.end(hedge, at(millis));
                        ended += (millis - began) as f64 / 1e3;
                    }
                    Step::End(_) => {}
                    Step::Hedge(expected) => {
                        let so_far: f64 = in_flight.iter().map(|(_, began)| (millis - began) as f64 / 1e3).sum();
                        if let Some(hedge) = time.start(Duration::from_millis(expected), at(millis)) {
                            let earned = 0.05 * firsts + RESERVE + RESERVE_GROWTH * millis as f64 / 1e3;
                            prop_assert!(ended + so_far <= earned + 1e-6, "{} + {} of {}", ended, so_far, earned);
                            in_flight.push((hedge, millis));
                        }
                    }
                }
            }
        }
    }
}
