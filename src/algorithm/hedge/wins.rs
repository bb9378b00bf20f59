//! Whether hedges win, and so how early the next one starts.
//!
//! A hedge wins if the slow attempt still needs longer than a whole new one. Where calls take about as long as each other, an attempt that has
//! taken longer than most is nearly over: its hedge loses. The dependency has begun to work on it all the same, and does not stop when
//! the loser is dropped. Such work fills the slots that calls need when there are few left.
//!
//! So while fewer than [`ENOUGH`] of the hedges win, the next one waits for [`LATER`] times the learned delay. An attempt that is nearly over
//! ends before that, and one that hangs is still hedged. If such hedges win, the next ones are early again.

use std::time::Duration;

use super::HedgeEnd;

/// The share of the hedges that has to win. With exponential times half of them do.
const ENOUGH: f64 = 0.1;

/// An attempt that has taken twice as long as most do is slow in earnest. Meanwhile a new one would have ended.
const LATER: u32 = 2;

/// The hedges over which the share is averaged. After eleven in vain the next ones are late, and two wins end that.
const MEMORY: f64 = 16.0;

/// See the module.
#[derive(Debug)]
pub(crate) struct HedgeWins {
    share: f64,
}

impl HedgeWins {
    /// Nothing is known: hedges win often enough.
    pub(crate) fn new() -> Self {
        Self { share: 2.0 * ENOUGH }
    }

    /// A hedge has ended.
    pub(crate) fn ended(&mut self, how: HedgeEnd) {
        let won = match how {
            HedgeEnd::Won => 1.0,
            HedgeEnd::Useless => 0.0,
            HedgeEnd::Unknown => return,
        };
        self.share += (won - self.share) / MEMORY;
    }

    /// How long an attempt may take before a hedge starts, if the delay that is learned is so long.
    pub(crate) fn delay(&self, learned: Duration) -> Duration {
        if self.share < ENOUGH { learned.saturating_mul(LATER) } else { learned }
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn delay_after(ends: impl IntoIterator<Item = HedgeEnd>) -> Duration {
        let mut wins = HedgeWins::new();
        ends.into_iter().for_each(|how| wins.ended(how));
        wins.delay(10 * MS)
    }

    #[test]
    fn hedges_in_vain_make_the_next_one_late() {
        assert_eq!(delay_after([HedgeEnd::Useless; 10]), 10 * MS);
        assert_eq!(delay_after([HedgeEnd::Useless; 11]), 20 * MS);
        assert_eq!(delay_after([HedgeEnd::Unknown; 100]), 10 * MS, "it says nothing");
    }

    #[test]
    fn two_wins_make_the_next_hedge_early_again() {
        for in_vain in [11, 1000] {
            let ends = std::iter::repeat_n(HedgeEnd::Useless, in_vain).chain([HedgeEnd::Won, HedgeEnd::Won]);
            assert_eq!(delay_after(ends), 10 * MS, "{in_vain}");
        }
    }

    #[test]
    fn one_win_in_four_is_enough() {
        let ends = (0..1000).map(|n| if n % 4 == 0 { HedgeEnd::Won } else { HedgeEnd::Useless });
        let mut wins = HedgeWins::new();
        for how in ends {
            wins.ended(how);
            assert_eq!(wins.delay(MS), MS);
        }
    }

    #[test]
    fn longest_delay_is_no_overflow() {
        let mut wins = HedgeWins::new();
        (0..11).for_each(|_| wins.ended(HedgeEnd::Useless));
        assert_eq!(wins.delay(Duration::MAX), Duration::MAX);
    }
}
