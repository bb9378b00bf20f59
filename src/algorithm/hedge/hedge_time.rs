//! How much time useless hedges may take of the dependency: a share of the time that first attempts take.
//!
//! A budget counts hedges, and counts a hedge of a second like one of a millisecond. If 97 % of the calls take 5 ms and the others need
//! 3 s, the slow ones are three of a hundred calls and 95 % of the work: to hedge them all costs three tokens, and doubles the load.
//! So hedges pay for their time as well, as far as it was useless ([`HedgeEnd`]): a first attempt that ends earns a share of what it
//! took. No hedge starts in debt; those in flight count with what hedges have usually paid. By Little's law this bounds the calls in
//! flight at the dependency: on average, useless hedges add at most the share to them.
//!
//! [`RESERVE`] lets a client with few calls hedge. It grows by [`RESERVE_GROWTH`], a tenth of one call in flight, whatever the calls
//! earn. What is earned beyond it is forgotten within [`FORGOTTEN_IN`], so that a busy hour pays for no storm of hedges after it. A debt is
//! not forgotten: it is paid.

use std::time::Duration;

use crate::ground::time::Instant;

/// The most that is kept without calls, in seconds of the dependency's time.
const RESERVE: f64 = 1.0;

/// By how much the reserve grows, in seconds a second.
const RESERVE_GROWTH: f64 = 0.1;

/// While calls come, what was earned falls by a factor of e in this time. After as long without a call, nothing of it is left.
const FORGOTTEN_IN: f64 = 20.0;

/// Over how many hedges what they pay is averaged.
const MEMORY: f64 = 16.0;

/// See the module.
#[derive(Debug)]
pub(crate) struct HedgeTime {
    /// In seconds, without the hedges in flight.
    balance: f64,
    at: Instant,
    /// What the hedges in flight are expected to pay, in seconds.
    reserved: f64,
    in_flight: u32,
    /// What a hedge usually pays, in seconds.
    usual: f64,
}

/// A hedge in flight. It [ends](HedgeTime::end) once.
#[derive(Clone, Copy, Debug)]
#[must_use]
pub(crate) struct HedgeInFlight {
    at: Instant,
    /// How long the first attempt was given: most calls take no longer.
    delay: Duration,
    /// In seconds.
    reserved: f64,
}

/// How a hedge ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HedgeEnd {
    /// It has answered the call. It pays for the time beyond the delay: a hedge that takes long itself shows that the call does.
    Won,
    /// Another attempt has answered the call, or the hedge has failed. It pays for its time.
    Useless,
    /// The call has ended without an answer: nothing is known of what the hedge was worth, and it pays nothing.
    Unknown,
}

impl HedgeTime {
    pub(crate) fn new(now: Instant) -> Self {
        Self { balance: RESERVE, at: now, reserved: 0.0, in_flight: 0, usual: 0.0 }
    }

    /// A first attempt has taken so long, of which useless hedges may take `ratio`.
    pub(crate) fn earn(&mut self, took: Duration, ratio: f64, now: Instant) {
        self.pass(now);
        self.balance += took.as_secs_f64() * ratio;
    }

    /// Starts a hedge of a call whose first attempt has taken longer than the delay, unless there is a debt.
    pub(crate) fn start(&mut self, delay: Duration, now: Instant) -> Option<HedgeInFlight> {
        self.pass(now);
        if self.left(now) < 0.0 {
            return None;
        }
        let reserved = self.usual.max(delay.as_secs_f64());
        self.in_flight += 1;
        self.reserved += reserved;
        Some(HedgeInFlight { at: now, delay, reserved })
    }

    /// The hedge has ended.
    pub(crate) fn end(&mut self, hedge: HedgeInFlight, how: HedgeEnd, now: Instant) {
        self.pass(now);
        self.in_flight = self.in_flight.saturating_sub(1);
        // Sums of rounded numbers: without calls in flight nothing is reserved.
        self.reserved = if self.in_flight == 0 { 0.0 } else { self.reserved - hedge.reserved };
        let took = now.since(hedge.at);
        let pays = match how {
            HedgeEnd::Won => took.saturating_sub(hedge.delay),
            HedgeEnd::Useless => took,
            HedgeEnd::Unknown => return,
        };
        self.balance -= pays.as_secs_f64();
        self.usual += (pays.as_secs_f64() - self.usual) / MEMORY;
    }

    /// What is left for hedges, in seconds of the dependency's time: less than zero is a debt.
    pub(crate) fn left(&self, now: Instant) -> f64 {
        after(self.balance, now.since(self.at)) - self.reserved
    }

    /// Whether it is that of a client without calls.
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
    let elapsed = elapsed.as_secs_f64();
    if balance < RESERVE {
        return (balance + elapsed * RESERVE_GROWTH).min(RESERVE);
    }
    // A power would cost as much as the rest of the record of a call.
    RESERVE + (balance - RESERVE) * (1.0 - elapsed / FORGOTTEN_IN).max(0.0)
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn at(millis: u64) -> Instant {
        Instant::from_nanos(1 << 40) + Duration::from_millis(millis)
    }

    fn is_near(actual: f64, expected: f64) -> bool {
        (actual - expected).abs() < 1e-9
    }

    #[test]
    fn hedge_pays_for_what_was_useless() {
        let left = |how| {
            let mut time = HedgeTime::new(at(0));
            let hedge = time.start(50 * MS, at(0)).unwrap();
            assert!(is_near(time.left(at(0)), 0.95), "what it is expected to pay is reserved");
            time.end(hedge, how, at(300));
            time.left(at(300))
        };
        assert!(is_near(left(HedgeEnd::Useless), 0.7));
        assert!(is_near(left(HedgeEnd::Won), 0.75), "it took longer than most calls");
        assert!(is_near(left(HedgeEnd::Unknown), 1.0));
    }

    #[test]
    fn hedges_in_flight_count_with_what_hedges_usually_pay() {
        let mut time = HedgeTime::new(at(0));
        for _ in 0..100 {
            time.earn(Duration::from_secs(3), 1.0, at(0));
            let hedge = time.start(5 * MS, at(0)).unwrap();
            // Time stands still, so that nothing is forgotten.
            time.end(
                HedgeInFlight { at: Instant::from_nanos((1 << 40) - 3_000_000_000), ..hedge },
                HedgeEnd::Useless,
                at(0),
            );
        }
        assert!(is_near(time.left(at(0)), 1.0));
        assert!(time.start(5 * MS, at(0)).is_some());
        assert!(time.left(at(0)) < -1.9 && time.start(5 * MS, at(0)).is_none());
    }

    #[test]
    fn credit_is_forgotten_and_debt_is_not() {
        let mut time = HedgeTime::new(at(0));
        time.earn(Duration::from_secs(40), 0.05, at(0));
        assert!(is_near(time.left(at(0)), 3.0));
        assert!(is_near(time.left(at(10_000)), 2.0));
        let hung = time.start(MS, at(10_000)).unwrap();
        time.end(hung, HedgeEnd::Useless, at(110_000));
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
        End(usize, HedgeEnd),
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let how = prop_oneof![Just(HedgeEnd::Won), Just(HedgeEnd::Useless), Just(HedgeEnd::Unknown)];
        prop_oneof![
            (1..5000u64).prop_map(Step::Answer),
            (0..500u64).prop_map(Step::Hedge),
            (0..50usize, how).prop_map(|(index, how)| Step::End(index, how)),
            (0..2000u64).prop_map(Step::Wait),
        ]
    }

    proptest! {
        /// Whatever comes, a hedge starts only while those that have ended have paid no more than the share of what first attempts have
        /// taken, and the reserve with its growth.
        #[test]
        fn no_hedge_starts_beyond_the_share(steps in prop::collection::vec(step(), 1..300)) {
            let (mut time, mut millis) = (HedgeTime::new(at(0)), 0);
            let (mut firsts, mut paid, mut in_flight) = (0.0, 0.0, Vec::new());
            for step in steps {
                match step {
                    Step::Wait(elapsed) => millis += elapsed,
                    Step::Answer(took) => {
                        time.earn(Duration::from_millis(took), 0.05, at(millis));
                        firsts += took as f64 / 1e3;
                    }
                    Step::End(index, how) if index < in_flight.len() => {
                        let (hedge, began, delay): (_, u64, u64) = in_flight.swap_remove(index);
                        time.end(hedge, how, at(millis));
                        paid += match how {
                            HedgeEnd::Won => (millis - began).saturating_sub(delay) as f64 / 1e3,
                            HedgeEnd::Useless => (millis - began) as f64 / 1e3,
                            HedgeEnd::Unknown => 0.0,
                        };
                    }
                    Step::End(..) => {}
                    Step::Hedge(delay) => {
                        let reserved = in_flight.iter().map(|(_, _, delay)| *delay as f64 / 1e3).sum::<f64>();
                        if let Some(hedge) = time.start(Duration::from_millis(delay), at(millis)) {
                            let earned = 0.05 * firsts + RESERVE + RESERVE_GROWTH * millis as f64 / 1e3;
                            prop_assert!(paid + reserved <= earned + 1e-6, "{} + {} of {}", paid, reserved, earned);
                            in_flight.push((hedge, millis, delay));
                        }
                    }
                }
            }
        }
    }
}
