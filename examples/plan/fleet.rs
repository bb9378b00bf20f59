//! Some instances of a service, and how it goes at a rate of calls.
//!
//! Calls come at random and are spread at random, so each instance is a queue of its own. Spread by load, as a balancer does, they wait
//! less.

use crate::queueing::erlang::{Bounded, bounded};
use crate::queueing::little;
use crate::queueing::waits::Waits;
use crate::service_time::ServiceTime;

/// Where a group of servers counts as full: beyond it waits grow fast, and a small error of the rate matters.
pub(crate) const FULL: f64 = 0.8;

/// The instances are alike.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fleet {
    pub(crate) instances: u32,
    /// How many calls each serves at once.
    pub(crate) slots: u32,
    pub(crate) time: ServiceTime,
}

/// How it goes at some rate.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outlook {
    /// The calls that come, as a share of what can be served.
    pub(crate) load: f64,
    /// Of the calls that are served, in seconds.
    pub(crate) mean_wait: f64,
    pub(crate) p99_wait: f64,
    /// The share that finds the queue full.
    pub(crate) refused: f64,
}

impl Fleet {
    /// In calls a second.
    pub(crate) fn capacity(self) -> f64 {
        f64::from(self.instances) * f64::from(self.slots) / self.time.mean
    }

    /// One instance less.
    pub(crate) fn with_one_lost(self) -> Self {
        Self { instances: self.instances - 1, ..self }
    }

    /// At `rate`, if `queue_ratio` calls may wait for each slot.
    pub(crate) fn outlook(self, rate: f64, queue_ratio: f64) -> Outlook {
        if self.instances == 0 {
            return Outlook { load: f64::INFINITY, mean_wait: 0.0, p99_wait: 0.0, refused: 1.0 };
        }
        let of_one = rate / f64::from(self.instances);
        let variation = self.time.variation();
        let waits = Waits::of(self.slots, of_one, self.time.mean, variation);
        // A queue that is full takes this long.
        let longest = queue_ratio * self.time.mean;
        let places = (queue_ratio * f64::from(self.slots)) as u32;
        let Bounded { refused, waiting } = bounded(self.slots, little(of_one, self.time.mean), places.max(1));
        // Of exponential times, by Little's law. The full queue of calls that vary less is as long.
        let bounded_wait = waiting / (of_one * (1.0 - refused)) * ((1.0 + variation) / 2.0).max(1.0);
        Outlook {
            load: rate / self.capacity(),
            mean_wait: waits.mean().min(bounded_wait).min(longest),
            p99_wait: waits.quantile(0.99).min(longest),
            refused,
        }
    }

    /// The shortest queue, in calls for each slot, that refuses at most this share; or `longest`.
    pub(crate) fn queue_ratio(self, rate: f64, share: f64, longest: f64) -> f64 {
        let load = little(rate / f64::from(self.instances), self.time.mean);
        let slots = f64::from(self.slots);
        let enough = |ratio: f64| bounded(self.slots, load, (ratio * slots) as u32).refused <= share;
        // In steps of a tenth. More places refuse fewer calls, so halving finds the step.
        let (mut short, mut long) = (0, (longest * 10.0) as u32);
        while short < long {
            let middle = (short + long) / 2;
            if enough(f64::from(middle) / 10.0) { long = middle } else { short = middle + 1 }
        }
        f64::from(long) / 10.0
    }

    /// How many instances such calls need, so that they are not full.
    pub(crate) fn needed(self, rate: f64) -> u64 {
        (little(rate, self.time.mean) / (f64::from(self.slots) * FULL)).ceil().max(1.0) as u64
    }
}
