//! The comparison of the endpoints at the end of each interval.

use super::balancer::Balancer;
use super::config::BalanceConfig;
use super::ejections;
use super::endpoint_set::Member;
use crate::algorithm::balance::Judged;
use crate::ground::chance;
use crate::ground::sync::atomic::Ordering;
use crate::ground::sync::lock;
use crate::ground::time::Instant;

impl Balancer {
    /// Compares the endpoints, if the interval is over: ejects outliers, and restores those whose ejection is over.
    #[inline]
    pub(super) fn sweep_if_due(&self, now: Instant) {
        let due = self.next_sweep.load(Ordering::Relaxed);
        if now.as_nanos() >= due {
            self.sweep(due, now);
        }
    }

    /// When the endpoints are compared next.
    pub(super) fn next_sweep(&self) -> Instant {
        Instant::from_nanos(self.next_sweep.load(Ordering::Relaxed))
    }

    #[cold]
    fn sweep(&self, due: u64, now: Instant) {
        let settings = self.settings.read(BalanceConfig::choice);
        let next = (now + settings.interval).as_nanos();
        if self.next_sweep.compare_exchange(due, next, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        self.forget_departed(now);
        // After a pause of the traffic the counts may be hours old.
        let are_stale = now.since(Instant::from_nanos(due)) > settings.interval;
        let counts = |member: &Member| {
            let counts = member.state.counter.take();
            // While its breaker keeps calls away, an ejection would do so beyond its recovery.
            if are_stale || member.state.standing.now().is_restricted() { Default::default() } else { counts }
        };
        let mut records = lock(&self.records);
        let set = self.set.load();
        let mut judged: Vec<_> = set
            .members
            .iter()
            .zip(records.iter())
            .map(|(member, record)| Judged { record: *record, counts: counts(member), tier: member.tier() })
            .collect();
        let changes = settings.outliers.sweep(now, &mut judged, chance::sample);
        *records = judged.into_iter().map(|judged| judged.record).collect();
        ejections::apply(&changes, &set.members, now);
        let replaced = (!changes.is_empty()).then(|| self.publish(set.judged(&settings, now)));
        drop(set);
        drop(records);
        if let Some(replaced) = replaced {
            self.serve_all();
            ejections::report(self.instruments(), &changes, &replaced.members);
        }
    }
}
