//! The exact waits of given calls, first come, first served, by the recursion of Kiefer and Wolfowitz.

use std::collections::VecDeque;

/// When each server is free next, in order.
pub(crate) struct Fifo(Vec<f64>);

impl Fifo {
    pub(crate) fn new(servers: u32) -> Self {
        Self(vec![0.0; servers as usize])
    }

    /// The wait of the next call.
    pub(crate) fn wait(&mut self, at: f64, takes: f64) -> f64 {
        let free = self.0.as_mut_slice();
        let starts = free[0].max(at);
        let ends = starts + takes;
        // Plain loops: millions of calls are simulated in unoptimised builds.
        let mut next = 1;
        while next < free.len() && free[next] < ends {
            free[next - 1] = free[next];
            next += 1;
        }
        free[next - 1] = ends;
        starts - at
    }
}

/// The same with a bound on the calls that wait.
pub(crate) struct BoundedFifo {
    fifo: Fifo,
    places: usize,
    /// When the calls begin that wait.
    begins: VecDeque<f64>,
}

impl BoundedFifo {
    pub(crate) fn new(servers: u32, places: u32) -> Self {
        Self { fifo: Fifo::new(servers), places: places as usize, begins: VecDeque::new() }
    }

    /// Whether the next call is served.
    pub(crate) fn admits(&mut self, at: f64, takes: f64) -> bool {
        while self.begins.front().is_some_and(|begins| *begins <= at) {
            self.begins.pop_front();
        }
        let admitted = self.begins.len() < self.places;
        if admitted {
            let wait = self.fifo.wait(at, takes);
            self.begins.push_back(at + wait);
        }
        admitted
    }
}

/// Times at random.
pub(crate) struct Random(fastrand::Rng);

impl Random {
    pub(crate) fn new() -> Self {
        Self(fastrand::Rng::with_seed(1))
    }

    /// A time of exponential distribution.
    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -(1.0 - self.0.f64()).ln() * mean
    }

    /// One of two kinds of calls: nine of ten take a sixth of the mean, and the tenth takes 8.5 times the mean.
    pub(crate) fn two_kinds(&mut self, mean: f64) -> f64 {
        if self.0.u8(..10) == 0 { 8.5 * mean } else { mean / 6.0 }
    }
}

/// The variation of [`Random::two_kinds`]: E\[S²\] / E\[S\]² - 1.
pub(crate) const VARIATION_OF_TWO_KINDS: f64 = 0.9 / 36.0 + 0.1 * 8.5 * 8.5 - 1.0;
