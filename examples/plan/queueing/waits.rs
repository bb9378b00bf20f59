//! How long calls wait, first come, first served, in a queue without end.

use super::erlang::erlang_c;
use super::little;

/// The waits of calls that come at random. A share waits, and for these the wait is exponential.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waits {
    /// The share of the calls that wait.
    waiting: f64,
    /// The mean wait of those.
    mean_if_waiting: f64,
}

impl Waits {
    /// The waits at this number of servers. `variation` is that of service times: their variance, divided by the square of their mean.
    ///
    /// Exact for exponential times (Erlang C), whose variation is 1. The mean is exact for one server and any times (Pollaczek and
    /// Khinchine); everything else is the approximation of Lee and Longton: the wait of exponential times, scaled by (1 + variation) / 2.
    pub(crate) fn of(servers: u32, rate: f64, mean: f64, variation: f64) -> Self {
        let load = little(rate, mean);
        let free = f64::from(servers) - load;
        let mean_if_waiting = if free > 0.0 { mean / free * (1.0 + variation) / 2.0 } else { f64::INFINITY };
        Self { waiting: erlang_c(servers, load), mean_if_waiting }
    }

    /// The mean over all calls. Infinite if the servers cannot serve all.
    pub(crate) fn mean(self) -> f64 {
        if self.waiting > 0.0 { self.waiting * self.mean_if_waiting } else { 0.0 }
    }

    /// The wait that this share of the calls does not exceed.
    pub(crate) fn quantile(self, share: f64) -> f64 {
        if self.waiting <= 1.0 - share { 0.0 } else { self.mean_if_waiting * (self.waiting / (1.0 - share)).ln() }
    }
}
