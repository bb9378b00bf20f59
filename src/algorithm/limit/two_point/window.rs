//! The measurement: how long calls take at one level of the limit.
//!
//! A window is a *cohort*: a number of successive admissions. It is over when nearly all of them have ended. A window of successive
//! completions would prefer quick calls, the more so the shorter it is: with calls of 10 ms and of 40 ms, the shorter window of the
//! lower level would contain hardly any slow call, and the level would look better than it is.
//!
//! The mean is taken of `ln(1 + took / (2 * scale))`. Where all calls become longer by a factor, it rises by the logarithm of the
//! factor times a slope, the mean of `x / (1 + x)`. Near the scale this is almost the mean of the times, the least noisy measure for
//! exponential times; far above it is the mean of their logarithms, so that one call in a hundred that takes a hundred times as long
//! does not decide alone.
//!
//! Calls that queue inside the service wait for the same others: their times hardly differ from each other, and all of them change
//! together. So the variance of single times says too little about the error of their mean. What the means of a window's quarters differ
//! says the rest.

use crate::algorithm::limit::ticket::Outcome;

/// A window is over when all but one in so many of its calls have ended: the rest may hang.
const STRAGGLERS: u32 = 16;

/// Below any mean: no logarithm of zero.
const TINY: f64 = 1e-12;

/// The parts of a window.
const QUARTERS: usize = 4;

/// The calls of one cohort.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    /// The number of admissions in the epoch before it.
    first: u32,
    size: u32,
    /// The calls that may be in flight at once.
    round: u32,
    quarter: u32,
    scale: f64,
    ended: u32,
    /// Calls that were admitted after the cohort, and have ended.
    later: u32,
    full: u32,
    slow: u32,
    timed: u32,
    /// The first value. The sums are of differences from it, so that no precision is lost.
    origin: f64,
    sum: f64,
    squares: f64,
    slopes: f64,
    /// Of successive admissions.
    quarters: [Quarter; QUARTERS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Quarter {
    timed: u32,
    sum: f64,
}

/// The result of a window.
#[derive(Clone, Copy, Debug)]
pub(super) struct Summary {
    /// The mean of the logarithmic times.
    pub(super) mean: f64,
    /// How it rises with the logarithm of the times.
    pub(super) slope: f64,
    /// The number of times in it.
    pub(super) count: f64,
    /// The variance of a single time, as a logarithm.
    pub(super) noise: f64,
    /// The variance that independent times would need, for the means of the quarters to differ as much.
    pub(super) joint_noise: f64,
}

impl Summary {
    /// How much longer these times are than the other ones, as a logarithm.
    pub(super) fn longer_than(self, other: Self) -> f64 {
        let ratio = (self.mean.exp_m1().max(TINY) / other.mean.exp_m1().max(TINY)).ln();
        // This is exact where all times of a window are equal, also for levels that are far apart. Where they differ, the slopes say how far
        // the means follow them.
        let slopes_of_equal = 2.0 - (-self.mean).exp() - (-other.mean).exp();
        ratio * slopes_of_equal / (self.slope + other.slope)
    }
}

impl Window {
    /// So many rounds of calls at a limit, and no fewer than so many calls. None of them may be zero.
    pub(super) fn new(first: u32, (rounds, limit): (u32, u32), calls: u32, scale: f64) -> Self {
        let size = limit.saturating_mul(rounds).max(calls);
        Self {
            first,
            size,
            round: size / rounds,
            quarter: size.div_ceil(QUARTERS as u32),
            scale: scale.max(1.0),
            ended: 0,
            later: 0,
            full: 0,
            slow: 0,
            timed: 0,
            origin: 0.0,
            sum: 0.0,
            squares: 0.0,
            slopes: 0.0,
            quarters: Default::default(),
        }
    }

    pub(super) fn scale(&self) -> f64 {
        self.scale
    }

    /// A call of this epoch has ended.
    #[inline]
    pub(super) fn record(&mut self, index: u32, took: f64, outcome: Outcome, full: bool, slow: bool) {
        let Some(member) = index.checked_sub(self.first) else {
            return;
        };
        if member >= self.size {
            self.later = self.later.saturating_add(1);
            return;
        }
        self.ended += 1;
        self.full += u32::from(full);
        self.slow += u32::from(slow);
        // A call without an answer took that long at least. Without it, a level at which the slow calls are cut would look quick.
        if matches!(outcome, Outcome::Good | Outcome::Late) {
            let x = took / (2.0 * self.scale);
            let value = x.ln_1p();
            if self.timed == 0 {
                self.origin = value;
            }
            let value = value - self.origin;
            self.timed += 1;
            self.sum += value;
            self.squares += value * value;
            self.slopes += x / (1.0 + x);
            if let Some(quarter) = self.quarters.get_mut((member / self.quarter) as usize) {
                quarter.timed += 1;
                quarter.sum += value;
            }
        }
    }

    /// Whether enough calls have ended. Calls that hang must not keep the window open, so it also ends with twice as many later calls.
    #[inline]
    pub(super) fn is_over(&self) -> bool {
        self.ended >= self.size - self.size / STRAGGLERS || self.later / 2 >= self.size || self.is_slow()
    }

    /// Whether most calls were too slow, and half of a round.
    pub(super) fn is_slow(&self) -> bool {
        self.slow > self.round / 2 && self.slow > self.ended / 2
    }

    /// Whether the limit was in use all the time.
    pub(super) fn is_full(&self) -> bool {
        f64::from(self.full) >= 0.98 * f64::from(self.ended)
    }

    /// The number of times in each quarter but the last one, and their sum.
    fn ended_quarters(&self) -> impl Iterator<Item = (f64, f64)> {
        let quarters = self.quarters.iter().take(QUARTERS - 1).filter(|quarter| quarter.timed > 0);
        quarters.map(|quarter| (f64::from(quarter.timed), quarter.sum))
    }

    /// The times, if at least half of the calls have one.
    pub(super) fn summary(&self) -> Option<Summary> {
        if self.timed < 2 || self.timed < self.size / 2 {
            return None;
        }
        let count = f64::from(self.timed);
        let mean = self.sum / count;
        let slope = (self.slopes / count).max(1e-9);
        let variance = (self.squares / count - mean * mean).max(0.0) * count / (count - 1.0);
        // Not the last one, whose slow calls may be missing.
        let (timed, sum) =
            self.ended_quarters().fold((0.0, 0.0), |(timed, sum), quarter| (timed + quarter.0, sum + quarter.1));
        let distances = self.ended_quarters().map(|quarter| quarter.0 * (quarter.1 / quarter.0 - sum / timed).powi(2));
        let joint_variance = match self.ended_quarters().count() {
            0 | 1 => variance,
            count => distances.sum::<f64>() / (count - 1) as f64,
        };
        let (noise, joint_noise) = (variance / (slope * slope), joint_variance / (slope * slope));
        Some(Summary { mean: self.origin + mean, slope, count, noise, joint_noise })
    }
}

#[cfg(all(test, not(seawall_loom)))]
mod tests {
    use super::*;

    fn summary(scale: f64, times: impl ExactSizeIterator<Item = f64>) -> Summary {
        let mut window = Window::new(0, (1, 1), times.len() as u32, scale);
        for (index, took) in times.enumerate() {
            window.record(index as u32, took, Outcome::Good, true, false);
        }
        window.summary().expect("enough times")
    }

    #[test]
    fn equal_times_are_compared_exactly_however_far_apart() {
        for times in [1.0, 1.1, 2.0, 20.0, 1000.0] {
            let summary = |took| summary(1e6, std::iter::repeat_n(took, 40));
            let longer = summary(1e6 * times).longer_than(summary(1e6));
            assert!((longer - f64::ln(times)).abs() < 1e-6, "{times}: {longer}");
        }
    }

    #[test]
    fn uneven_times_are_compared_nearly_exactly() {
        for times in [1.1, 1.5, 2.0, 4.0] {
            let mut random = fastrand::Rng::with_seed(101);
            let sample: Vec<_> = (0..20_000).map(|_| -1e6 * (1.0 - random.f64()).ln()).collect();
            let longer =
                summary(1e6, sample.iter().map(|took| took * times)).longer_than(summary(1e6, sample.iter().copied()));
            assert!((longer / f64::ln(times) - 1.0).abs() < 0.03, "{times}: {longer}");
        }
    }

    /// Calls of one round wait for the same others.
    #[test]
    fn times_that_change_together_are_noisier_than_their_differences() {
        let mut random = fastrand::Rng::with_seed(101);
        let mut mean = |rounds: usize, calls: usize| {
            let of_window = |_| {
                let waits: Vec<_> = (0..rounds).map(|_| 1e6 * (0.5 + random.f64())).collect();
                summary(1e6, (0..rounds * calls).map(|call| waits[call / calls]))
            };
            let all: Vec<_> = (0..200).map(of_window).collect();
            let mean = |noise: fn(&Summary) -> f64| all.iter().map(noise).sum::<f64>() / 200.0;
            (mean(|window| window.noise), mean(|window| window.joint_noise))
        };
        let (single, joint) = mean(400, 1);
        assert!((joint / single - 1.0).abs() < 0.2, "independent: {single} {joint}");
        let (single, joint) = mean(20, 20);
        assert!((joint / single / 20.0 - 1.0).abs() < 0.2, "in rounds of twenty: {single} {joint}");
    }

    /// As many calls as a limit in flight, which never queue: the last ones of a window are missing, and these are slow.
    #[test]
    fn calls_that_have_not_ended_hardly_count_as_noise() {
        for limit in [16, 64, 200] {
            let mut random = fastrand::Rng::with_seed(101);
            let (mut all, mut now, mut next) = (Vec::new(), 0, 0);
            let mut in_flight = std::collections::BinaryHeap::new();
            while all.len() < 40 {
                let mut window = Window::new(next, (4, limit), 250, 1e6);
                while !window.is_over() {
                    while in_flight.len() < limit as usize {
                        let took = (-1e6 * (1.0 - random.f64()).ln()) as u64;
                        in_flight.push((std::cmp::Reverse(now + took), next, took));
                        next += 1;
                    }
                    let (end, index, took) = in_flight.pop().expect("a call in flight");
                    now = end.0;
                    window.record(index, took as f64, Outcome::Good, true, false);
                }
                all.push(window.summary().expect("enough times"));
            }
            let mean = |noise: fn(&Summary) -> f64| all.iter().map(noise).sum::<f64>() / all.len() as f64;
            let (single, joint) = (mean(|window| window.noise), mean(|window| window.joint_noise));
            assert!((0.6..2.5).contains(&(joint / single)), "{limit}: {joint} for {single}");
        }
    }
}
