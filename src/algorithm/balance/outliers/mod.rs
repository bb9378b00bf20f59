//! Which endpoints get no calls for a while, because they do worse than the others of their tier.
//!
//! After gRFC A50. Once in an interval the owner takes the counts of each endpoint and calls [`Outliers::sweep`]. An outlier is ejected
//! for `base_ejection_time` times its multiplier, which grows with each ejection. It shrinks with each interval in which the endpoint was in
//! and healthy: it had enough calls for the criterion that has ejected it, and was no outlier. An endpoint that comes back with few
//! calls has not shown that it is well.
//!
//! Ejection is bounded, since each one moves calls to the others: at most `max_ejection_percent` of a tier, but at least one endpoint
//! of it may be ejected, and at least one stays. A50 looks at the percentage before each ejection only, and so exceeds it by one; here
//! it is never exceeded. If there are more outliers than the bound allows, the worst are ejected. If the tier shrinks,
//! [`Outliers::bound`] brings endpoints back.
//!
//! A50 knows no tiers. Here each tier is compared and bounded by itself: idle standbys must not make room for the ejection of a whole
//! tier, and a remote tier is slower than the first one without being bad.
//!
//! Ejected endpoints are not judged and do not count in the mean: what still comes from them was sent before the ejection, and is
//! stale. An ejection cuts no call that is under way.
//!
//! The criteria are in [`criteria`].

use std::collections::{BTreeMap, HashSet};
use std::time::Duration;

use super::call_counter::CallCounts;
use crate::ground::time::Instant;

mod criteria;

pub(crate) use criteria::{FailurePercentage, Slowness, SuccessRate};

/// The settings of outlier detection. Defaults are those of A50, except for the share, and for what A50 does not have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Outliers {
    pub(crate) base_ejection_time: Duration,
    /// An ejection is never longer than this or `base_ejection_time`, whichever is longer.
    pub(crate) max_ejection_time: Duration,
    /// At most this percentage of a tier is ejected, but one endpoint of it always may be. Zero turns ejection off. A50 has 10.
    pub(crate) max_ejection_percent: u32,
    pub(crate) success_rate: Option<SuccessRate>,
    pub(crate) failure_percentage: Option<FailurePercentage>,
    pub(crate) slowness: Option<Slowness>,
}

impl Default for Outliers {
    fn default() -> Self {
        Self {
            base_ejection_time: Duration::from_secs(30),
            max_ejection_time: Duration::from_secs(300),
            max_ejection_percent: 50,
            success_rate: Some(SuccessRate::default()),
            failure_percentage: Some(FailurePercentage::default()),
            slowness: Some(Slowness::default()),
        }
    }
}

/// The ejections of one endpoint. The owner keeps it while the endpoint is in the set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct EjectionRecord {
    ejected_at: Option<Instant>,
    multiplier: u32,
    /// Why it was ejected last.
    reason: Option<EjectionReason>,
    /// It was slow in the last interval.
    slow: bool,
}

impl EjectionRecord {
    pub(crate) fn is_ejected(&self) -> bool {
        self.ejected_at.is_some()
    }

    /// When the ejection began that is under way.
    pub(crate) fn ejected_at(&self) -> Option<Instant> {
        self.ejected_at
    }

    /// Ends the ejection early, for example after an active check has passed. The multiplier stays: it falls with time.
    pub(crate) fn restore(&mut self) {
        self.ejected_at = None;
    }
}

/// An endpoint and its counts in the interval that ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Judged {
    pub(crate) record: EjectionRecord,
    pub(crate) counts: CallCounts,
    /// Endpoints are compared with those of the same tier only.
    pub(crate) tier: u16,
}

/// Why an endpoint was ejected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EjectionReason {
    SuccessRate,
    FailurePercentage,
    Latency,
}

impl EjectionReason {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::SuccessRate => "success_rate",
            Self::FailurePercentage => "failure_percentage",
            Self::Latency => "latency",
        }
    }
}

/// What a sweep has changed, by index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EjectionChange {
    Ejected(usize, EjectionReason),
    Restored(usize),
}

impl EjectionChange {
    /// The same change, where `positions` has the index of each endpoint in a larger set.
    fn within(self, positions: &[usize]) -> Option<Self> {
        Some(match self {
            Self::Ejected(i, reason) => Self::Ejected(*positions.get(i)?, reason),
            Self::Restored(i) => Self::Restored(*positions.get(i)?),
        })
    }
}

impl Outliers {
    /// Judges the endpoints of a set by the interval that ends at `now`, and ends ejections that are over. `chance` draws samples in
    /// `0.0..1.0`.
    pub(crate) fn sweep(
        &self,
        now: Instant,
        set: &mut [Judged],
        mut chance: impl FnMut() -> f64,
    ) -> Vec<EjectionChange> {
        by_tier(set, |tier| self.sweep_tier(now, tier, &mut chance))
    }

    fn sweep_tier(&self, now: Instant, set: &mut [Judged], mut chance: impl FnMut() -> f64) -> Vec<EjectionChange> {
        let mut changes = self.bound_tier(set);
        let counts: Vec<_> = set
            .iter()
            .enumerate()
            .filter(|(_, judged)| !judged.record.is_ejected())
            .map(|(i, judged)| (i, judged.counts))
            .collect();

        let mut outlying = HashSet::new();
        let found = [
            self.success_rate.map(|law| (EjectionReason::SuccessRate, law.enforcement, law.outliers(&counts))),
            self.failure_percentage
                .map(|law| (EjectionReason::FailurePercentage, law.enforcement, law.outliers(set.len(), &counts))),
            self.slowness.map(|law| (EjectionReason::Latency, law.enforcement, confirmed(set, law.outliers(&counts)))),
        ];
        let mut left = self.allowed(set.len()).saturating_sub(set.len() - counts.len());
        for (reason, enforcement, mut outliers) in found.into_iter().flatten() {
            outlying.extend(outliers.iter().map(|(i, _)| *i));
            outliers.sort_by(|(_, one), (_, other)| other.total_cmp(one));
            for (i, _) in outliers {
                let Some(Judged { record, .. }) = set.get_mut(i) else { continue };
                if left == 0 || record.is_ejected() || chance() * 100.0 >= f64::from(enforcement) {
                    continue;
                }
                *record = EjectionRecord {
                    ejected_at: Some(now),
                    multiplier: record.multiplier.saturating_add(1),
                    reason: Some(reason),
                    slow: false,
                };
                left -= 1;
                changes.push(EjectionChange::Ejected(i, reason));
            }
        }

        for (i, Judged { record, counts, .. }) in set.iter_mut().enumerate() {
            match record.ejected_at {
                None if record.slow || outlying.contains(&i) || !self.are_enough(counts, record.reason) => {}
                None => record.multiplier = record.multiplier.saturating_sub(1),
                Some(at) if now.since(at) > self.ejection_time(record.multiplier) => {
                    record.restore();
                    changes.push(EjectionChange::Restored(i));
                }
                Some(_) => {}
            }
        }
        changes
    }

    /// Whether these calls are enough for the criterion that has ejected the endpoint.
    fn are_enough(&self, counts: &CallCounts, reason: Option<EjectionReason>) -> bool {
        let (calls, needed) = match reason {
            None => return true,
            Some(EjectionReason::SuccessRate) => (counts.volume(), self.success_rate.map(|law| law.request_volume)),
            Some(EjectionReason::FailurePercentage) => {
                (counts.volume(), self.failure_percentage.map(|law| law.request_volume))
            }
            Some(EjectionReason::Latency) => (counts.successes, self.slowness.map(|law| law.request_volume)),
        };
        needed.is_none_or(|needed| calls >= needed)
    }

    /// Brings endpoints back until no more are ejected than each tier allows; those first that have been ejected the longest. To be
    /// called when the set or its tiers have changed.
    pub(crate) fn bound(&self, set: &mut [Judged]) -> Vec<EjectionChange> {
        by_tier(set, |tier| self.bound_tier(tier))
    }

    fn bound_tier(&self, set: &mut [Judged]) -> Vec<EjectionChange> {
        let mut ejected: Vec<_> =
            set.iter().enumerate().filter_map(|(i, judged)| judged.record.ejected_at.map(|at| (at, i))).collect();
        let excess = ejected.len().saturating_sub(self.allowed(set.len()));
        ejected.sort_unstable();
        let mut changes = Vec::with_capacity(excess);
        for (_, i) in ejected.into_iter().take(excess) {
            if let Some(judged) = set.get_mut(i) {
                judged.record.restore();
                changes.push(EjectionChange::Restored(i));
            }
        }
        changes
    }

    /// How many endpoints of a tier with so many may be ejected.
    pub(crate) fn allowed(&self, hosts: usize) -> usize {
        if self.max_ejection_percent == 0 {
            return 0;
        }
        let share = hosts.saturating_mul(self.max_ejection_percent.min(100) as usize) / 100;
        share.max(1).min(hosts.saturating_sub(1))
    }

    /// How long an ejection with this multiplier is.
    pub(crate) fn ejection_time(&self, multiplier: u32) -> Duration {
        self.base_ejection_time.saturating_mul(multiplier).min(self.max_ejection_time.max(self.base_ejection_time))
    }
}

/// Applies `act` to each tier by itself, and returns what it has changed.
fn by_tier(set: &mut [Judged], mut act: impl FnMut(&mut [Judged]) -> Vec<EjectionChange>) -> Vec<EjectionChange> {
    let mut tiers = BTreeMap::<u16, (Vec<usize>, Vec<Judged>)>::new();
    for (i, judged) in set.iter().enumerate() {
        let (positions, members) = tiers.entry(judged.tier).or_default();
        positions.push(i);
        members.push(*judged);
    }
    let mut changes = Vec::new();
    for (positions, mut members) in tiers.into_values() {
        changes.extend(act(&mut members).into_iter().filter_map(|change| change.within(&positions)));
        for (position, member) in positions.into_iter().zip(members) {
            if let Some(judged) = set.get_mut(position) {
                *judged = member;
            }
        }
    }
    changes
}

/// Keeps the outliers that were slow in the interval before, too, and remembers those of this one.
fn confirmed(set: &mut [Judged], outliers: Vec<criteria::Outlier>) -> Vec<criteria::Outlier> {
    let slow_before: Vec<bool> = set.iter_mut().map(|judged| std::mem::take(&mut judged.record.slow)).collect();
    for (i, _) in &outliers {
        if let Some(judged) = set.get_mut(*i) {
            judged.record.slow = true;
        }
    }
    outliers.into_iter().filter(|(i, _)| slow_before.get(*i).is_some_and(|slow| *slow)).collect()
}

#[cfg(all(test, not(seawall_loom)))]
mod tests;
