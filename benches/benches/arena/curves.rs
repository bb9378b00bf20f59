//! A run over time, in bins: calls, good calls, attempts, and the slowest response in a hundred.

use crate::clock::Ms;
use crate::drive::Record;
use crate::score::quantile;

/// One point for each bin.
#[derive(Clone, Debug, Default)]
pub(crate) struct Curves {
    pub(crate) title: String,
    /// The length of a bin.
    pub(crate) bin: Ms,
    /// Per second.
    pub(crate) offered: Vec<f64>,
    pub(crate) good: Vec<f64>,
    pub(crate) attempts: Vec<f64>,
    /// The 99th percentile of successful calls that start in the bin, in seconds.
    pub(crate) latency: Vec<f64>,
}

impl Curves {
    /// The curves of a run of the length `until`. `attempts` are the times at which attempts arrived at the servers.
    pub(crate) fn new(
        title: impl Into<String>,
        records: &[Record],
        deadline: Ms,
        attempts: impl Iterator<Item = Ms>,
        until: Ms,
    ) -> Self {
        const BINS: Ms = 120;
        let bin = until.div_ceil(BINS).max(1);
        let place = |at: Ms| ((at / bin) as usize).min(BINS as usize - 1);
        let count = |times: &mut dyn Iterator<Item = Ms>| {
            let mut counts = vec![0.0; BINS as usize];
            times.for_each(|at| counts[place(at)] += 1000.0 / bin as f64);
            counts
        };
        let mut latencies = vec![Vec::new(); BINS as usize];
        for record in records {
            latencies[place(record.at)].extend(record.latency());
        }
        let latency =
            latencies.into_iter().map(|of_bin| quantile(of_bin.into_iter(), 0.99).unwrap_or(0) as f64 / 1000.0);
        Self {
            title: title.into(),
            bin,
            offered: count(&mut records.iter().map(|record| record.at)),
            good: count(&mut records.iter().filter(|record| record.is_good(deadline)).map(|record| record.at)),
            attempts: count(&mut { attempts }),
            latency: latency.collect(),
        }
    }
}
