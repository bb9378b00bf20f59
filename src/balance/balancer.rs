//! The state of a layer value: its endpoints and their health, which decide where calls go. All services of the layer value share it.

use std::fmt;
use std::sync::Arc;

use super::config::BalanceConfig;
use super::departed::Departed;
use super::ejections;
use super::endpoint_set::{EndpointSet, Member};
use super::endpoint_state::{EndpointState, Endpoints, SetState};
use super::latest_task::LatestTask;
use super::retry_queue::RetryQueue;
use super::standing::Wanted;
use super::wait_queue::WaitQueue;
use crate::admission::registry::EndpointMode;
use crate::algorithm::balance::EjectionRecord;
use crate::ground::scope::Priority;
use crate::ground::settings::Settings;
use crate::ground::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};
use crate::ground::sync::{Mutex, Swap, lock};
use crate::ground::time::{self, Instant};
use crate::layers::circuit_breaker::PartBreakers;
use crate::layers::core::LayerParts;
use crate::telemetry::{self, Instruments};

/// See the module.
pub(crate) struct Balancer {
    pub(super) settings: Arc<Settings<BalanceConfig>>,
    /// What calls read. Only replaced with `records` locked.
    pub(super) set: Swap<EndpointSet>,
    /// The version of the published set. It is stored after the set is replaced.
    version: AtomicU64,
    pub(super) common: Arc<SetState>,
    pub(super) queue: WaitQueue,
    pub(super) retries: RetryQueue,
    /// The ejections of the members, in the order of the set. The lock is for changes of the set and of its health; calls do not take
    /// it, except for the one that compares the endpoints when an interval is over.
    pub(super) records: Mutex<Vec<EjectionRecord>>,
    /// The endpoints that have left. Locked with `records` locked, or alone.
    pub(super) departed: Mutex<Departed>,
    /// When the endpoints are compared next, in nanoseconds.
    pub(super) next_sweep: AtomicU64,
    /// The task that follows a stream of sets. It is superseded with `records` locked: the former stream changes no set after that.
    pub(super) discovery: LatestTask,
    /// The task of the active checks, superseded likewise.
    pub(super) active_checks: LatestTask,
    /// Whether a stream is followed that may still yield the first set.
    awaits_set: AtomicBool,
}

impl Balancer {
    pub(super) fn new(parts: LayerParts<BalanceConfig>) -> Self {
        let LayerParts { settings, readiness_limit, instruments } = parts;
        let owner = instruments.clone();
        let breakers = settings.read(|config| PartBreakers::new(readiness_limit, &config.circuit_breaker, owner));
        let common = Arc::new(SetState::new(instruments, breakers));
        let set = EndpointSet::empty(&settings.read(BalanceConfig::choice));
        Self {
            retries: RetryQueue::new(Arc::clone(&common)),
            queue: WaitQueue::new(Arc::clone(&common), settings.read(BalanceConfig::turns)),
            common,
            settings,
            set: Swap::from_pointee(set),
            version: AtomicU64::new(0),
            records: Mutex::new(Vec::new()),
            departed: Mutex::new(Departed::default()),
            next_sweep: AtomicU64::new(0),
            discovery: LatestTask::new(),
            active_checks: LatestTask::new(),
            awaits_set: AtomicBool::new(false),
        }
    }

    #[inline]
    pub(super) fn instruments(&self) -> &Instruments {
        &self.common.instruments
    }

    /// How many calls wait for a permit.
    pub(super) fn waiting(&self) -> u32 {
        self.queue.len().saturating_add(self.retries.len())
    }

    /// Sets how the endpoint with this key is used. `false`: there is none.
    pub(super) fn set_mode(&self, key: &str, mode: EndpointMode) -> bool {
        let (settings, now) = (self.settings.read(BalanceConfig::choice), time::now());
        let (restored, replaced) = {
            let mut records = lock(&self.records);
            let set = self.set.load();
            let Some(member) = set.members.iter().find(|member| member.endpoint.key() == key) else { return false };
            let before = member.state.standing.now().mode();
            member.state.standing.set_mode(mode);
            if mode == EndpointMode::Serving && matches!(before, EndpointMode::Draining | EndpointMode::Isolated) {
                member.state.warm_up(now);
            }
            // A smaller tier allows fewer ejections.
            let restored = ejections::bound(&settings.outliers, &mut records, &set.members, now);
            (restored, self.publish(set.with_new_modes(&settings, now)))
        };
        telemetry::endpoint_controlled(self.instruments(), key, mode.as_str());
        self.serve_all();
        ejections::report(self.instruments(), &restored, &replaced.members);
        true
    }

    /// After a step of a breaker that changes what calls may do. The shares of the tiers change with the first step of a break, and
    /// with its end; not with those between, as a half-open breaker refuses calls, too.
    pub(super) fn breaker_changed(&self) {
        let settings = self.settings.read(BalanceConfig::choice);
        let replaced = {
            let _records = lock(&self.records);
            let (set, now) = (self.set.load(), time::now());
            look_at_breakers(&set.members, now).then(|| self.publish(set.judged(&settings, now)))
        };
        drop(replaced);
        self.serve_all();
    }

    /// Replaces the set. Call it with `records` locked, and drop the former set without the lock.
    pub(super) fn publish(&self, mut set: EndpointSet) -> Arc<EndpointSet> {
        set.mark_panics();
        set.version = self.version() + 1;
        let version = set.version;
        let replaced = self.set.swap(Arc::new(set));
        // After the swap: a call that reads this version loads this set or a newer one.
        self.version.store(version, Ordering::Release);
        replaced
    }

    /// The version of the published set.
    #[inline]
    pub(super) fn version(&self) -> u64 {
        self.version.load(Ordering::Acquire)
    }

    /// The epoch of a stream that is followed from now on, instead of the former one. Calls wait for its first set as they wait for a
    /// permit.
    pub(super) fn begin_discovery(&self) -> u64 {
        let _records = lock(&self.records);
        self.awaits_set.store(true, Ordering::Release);
        self.discovery.begin()
    }

    /// The stream of this epoch has ended. Unless it is superseded, no set comes any more, and calls that wait for one are refused.
    pub(super) fn end_discovery(&self, epoch: u64) {
        {
            // With the lock of `begin_discovery`: otherwise the end of the former stream could end the wait for the next one.
            let _records = lock(&self.records);
            if !self.discovery.is_current(epoch) {
                return;
            }
            self.awaits_set.store(false, Ordering::Release);
        }
        self.serve_all();
    }

    /// Whether a stream is followed that may still yield the first set.
    pub(super) fn awaits_set(&self) -> bool {
        self.awaits_set.load(Ordering::Acquire)
    }

    /// Whether calls get an endpoint of this set sooner or later.
    pub(super) fn may_serve(&self, set: &EndpointSet) -> bool {
        set.serves_best().is_some() || set.members.is_empty() && self.awaits_set()
    }

    /// Forgets the endpoints that left long ago, at most once for each comparison of the set.
    pub(super) fn forget_departed(&self, now: Instant) {
        let limit = self.settings.read(|config| config.max_endpoints);
        let forgotten = {
            let mut departed = lock(&self.departed);
            if departed.is_empty() { Vec::new() } else { departed.forget(limit, now) }
        };
        drop(forgotten);
    }

    /// Gives free permits to waiting calls, and lets them look at the endpoints again. Call it after each change of the set.
    ///
    /// It takes the lock of the queue even if nobody seems to wait: a call that enters later then sees the change.
    pub(super) fn serve_all(&self) {
        let (set, now) = (self.set.load(), time::now());
        self.retries.serve_all(&set, now);
        self.queue.serve_all(&set, now);
    }

    /// Whether there is another set by now.
    pub(super) fn is_replaced(&self, set: &EndpointSet) -> bool {
        // Pairs with `Standing::remove`: the caller has read the standing of the endpoints.
        fence(Ordering::Acquire);
        set.version < self.version()
    }

    /// The epoch of a task that supersedes the former one.
    pub(super) fn begin(&self, task: &LatestTask) -> u64 {
        let _records = lock(&self.records);
        task.begin()
    }

    /// Applies the settings in force to all endpoints. They may wake tasks: call it without holding a lock.
    pub(super) fn spread_settings(&self) {
        loop {
            let config = self.settings.get();
            let settings = config.choice();
            self.common.breakers.reload(&config.circuit_breaker);
            for member in self.set.load().members.iter() {
                member.state.adopt(&config);
            }
            let (restored, replaced) = {
                let mut records = lock(&self.records);
                let (set, now) = (self.set.load(), time::now());
                let restored = ejections::bound(&settings.outliers, &mut records, &set.members, now);
                look_at_breakers(&set.members, now);
                (restored, self.publish(set.judged(&settings, now)))
            };
            ejections::report(self.instruments(), &restored, &replaced.members);
            drop(replaced);
            self.queue.set_turns(config.turns());
            // Another thread may have stored other settings, and its pass may have been overtaken by this one.
            if self.settings.get() == config {
                break;
            }
        }
        self.serve_all();
    }
}

impl Endpoints for Balancer {
    fn serve(&self, endpoint: &Arc<EndpointState>) {
        let now = time::now();
        // New calls may not come while others wait.
        self.sweep_if_due(now);
        let set = self.set.load();
        if endpoint.serves(Wanted::Healthy) || set.serves_best().is_some_and(|wanted| endpoint.serves(wanted)) {
            let max = set.limits.max_concurrent;
            if self.retries.len() > 0 {
                // A call whose attempt has failed has begun, and goes first.
                self.retries.serve(endpoint, max, self.queue.highest_priority().unwrap_or(Priority::Low), now);
            }
            self.queue.serve(endpoint, max, now);
            // The head may have been refused.
            if self.retries.len() > 0 {
                self.retries.serve(endpoint, max, Priority::Low, now);
            }
        } else if endpoint.take_wanted_probe() {
            // The queue grants no probes: a waiting call takes one when it looks at the endpoints, which it did while this permit was
            // taken. It is not woken by every release: a permit is also released when the breaker refuses the call that has looked.
            self.queue.wake_all();
        }
    }

    fn others_do_better(&self, endpoint: &EndpointState, now: Instant) -> bool {
        self.set.load().others_do_better(endpoint, now)
    }
}

/// Makes the states of the breakers visible to choices. An endpoint whose breaker has closed starts slowly. Returns whether one of them has
/// changed. Callers must serialise calls of this.
pub(super) fn look_at_breakers(members: &[Member], now: Instant) -> bool {
    let look = |member: &Member| {
        let is_restricted = !member.state.breaker.admits_all();
        let changed = member.state.standing.set_restricted(is_restricted);
        if changed && !is_restricted {
            member.state.warm_up(now);
            // It is judged by its calls from now on. The breaker has kept calls away for those before.
            member.state.counter.take();
        }
        changed
    };
    members.iter().fold(false, |changed, member| look(member) | changed)
}

impl fmt::Debug for Balancer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Balancer").field("endpoints", &self.set.load().members.len()).finish_non_exhaustive()
    }
}
