//! What is known of one endpoint, and what all have in common. It outlives changes of the set, and the endpoint itself while calls are in
//! flight there.

use std::fmt;
use std::num::NonZeroU64;
use std::sync::atomic::AtomicU64 as Counter;
use std::sync::{Arc, OnceLock, Weak};
use std::time::Duration;

use tokio::sync::Notify;

use super::config::BalanceConfig;
use super::endpoint_limit::{EndpointLimit, LimitLearning};
use super::kept_permits::KeptPermits;
use super::standing::{Standing, Wanted};
use crate::algorithm::balance::{CallCounter, EndpointLoad, SetLoad, SlowStart, UNLIMITED};
use crate::algorithm::estimate::Estimate;
use crate::ground::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use crate::ground::time::{Instant, nanos};
use crate::ground::verdict::Verdict;
use crate::layers::call::endpoint_keys;
use crate::layers::circuit_breaker::{PartBreaker, PartBreakers};
use crate::telemetry::Instruments;

/// See the module. Of many endpoints each line of memory comes from far away: the first line has what a call reads of its endpoint, and
/// the second what a choice reads of those that it compares.
#[repr(C)]
pub(super) struct EndpointState {
    pub(super) breaker: PartBreaker,
    pub(super) common: Arc<SetState>,
    /// The last client whose `poll_ready` has failed; 0: none. If two services have clients here, the failure of one may replace that of
    /// the other, which its next call repeats.
    pub(super) failed_client: AtomicU64,
    pub(super) key: Arc<str>,
    /// Notified when it leaves the set or moves to another address. Calls that wait for its client go on elsewhere.
    pub(super) moved: Arc<Notify>,
    for_choices: LineStart,
    /// Unique in the process.
    pub(super) id: NonZeroU64,
    /// Since when it warms up, in nanoseconds; 0: it is warm.
    warming_since: AtomicU64,
    pub(super) standing: Standing,
    limit: EndpointLimit,
    pub(super) load: EndpointLoad,
    /// The calls since the last comparison of the set.
    pub(super) counter: CallCounter,
    /// Whether a waiting call has found it half-open and full.
    wants_probe: AtomicBool,
    limit_learning: LimitLearning,
    pub(super) kept_permits: KeptPermits,
}

/// The next field begins a line of memory.
#[derive(Debug)]
#[repr(align(64))]
struct LineStart;

impl EndpointState {
    pub(super) fn new(key: Arc<str>, config: &BalanceConfig, common: &Arc<SetState>) -> Self {
        let id = next_id();
        endpoint_keys::insert(id, Arc::clone(&key));
        Self {
            breaker: common.breakers.breaker(&config.circuit_breaker, Arc::clone(&key)),
            common: Arc::clone(common),
            failed_client: AtomicU64::new(0),
            key,
            moved: Arc::default(),
            for_choices: LineStart,
            id,
            warming_since: AtomicU64::new(0),
            standing: Standing::default(),
            limit: EndpointLimit::new(),
            load: EndpointLoad::new(),
            counter: CallCounter::new(),
            wants_probe: AtomicBool::new(false),
            limit_learning: LimitLearning::new(),
            kept_permits: KeptPermits::default(),
        }
    }

    /// Whether free permits of this endpoint go to waiting calls.
    pub(super) fn serves(&self, wanted: Wanted) -> bool {
        let admits = || self.breaker.admits_all() || wanted == Wanted::Unreachable && self.breaker.is_unreachable();
        self.standing.now().is_usable(wanted) && admits()
    }

    /// A call that waits would be a probe here, and all permits are taken. Afterwards it must look at the permits once more.
    pub(super) fn want_probe(&self) {
        // In one total order with the permits: either the call sees a release, or the release sees that a probe is wanted.
        self.wants_probe.swap(true, Ordering::SeqCst);
    }

    /// Whether a call has wanted to be a probe here since the last time.
    pub(super) fn take_wanted_probe(&self) -> bool {
        self.wants_probe.swap(false, Ordering::SeqCst)
    }

    /// Ends the ejection. The endpoint gets its calls back slowly.
    pub(super) fn restore(&self, now: Instant) {
        self.warm_up(now);
        self.standing.restore();
    }

    /// Whether calls cost much less at most other endpoints.
    pub(super) fn others_do_better(&self, now: Instant) -> bool {
        let endpoints = self.common.endpoints.get().and_then(Weak::upgrade);
        endpoints.is_some_and(|endpoints| endpoints.others_do_better(self, now))
    }

    /// Adopts changed settings. That may wake tasks: call it without holding a lock.
    pub(super) fn adopt(&self, config: &BalanceConfig) {
        self.breaker.adopt(&config.circuit_breaker);
    }

    /// Starts the slow start.
    pub(super) fn warm_up(&self, now: Instant) {
        self.warming_since.store(now.as_nanos(), Ordering::Relaxed);
    }

    /// The factor on its weight.
    #[inline]
    pub(super) fn warmth(&self, slow_start: &SlowStart, now: Instant) -> f64 {
        match self.warming_since.load(Ordering::Relaxed) {
            0 => 1.0,
            since => slow_start.factor(now.since(Instant::from_nanos(since))),
        }
    }

    /// How many calls may be in flight at once: at most `max`, and no more than it takes by its refusals.
    #[inline]
    pub(super) fn limit(&self, max: u32) -> u32 {
        self.limit.get().min(max)
    }

    /// Whether its refusals have shown how many calls it takes at once.
    pub(super) fn has_learned_limit(&self) -> bool {
        self.limit.get() != UNLIMITED
    }

    /// Takes a permit for a call, of at most `max`. Returns how many calls are in flight with it.
    #[inline]
    pub(super) fn begin(&self, max: u32, now: Instant) -> Option<u32> {
        self.load.begin(now, self.limit(max)).or_else(|| {
            let has_more = self.load.keeps_permits() && self.kept_permits.release(&self.load, now);
            has_more.then(|| self.load.begin(now, self.limit(max)))?
        })
    }

    /// Whether a permit is free, of at most `max`.
    #[inline]
    pub(super) fn has_permit(&self, max: u32, now: Instant) -> bool {
        let is_free = || self.load.taken() < self.limit(max);
        is_free() || self.load.keeps_permits() && self.kept_permits.release(&self.load, now) && is_free()
    }

    /// Gives free permits to waiting calls, if there are any.
    #[inline]
    pub(super) fn serve_waiting(self: &Arc<Self>) {
        let common = &self.common;
        let waits = |count: &AtomicU32| count.load(Ordering::SeqCst) > 0;
        if waits(&common.waiting) || waits(&common.waiting_retries) {
            if let Some(endpoints) = common.endpoints.get().and_then(Weak::upgrade) {
                endpoints.serve(self);
            }
        }
    }

    /// A call that began as the `level`th in flight has been answered or refused. Returns whether it was more than the endpoint takes.
    #[inline]
    fn learn_limit(&self, verdict: Verdict, level: u32, took: Duration) -> bool {
        let is_refused = match verdict {
            Verdict::Overloaded { .. } => true,
            // Without a reason. A full endpoint says so at once.
            Verdict::Transient => self.common.load.is_quick(took),
            _ => false,
        };
        if let Verdict::Success | Verdict::CallerFault = verdict {
            self.limit_learning.answered(level, &self.limit);
        }
        is_refused && self.limit_learning.refused(level, &self.limit)
    }

    /// Records the end of a call that began as the `level`th in flight and took so long: the endpoint's own time. Returns whether the call
    /// was refused because it was more than the endpoint takes.
    pub(super) fn record(&self, verdict: Verdict, level: u32, took: Duration, now: Instant) -> bool {
        let set = &self.common.load;
        let was_full = self.learn_limit(verdict, level, took);
        match verdict {
            Verdict::Success | Verdict::CallerFault => {
                self.counter.succeeded(took);
                self.load.succeeded(now, took, set);
            }
            Verdict::Transient | Verdict::Failed | Verdict::Lost | Verdict::Unsent => {
                self.counter.failed();
                self.load.failed(now, took, set);
            }
            // Refused by a live endpoint: no evidence for an ejection, and no answer for the caller.
            Verdict::Overloaded { .. } | Verdict::Unprocessed | Verdict::DoNotRetry => self.load.failed(now, took, set),
            // A caller that gives no time proves nothing. A call that had as much time as calls usually take does.
            Verdict::TimedOut => {
                if set.mean_cost().is_none_or(|usual| nanos(took) as f64 >= usual) {
                    self.counter.failed();
                }
                self.load.abandoned(now, took, set);
            }
            Verdict::Abandoned => self.load.abandoned(now, took, set),
            // Nothing is known of it, not even its time: the classifier takes it for the caller's own mistake.
            Verdict::Ignored => {}
        }
        was_full
    }
}

impl Drop for EndpointState {
    fn drop(&mut self) {
        endpoint_keys::remove(self.id);
    }
}

/// What the endpoints of a balancer have in common.
pub(super) struct SetState {
    pub(super) load: SetLoad,
    pub(super) breakers: PartBreakers,
    /// How long calls hold their permits, which is what waiting calls wait for.
    pub(super) service: Estimate,
    /// How many calls wait for a permit.
    pub(super) waiting: AtomicU32,
    /// How many more wait for a permit of an endpoint that has not failed them.
    pub(super) waiting_retries: AtomicU32,
    pub(super) instruments: Instruments,
    /// For the end of a call. A call does not keep the balancer alive.
    pub(super) endpoints: OnceLock<Weak<dyn Endpoints>>,
}

/// All endpoints, as the end of a call at one of them needs them.
pub(super) trait Endpoints: Send + Sync {
    /// Gives the free permits of one endpoint to waiting calls.
    fn serve(&self, endpoint: &Arc<EndpointState>);

    /// Whether calls cost much less at most other endpoints.
    fn others_do_better(&self, endpoint: &EndpointState, now: Instant) -> bool;
}

impl SetState {
    pub(super) fn new(instruments: Instruments, breakers: PartBreakers) -> Self {
        Self {
            load: SetLoad::new(),
            breakers,
            service: Estimate::new(),
            waiting: AtomicU32::new(0),
            waiting_retries: AtomicU32::new(0),
            instruments,
            endpoints: OnceLock::new(),
        }
    }
}

impl fmt::Debug for SetState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SetState").field("waiting", &self.waiting).finish_non_exhaustive()
    }
}

fn next_id() -> NonZeroU64 {
    static LAST: Counter = Counter::new(0);
    NonZeroU64::MIN.saturating_add(LAST.fetch_add(1, Ordering::Relaxed))
}

impl fmt::Debug for EndpointState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EndpointState").field("in_flight", &self.load.in_flight()).finish_non_exhaustive()
    }
}
