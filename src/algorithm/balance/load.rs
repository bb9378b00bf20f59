//! What a choice knows of an endpoint and of the set: calls in flight, and what a call costs.
//!
//! The *cost* of a call is its latency. A failure costs at least [`FAILURE_COST`] times the usual latency of successes, so an endpoint
//! that fails fast does not look fast. The penalty is relative and is taken from successes only: if all endpoints fail alike, all have
//! the same cost, and penalties do not feed on themselves.
//!
//! An estimate is *stale* after [`STALE_AFTER`] without a sample, and moves toward the average of the set until then. A stale estimate
//! is unknown, which is worse than no other: so an endpoint that is never chosen is tried again. The trial renews the estimate before
//! its answer is there, so one call makes the trial and not all calls of that moment.

use std::time::Duration;

use super::average::Average;
use super::reported_load::{ReportedLoad, ReportedMean};
use crate::ground::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use crate::ground::time::{Instant, nanos};

/// Without a sample for this long, the cost of an endpoint is unknown.
pub(crate) const STALE_AFTER: Duration = Duration::from_secs(5);

/// A failure costs as much as this many successes: the caller has to call again, if it can.
const FAILURE_COST: f64 = 10.0;

/// The quantile of calls in flight above which an endpoint is hot. Prequal found values from 0.6 to 0.9 to be equally good.
const HOT_QUANTILE: f64 = 0.84;

/// The load of one endpoint. It outlives changes of the set. A choice reads the first fields, and the others only if endpoints report
/// their load.
#[derive(Debug)]
#[repr(C)]
pub(crate) struct EndpointLoad {
    /// The permits in use: of the calls in flight, and of those that have failed early.
    taken: AtomicU32,
    /// Those of calls that have failed early.
    kept: AtomicU32,
    cost: Average,
    /// The last choice of this endpoint while its estimate had no fresh sample.
    tried: AtomicU64,
    reported: ReportedLoad,
    /// The bits of an `f64`.
    weight: AtomicU64,
}

/// What all endpoints of a set have in common. It outlives changes of the set.
#[derive(Debug)]
pub(crate) struct SetLoad {
    cost: Average,
    success: Average,
    reported: ReportedMean,
    /// The quantile of the loads seen, as the bits of an `f64`.
    hot_above: AtomicU64,
}

impl EndpointLoad {
    pub(crate) fn new() -> Self {
        Self {
            taken: AtomicU32::new(0),
            kept: AtomicU32::new(0),
            cost: Average::new(),
            reported: ReportedLoad::new(),
            weight: AtomicU64::new(1.0_f64.to_bits()),
            tried: AtomicU64::new(0),
        }
    }

    /// Takes a permit for a call, unless `limit` are taken. Returns how many calls are in flight with it. A permit that is taken is
    /// [released](Self::end) once.
    pub(crate) fn begin(&self, now: Instant, limit: u32) -> Option<u32> {
        // In one total order with the count of calls that wait for a permit: either a call that begins to wait sees the release of
        // another one, or that one sees that a call waits.
        let mut taken = self.taken.load(Ordering::SeqCst);
        loop {
            if taken >= limit {
                return None;
            }
            match self.taken.compare_exchange_weak(taken, taken + 1, Ordering::SeqCst, Ordering::SeqCst) {
                Ok(_) => break,
                Err(actual) => taken = actual,
            }
        }
        // A busy endpoint does not write here.
        if self.idle(now) > nanos(STALE_AFTER) / 8 {
            self.tried.store(now.as_nanos(), Ordering::Relaxed);
        }
        Some((taken + 1).saturating_sub(self.kept.load(Ordering::Relaxed)).max(1))
    }

    /// Releases the permit of a call.
    #[inline]
    pub(crate) fn end(&self) {
        let before = self.taken.fetch_sub(1, Ordering::SeqCst);
        debug_assert!(before > 0, "a permit is released once");
    }

    /// The call is no longer in flight, and its permit stays in use.
    pub(crate) fn keep(&self) {
        self.kept.fetch_add(1, Ordering::Relaxed);
    }

    /// Releases such a permit.
    pub(crate) fn end_kept(&self) {
        self.kept.fetch_sub(1, Ordering::Relaxed);
        self.end();
    }

    /// Whether permits of calls that have failed early are in use.
    #[inline]
    pub(crate) fn keeps_permits(&self) -> bool {
        self.kept.load(Ordering::Relaxed) > 0
    }

    pub(crate) fn succeeded(&self, now: Instant, took: Duration, set: &SetLoad) {
        let took = nanos(took) as f64;
        set.success.record_next(now, took);
        self.record(now, took, set);
    }

    /// The call failed, or the endpoint refused it: either way the caller has no answer.
    pub(crate) fn failed(&self, now: Instant, took: Duration, set: &SetLoad) {
        // Before any success the cost of a failure is unknown. A constant could be wrong by orders of magnitude, and one early failure
        // would then keep calls away until the estimate is stale.
        let Some((usual, _)) = set.success.read() else { return };
        self.record(now, (usual * FAILURE_COST).max(nanos(took) as f64), set);
    }

    /// The caller gave up. The answer would have taken longer, which is news only if it is more than what was expected.
    pub(crate) fn abandoned(&self, now: Instant, took: Duration, set: &SetLoad) {
        let (took, mean) = (nanos(took) as f64, set.mean_cost());
        if self.cost(now, mean).or(mean).is_none_or(|cost| took > cost) {
            self.record(now, took, set);
        }
    }

    /// How many calls are in flight.
    #[inline]
    pub(crate) fn in_flight(&self) -> u32 {
        self.taken().saturating_sub(self.kept.load(Ordering::Relaxed))
    }

    /// How many permits are in use.
    #[inline]
    pub(crate) fn taken(&self) -> u32 {
        self.taken.load(Ordering::Relaxed)
    }

    pub(crate) fn set_weight(&self, weight: f64) {
        self.weight.store(weight.to_bits(), Ordering::Relaxed);
    }

    /// A response of this endpoint says that so many other calls are in flight there, of all clients.
    pub(crate) fn reported(&self, now: Instant, in_flight: u32, set: &SetLoad) {
        // The call of the response is counted until its body is over.
        let own = self.in_flight().saturating_sub(1);
        self.reported.report(now, in_flight, own, self.weight(), set.mean_cost(), &set.reported);
    }

    /// How many more calls of other clients are here than at an average endpoint of its weight, as far as that is reported.
    #[inline]
    pub(crate) fn reported_above_average(&self, now: Instant, set: &SetLoad) -> f64 {
        // Most services report nothing.
        if set.reported.is_unknown() { 0.0 } else { self.above_average(now, set) }
    }

    fn above_average(&self, now: Instant, set: &SetLoad) -> f64 {
        self.reported.above_average(now, self.weight(), set.mean_cost(), &set.reported)
    }

    fn weight(&self) -> f64 {
        f64::from_bits(self.weight.load(Ordering::Relaxed))
    }

    /// The cost of a call in nanoseconds, as far as it is known, in a set with this [mean](SetLoad::mean_cost). See the module.
    #[inline]
    pub(crate) fn cost(&self, now: Instant, mean: Option<f64>) -> Option<f64> {
        let (cost, _) = self.cost.read()?;
        aged(cost, self.idle(now), mean.unwrap_or(cost))
    }

    /// The same as it was at the last sample, unless that is too old.
    pub(crate) fn last_cost(&self, now: Instant) -> Option<f64> {
        let (cost, at) = self.cost.read()?;
        (now.since(at) < STALE_AFTER).then_some(cost)
    }

    /// The nanoseconds since the last sample or trial.
    #[inline]
    fn idle(&self, now: Instant) -> u64 {
        now.nanos_since(Instant::from_nanos(self.tried.load(Ordering::Relaxed)).max(self.cost.at()))
    }

    fn record(&self, now: Instant, sample: f64, set: &SetLoad) {
        // The age counts from the last sample here, not from the trial.
        let before =
            self.cost.read().and_then(|(cost, at)| aged(cost, now.nanos_since(at), set.mean_cost().unwrap_or(cost)));
        match before {
            Some(before) => self.cost.record(now, sample, before),
            None => self.cost.restart(now, sample),
        }
        set.cost.record_next(now, sample);
    }
}

impl SetLoad {
    pub(crate) fn new() -> Self {
        Self {
            cost: Average::new(),
            success: Average::new(),
            reported: ReportedMean::new(),
            hot_above: AtomicU64::new(0),
        }
    }

    /// The cost of a call, averaged over calls.
    #[inline]
    pub(crate) fn mean_cost(&self) -> Option<f64> {
        self.cost.read().map(|(cost, _)| cost)
    }

    /// How long a call takes that succeeds.
    pub(crate) fn usual(&self) -> Option<Duration> {
        self.success.read().map(|(usual, _)| Duration::from_nanos(usual as u64))
    }

    /// Whether a refusal after this time came at once: within an eighth of the time of a success.
    pub(crate) fn is_quick(&self, took: Duration) -> bool {
        self.success.read().is_some_and(|(usual, _)| nanos(took) as f64 * 8.0 < usual)
    }

    /// Endpoints with a higher load are hot.
    #[inline]
    pub(crate) fn hot_above(&self) -> f64 {
        f64::from_bits(self.hot_above.load(Ordering::Relaxed))
    }

    /// Moves the quantile by one load that a choice has seen. The steps up and down are in the ratio that the quantile balances (Ma,
    /// Muthukrishnan and Sandler, 2013), and never pass the sample: if all loads are equal, none is hot.
    #[inline]
    pub(crate) fn observe(&self, load: f64) {
        let level = self.hot_above();
        let step = level.max(1.0) / 16.0;
        let next = if load > level {
            (level + step * HOT_QUANTILE).min(load)
        } else {
            (level - step * (1.0 - HOT_QUANTILE)).max(load)
        };
        if next != level {
            self.hot_above.store(next.to_bits(), Ordering::Relaxed);
        }
    }
}

/// Moves from `cost` to `mean` while the estimate grows stale; `None` after that.
#[inline]
fn aged(cost: f64, idle: u64, mean: f64) -> Option<f64> {
    let age = idle as f64 / nanos(STALE_AFTER) as f64;
    (age < 1.0).then_some(cost + (mean - cost) * age)
}

#[cfg(all(test, not(seawall_loom)))]
mod tests;
