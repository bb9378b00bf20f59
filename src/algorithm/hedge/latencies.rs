//! What a learned delay is learned from: the latencies of calls that succeed, and of some that do not.
//!
//! A call that ends without an answer, at its deadline or because it is dropped, is a censored observation: its latency is longer than
//! the time that it had. If no such call counted, a dependency that became too slow for the deadlines of its calls would keep the
//! quantile of the time before, and the budget would pay for useless hedges until the old samples are forgotten. If each of them
//! counted, one dead instance of three would stop the hedges that its calls need. What tells these two apart is whether hedges win. So
//! unanswered calls count only while no hedge does.

use std::time::Duration;

use super::quantile::{DecayingQuantile, QuantileRules};
use crate::ground::time::Instant;

/// So many hedged calls in a row have to end without an answer, and without a hedge that wins in between, before the next ones count.
/// If one hedge in three wins, fewer than one unanswered call in a thousand counts. If one in twenty wins, it is one in three.
const FRUITLESS: u32 = 20;

/// See the module.
#[derive(Debug)]
pub(crate) struct Latencies {
    quantile: DecayingQuantile,
    /// How many hedged calls have ended without an answer since a hedge won.
    fruitless: u32,
}

impl Latencies {
    pub(crate) fn new(rules: QuantileRules, now: Instant) -> Self {
        Self { quantile: DecayingQuantile::new(rules, now), fruitless: 0 }
    }

    /// A call has succeeded. Its first attempt took so long, or would have taken so long at least if a hedge has won.
    pub(crate) fn succeeded(&mut self, took: Duration, by_hedge: bool, rules: &QuantileRules, now: Instant) {
        if by_hedge {
            self.fruitless = 0;
        }
        self.quantile.record(took, rules, now);
    }

    /// A hedged call has ended, and neither its first attempt, which had so long, nor a later one was answered.
    pub(crate) fn unanswered(&mut self, had: Duration, rules: &QuantileRules, now: Instant) {
        if self.fruitless < FRUITLESS {
            self.fruitless += 1;
        } else {
            self.quantile.record_at_least(had, rules, now);
        }
    }

    /// See [`DecayingQuantile::get`].
    pub(crate) fn quantile(&mut self, rules: &QuantileRules, now: Instant) -> Option<Duration> {
        self.quantile.get(rules, now)
    }

    /// Whether it holds no sample that counts.
    pub(crate) fn is_empty(&mut self, now: Instant) -> bool {
        self.quantile.is_empty(now)
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use super::*;

    const NOW: Instant = Instant::from_nanos(1 << 63);
    const RULES: QuantileRules = QuantileRules { quantile: 0.95, min_samples: 1, half_life: Duration::from_secs(60) };
    const QUICK: Duration = Duration::from_millis(10);
    const SLOW: Duration = Duration::from_millis(500);

    /// The quantile after a thousand successes and so many unanswered calls, with a hedge that wins after each `winning_after`.
    fn after(unanswered: u32, winning_after: u32, had: Duration) -> Duration {
        let mut latencies = Latencies::new(RULES, NOW);
        for _ in 0..1000 {
            latencies.succeeded(QUICK, false, &RULES, NOW);
        }
        for count in 1..=unanswered {
            latencies.unanswered(had, &RULES, NOW);
            if count % winning_after == 0 {
                latencies.succeeded(QUICK, true, &RULES, NOW);
            }
        }
        latencies.quantile(&RULES, NOW).unwrap()
    }

    #[test]
    fn unanswered_calls_count_while_no_hedge_wins() {
        assert!(after(FRUITLESS + 50, u32::MAX, SLOW) < 2 * QUICK, "one in twenty of all");
        assert!(after(FRUITLESS + 60, u32::MAX, SLOW) > SLOW);
        assert!(after(1000, FRUITLESS, SLOW) < 2 * QUICK, "some hedges win");
    }

    #[test]
    fn unanswered_call_with_less_time_than_the_quantile_proves_nothing() {
        assert_eq!(after(5000, u32::MAX, QUICK / 2), after(0, 1, SLOW));
    }
}
